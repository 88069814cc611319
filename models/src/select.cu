// Which places of a block of scores can be among the best of each query. Called from `cuda.rs`, which says what the arguments are, and what
// SECTIONS, ROOM and THREADS are.

static __device__ bool is_open(const unsigned *open, unsigned place) {
  return open[place >> 5] >> (place & 31) & 1;
}

// What the floats order by, as whole numbers.
static __device__ unsigned ordered(float value) {
  unsigned bits = __float_as_uint(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static __device__ float from_ordered(unsigned key) {
  return __uint_as_float(key & 0x80000000u ? key ^ 0x80000000u : ~key);
}

// A limit that so many open places of the tile reach as are wanted: the largest scores of the tile's sections tell one.
// One block of SECTIONS threads a query.
extern "C" __global__ void begin(const float *scores, const unsigned *open, unsigned first, unsigned width, const unsigned *wanted,
                                 float *least) {
  __shared__ float best[SECTIONS];
  const float *own = scores + (size_t)blockIdx.x * width;
  float most = __uint_as_float(0xff800000u);
  for (unsigned at = threadIdx.x; at < width; at += SECTIONS)
    if (is_open(open, first + at)) most = fmaxf(most, own[at]);
  best[threadIdx.x] = most;
  __syncthreads();
  // Bitonic, falling.
  for (unsigned size = 2; size <= SECTIONS; size <<= 1)
    for (unsigned stride = size >> 1; stride > 0; stride >>= 1) {
      unsigned other = threadIdx.x ^ stride;
      if (other > threadIdx.x) {
        bool falling = (threadIdx.x & size) == 0;
        float a = best[threadIdx.x], b = best[other];
        if ((a < b) == falling) best[threadIdx.x] = b, best[other] = a;
      }
      __syncthreads();
    }
  if (threadIdx.x == 0) least[blockIdx.x] = fmaxf(least[blockIdx.x], best[wanted[blockIdx.x] - 1]);
}

// Writes down the open places of the tile that reach their query's limit. A thread looks at four.
extern "C" __global__ void take(const float *scores, const unsigned *open, unsigned first, unsigned width, const float *least,
                                const float *slack, unsigned *counts, unsigned *places, float *values) {
  unsigned queries = gridDim.y, query = blockIdx.y;
  unsigned at = (blockIdx.x * THREADS + threadIdx.x) * 4;
  if (at >= width) return;
  float limit = __fsub_rd(least[query], slack[query]);
  float4 four = *(const float4 *)(scores + (size_t)query * width + at);
  if (fmaxf(fmaxf(four.x, four.y), fmaxf(four.z, four.w)) < limit) return;
  float each[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
  for (unsigned i = 0; i < 4; i++)
    if (each[i] >= limit && is_open(open, first + at + i)) {
      unsigned slot = atomicAdd(counts + query, 1);
      if (slot < ROOM) {
        places[slot * queries + query] = first + at + i;
        values[slot * queries + query] = each[i];
      }
    }
}

// Raises each query's limit to the score that just as many reach as are wanted, and drops what is below.
// One block of THREADS threads a query. A query with more than ROOM places is lost: its count says so.
extern "C" __global__ void narrow(const unsigned *wanted, const float *slack, float *least, unsigned *counts, unsigned *places,
                                  float *values) {
  __shared__ float kept[ROOM];
  __shared__ unsigned where[ROOM], bins[THREADS], prefix, left, now;
  unsigned queries = gridDim.x, query = blockIdx.x, count = counts[query];
  if (count > ROOM || count <= wanted[query]) return;
  for (unsigned slot = threadIdx.x; slot < count; slot += THREADS) {
    kept[slot] = values[slot * queries + query];
    where[slot] = places[slot * queries + query];
  }
  if (threadIdx.x == 0) prefix = 0, left = wanted[query], now = 0;
  // Its digits, the highest first.
  for (int shift = 24; shift >= 0; shift -= 8) {
    bins[threadIdx.x] = 0;
    __syncthreads();
    for (unsigned slot = threadIdx.x; slot < count; slot += THREADS) {
      unsigned key = ordered(kept[slot]);
      if (shift == 24 || key >> (shift + 8) == prefix >> (shift + 8)) atomicAdd(&bins[key >> shift & 255], 1);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      unsigned digit = 255;
      while (bins[digit] < left) left -= bins[digit--];
      prefix |= digit << shift;
    }
    __syncthreads();
  }
  float reached = from_ordered(prefix);
  float limit = __fsub_rd(reached, slack[query]);
  for (unsigned slot = threadIdx.x; slot < count; slot += THREADS)
    if (kept[slot] >= limit) {
      unsigned to = atomicAdd(&now, 1);
      places[to * queries + query] = where[slot];
      values[to * queries + query] = kept[slot];
    }
  __syncthreads();
  if (threadIdx.x == 0) counts[query] = now, least[query] = reached;
}
