//! The candidates of a block of queries on an NVIDIA GPU: products by cuBLAS, tile after tile, and
//! of each tile the positions that can be among the best (`select.cu`, compiled when an index is
//! copied). All work runs on one stream, in memory positions once.

use super::block::{BLOCK, Candidates, MAX_CANDIDATES, QueryBlock, SECTIONS};
use candle_core::cuda_backend::cudarc;
use cudarc::cublas::sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
use cudarc::cublas::{CudaBlas, Gemm, GemmConfig};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, LaunchConfig, PushKernelArg,
};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

/// Positions of a tile: with a block of queries 128 MiB of scores.
const TILE: usize = 1 << 15;
/// Threads of a block of `collect` and `raise_limits`, one for each value of a byte.
const THREADS: u32 = 256;

/// The result of a call of the driver, the compiler or cuBLAS, which each have an error of their
/// own.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A GPU that holds the vectors of an index.
pub(super) struct Gpu {
    stream: Arc<CudaStream>,
    blas: CudaBlas,
    first_limits: CudaFunction,
    collect: CudaFunction,
    raise_limits: CudaFunction,
    /// `positions × depth`, the longest first, filled up with zeros to multiples of four.
    rows: CudaSlice<f32>,
    depth: usize,
    positions: usize,
    /// Serves one block of queries at a time. Nothing that is done while it is locked waits for
    /// other threads of the pool.
    memory: Mutex<BlockMemory>,
}

/// Memory on the GPU for one block of queries. See [`QueryBlock`].
struct BlockMemory {
    scores: CudaSlice<f32>,
    queries: CudaSlice<f32>,
    needed: CudaSlice<u32>,
    slack: CudaSlice<f32>,
    allowed: CudaSlice<u32>,
    limits: CudaSlice<f32>,
    /// How many positions each query has.
    counts: CudaSlice<u32>,
    /// `MAX_CANDIDATES × queries` positions, and their scores.
    positions: CudaSlice<u32>,
    values: CudaSlice<f32>,
}

impl Gpu {
    /// Takes memory on the GPU and copies vectors to it: row-major by position, `depth` and the
    /// number of positions multiples of four.
    pub fn new(number: usize, rows: &[f32], depth: usize) -> Result<Self> {
        let context = CudaContext::new(number)?;
        let stream = context.default_stream();
        let positions = rows.len() / depth;
        let source = format!(
            "#define SECTIONS {SECTIONS}\n\
             #define MAX_CANDIDATES {MAX_CANDIDATES}\n\
             #define THREADS {THREADS}\n{}",
            include_str!("select.cu")
        );
        let module = context.load_module(cudarc::nvrtc::compile_ptx(source)?)?;
        let kernel = |name: &str| module.load_function(name);
        let floats = |count: usize| stream.alloc_zeros::<f32>(count);
        let integers = |count: usize| stream.alloc_zeros::<u32>(count);
        let memory = BlockMemory {
            scores: floats(BLOCK * positions.min(TILE))?,
            queries: floats(BLOCK * depth)?,
            needed: integers(BLOCK)?,
            slack: floats(BLOCK)?,
            allowed: integers(positions.div_ceil(32))?,
            limits: floats(BLOCK)?,
            counts: integers(BLOCK)?,
            positions: integers(MAX_CANDIDATES * BLOCK)?,
            values: floats(MAX_CANDIDATES * BLOCK)?,
        };
        Ok(Self {
            blas: CudaBlas::new(stream.clone())?,
            first_limits: kernel("first_limits")?,
            collect: kernel("collect")?,
            raise_limits: kernel("raise_limits")?,
            rows: stream.clone_htod(rows)?,
            depth,
            positions,
            memory: Mutex::new(memory),
            stream,
        })
    }

    /// Finds the candidates of a block of queries, a tile of vectors after the other.
    pub fn candidates(&self, block: &QueryBlock) -> Result<Candidates> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = &mut *memory;
        let queries = block.queries.len();
        let mut limits = vec![f32::NEG_INFINITY; queries];
        self.upload(block, &limits, memory)?;
        for first in (0..self.positions).step_by(TILE) {
            let tile = Tile {
                first,
                width: TILE.min(self.positions - first),
                queries,
            };
            self.multiply(&tile, memory)?;
            if limits.contains(&f32::NEG_INFINITY) {
                self.launch_first_limits(&tile, memory)?;
            }
            self.launch_collect(&tile, memory)?;
            self.launch_raise_limits(&tile, memory)?;
            let next = first + tile.width;
            if next < self.positions {
                self.stream
                    .memcpy_dtoh(&memory.limits.slice(..queries), &mut limits)?;
                if (block.is_done)(next, &limits) {
                    break;
                }
            }
        }
        self.download(queries, memory)
    }

    /// Copies a block to the GPU, with its first limits.
    fn upload(&self, block: &QueryBlock, limits: &[f32], memory: &mut BlockMemory) -> Result<()> {
        let mut queries = vec![0f32; block.queries.len() * self.depth];
        for (row, query) in queries.chunks_mut(self.depth).zip(block.queries) {
            row[..query.len()].copy_from_slice(query);
        }
        let stream = &self.stream;
        stream.memcpy_htod(&queries, &mut memory.queries)?;
        stream.memcpy_htod(block.needed, &mut memory.needed)?;
        stream.memcpy_htod(block.slack, &mut memory.slack)?;
        stream.memcpy_htod(block.allowed, &mut memory.allowed)?;
        stream.memcpy_htod(limits, &mut memory.limits)?;
        stream.memset_zeros(&mut memory.counts)?;
        Ok(())
    }

    /// Computes the scores of a tile: `queries × width`.
    fn multiply(&self, tile: &Tile, memory: &mut BlockMemory) -> Result<()> {
        let depth = self.depth as i32;
        let shape = GemmConfig {
            transa: CUBLAS_OP_T,
            transb: CUBLAS_OP_N,
            m: tile.width as i32,
            n: tile.queries as i32,
            k: depth,
            alpha: 1.0,
            lda: depth,
            ldb: depth,
            beta: 0.0,
            ldc: tile.width as i32,
        };
        let end = tile.first + tile.width;
        let rows = self.rows.slice(tile.first * self.depth..end * self.depth);
        // SAFETY: the rows hold `width × depth` numbers, the queries `queries × depth`, and there
        // is memory for `BLOCK × TILE` scores.
        unsafe {
            self.blas
                .gemm(shape, &rows, &memory.queries, &mut memory.scores)?
        };
        Ok(())
    }

    /// Sets the first limits from the scores of a tile.
    fn launch_first_limits(&self, tile: &Tile, memory: &mut BlockMemory) -> Result<()> {
        let (first, width) = (tile.first as u32, tile.width as u32);
        let mut launch = self.stream.launch_builder(&self.first_limits);
        launch
            .arg(&memory.scores)
            .arg(&memory.allowed)
            .arg(&first)
            .arg(&width)
            .arg(&memory.needed)
            .arg(&mut memory.limits);
        // SAFETY: the arguments are those of `select.cu`: scores of the tile, a bit for each
        // position, and a number for each query, 1 to SECTIONS.
        unsafe { launch.launch(tile.one_block_for_each_query(SECTIONS as u32))? };
        Ok(())
    }

    /// Appends the positions of a tile that reach their limits.
    fn launch_collect(&self, tile: &Tile, memory: &mut BlockMemory) -> Result<()> {
        let (first, width) = (tile.first as u32, tile.width as u32);
        let mut launch = self.stream.launch_builder(&self.collect);
        launch
            .arg(&memory.scores)
            .arg(&memory.allowed)
            .arg(&first)
            .arg(&width)
            .arg(&memory.limits)
            .arg(&memory.slack)
            .arg(&mut memory.counts)
            .arg(&mut memory.positions)
            .arg(&mut memory.values);
        let grid = LaunchConfig {
            grid_dim: (width.div_ceil(4 * THREADS), tile.queries as u32, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: as above; the width is a multiple of four, and positions and values have
        // MAX_CANDIDATES slots for each query.
        unsafe { launch.launch(grid)? };
        Ok(())
    }

    /// Raises the limits and drops the positions below them.
    fn launch_raise_limits(&self, tile: &Tile, memory: &mut BlockMemory) -> Result<()> {
        let mut launch = self.stream.launch_builder(&self.raise_limits);
        launch
            .arg(&memory.needed)
            .arg(&memory.slack)
            .arg(&mut memory.limits)
            .arg(&mut memory.counts)
            .arg(&mut memory.positions)
            .arg(&mut memory.values);
        // SAFETY: as above.
        unsafe { launch.launch(tile.one_block_for_each_query(THREADS))? };
        Ok(())
    }

    /// Copies the positions of each query from the GPU.
    fn download(&self, queries: usize, memory: &BlockMemory) -> Result<Candidates> {
        let counts = self.stream.clone_dtoh(&memory.counts.slice(..queries))?;
        let fits = |count: u32| count as usize <= MAX_CANDIDATES;
        let most = counts.iter().copied().filter(|&count| fits(count)).max();
        let slots = most.unwrap_or(0) as usize;
        let positions = self
            .stream
            .clone_dtoh(&memory.positions.slice(..slots * queries))?;
        let of_query = |(query, &count): (usize, &u32)| {
            let slots = 0..count as usize;
            fits(count).then(|| {
                slots
                    .map(|slot| positions[slot * queries + query])
                    .collect()
            })
        };
        Ok(counts.iter().enumerate().map(of_query).collect())
    }
}

/// Some positions whose scores are computed together.
struct Tile {
    first: usize,
    width: usize,
    queries: usize,
}

impl Tile {
    fn one_block_for_each_query(&self, threads: u32) -> LaunchConfig {
        LaunchConfig {
            grid_dim: (self.queries as u32, 1, 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes: 0,
        }
    }
}
