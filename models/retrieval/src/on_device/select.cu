// Finds the positions of a block of scores that can be among the best of each query. `cuda.rs`
// calls these functions, says what the arguments are, and defines SECTIONS, MAX_CANDIDATES and
// THREADS.

static __device__ bool is_allowed(const unsigned *allowed, unsigned position) {
  return allowed[position >> 5] >> (position & 31) & 1;
}

// Returns a whole number that orders as the value does.
static __device__ unsigned ordered(float value) {
  unsigned bits = __float_as_uint(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static __device__ float from_ordered(unsigned key) {
  return __uint_as_float(key & 0x80000000u ? key ^ 0x80000000u : ~key);
}

// Sets a first limit that as many allowed positions of the tile reach as are needed: one of the
// largest scores of the sections of the tile. One block of SECTIONS threads for each query.
extern "C" __global__ void first_limits(const float *scores, const unsigned *allowed,
                                        unsigned first, unsigned width, const unsigned *needed,
                                        float *limits) {
  __shared__ float best[SECTIONS];
  const float *own = scores + (size_t)blockIdx.x * width;
  float most = __uint_as_float(0xff800000u);
  for (unsigned at = threadIdx.x; at < width; at += SECTIONS)
    if (is_allowed(allowed, first + at)) most = fmaxf(most, own[at]);
  best[threadIdx.x] = most;
  __syncthreads();
  // A bitonic sort, the largest first.
  for (unsigned size = 2; size <= SECTIONS; size <<= 1)
    for (unsigned stride = size >> 1; stride > 0; stride >>= 1) {
      unsigned other = threadIdx.x ^ stride;
      if (other > threadIdx.x) {
        bool descending = (threadIdx.x & size) == 0;
        float a = best[threadIdx.x], b = best[other];
        if ((a < b) == descending) best[threadIdx.x] = b, best[other] = a;
      }
      __syncthreads();
    }
  if (threadIdx.x == 0)
    limits[blockIdx.x] = fmaxf(limits[blockIdx.x], best[needed[blockIdx.x] - 1]);
}

// Appends the allowed positions of the tile that reach the limit of their query. A thread looks at
// four.
extern "C" __global__ void collect(const float *scores, const unsigned *allowed, unsigned first,
                                   unsigned width, const float *limits, const float *slack,
                                   unsigned *counts, unsigned *positions, float *values) {
  unsigned queries = gridDim.y, query = blockIdx.y;
  unsigned at = (blockIdx.x * THREADS + threadIdx.x) * 4;
  if (at >= width) return;
  float limit = __fsub_rd(limits[query], slack[query]);
  float4 four = *(const float4 *)(scores + (size_t)query * width + at);
  if (fmaxf(fmaxf(four.x, four.y), fmaxf(four.z, four.w)) < limit) return;
  float each[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
  for (unsigned i = 0; i < 4; i++)
    if (each[i] >= limit && is_allowed(allowed, first + at + i)) {
      unsigned slot = atomicAdd(counts + query, 1);
      if (slot < MAX_CANDIDATES) {
        positions[slot * queries + query] = first + at + i;
        values[slot * queries + query] = each[i];
      }
    }
}

// Raises the limit of each query to the score that just as many positions reach as are needed, and
// drops the positions below. One block of THREADS threads for each query. A query with more than
// MAX_CANDIDATES positions is given up: its count says so.
extern "C" __global__ void raise_limits(const unsigned *needed, const float *slack, float *limits,
                                        unsigned *counts, unsigned *positions, float *values) {
  __shared__ float kept[MAX_CANDIDATES];
  __shared__ unsigned where[MAX_CANDIDATES], bins[THREADS], digits, remaining, written;
  unsigned queries = gridDim.x, query = blockIdx.x, count = counts[query];
  if (count > MAX_CANDIDATES || count <= needed[query]) return;
  for (unsigned slot = threadIdx.x; slot < count; slot += THREADS) {
    kept[slot] = values[slot * queries + query];
    where[slot] = positions[slot * queries + query];
  }
  if (threadIdx.x == 0) digits = 0, remaining = needed[query], written = 0;
  // Finds the score digit by digit, the highest digit first.
  for (int shift = 24; shift >= 0; shift -= 8) {
    bins[threadIdx.x] = 0;
    __syncthreads();
    for (unsigned slot = threadIdx.x; slot < count; slot += THREADS) {
      unsigned key = ordered(kept[slot]);
      if (shift == 24 || key >> (shift + 8) == digits >> (shift + 8))
        atomicAdd(&bins[key >> shift & 255], 1);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      unsigned digit = 255;
      while (bins[digit] < remaining) remaining -= bins[digit--];
      digits |= digit << shift;
    }
    __syncthreads();
  }
  float reached = from_ordered(digits);
  float limit = __fsub_rd(reached, slack[query]);
  for (unsigned slot = threadIdx.x; slot < count; slot += THREADS)
    if (kept[slot] >= limit) {
      unsigned to = atomicAdd(&written, 1);
      positions[to * queries + query] = where[slot];
      values[to * queries + query] = kept[slot];
    }
  __syncthreads();
  if (threadIdx.x == 0) counts[query] = written, limits[query] = reached;
}
