//! What `on_device.rs` asks of an NVIDIA GPU: products by cuBLAS, tile after tile, and of each tile what can be among the best (`select.cu`,
//! compiled when it is first used). All on one stream, into memory taken once.

use crate::on_device::{BLOCK, Block, ROOM, SECTIONS};
use candle_core::cuda_backend::cudarc;
use cudarc::cublas::sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
use cudarc::cublas::{CudaBlas, Gemm, GemmConfig};
use cudarc::driver::{CudaContext, CudaFunction, CudaSlice, CudaStream, LaunchConfig, PushKernelArg};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

/// Places of a tile: with a block of queries 128 MiB of scores.
const TILE: usize = 1 << 15;
/// Threads of a block of `take` and `narrow`, one for each value of a byte.
const THREADS: u32 = 256;

/// The driver, the compiler and cuBLAS each have an error of their own.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A GPU that holds the vectors of an index.
pub(crate) struct Gpu {
    stream: Arc<CudaStream>,
    blas: CudaBlas,
    begin: CudaFunction,
    take: CudaFunction,
    narrow: CudaFunction,
    /// `places × depth`, the longest first, zeros to whole tiles of four.
    rows: CudaSlice<f32>,
    depth: usize,
    places: usize,
    /// One block of queries at a time. Nothing that is done while it is held waits for other threads of the pool.
    room: Mutex<Room>,
}

/// Memory for one block of queries.
struct Room {
    scores: CudaSlice<f32>,
    queries: CudaSlice<f32>,
    wanted: CudaSlice<u32>,
    slack: CudaSlice<f32>,
    open: CudaSlice<u32>,
    least: CudaSlice<f32>,
    counts: CudaSlice<u32>,
    /// `ROOM × queries` places, and their scores.
    taken: CudaSlice<u32>,
    values: CudaSlice<f32>,
}

impl Gpu {
    /// Takes memory and copies vectors, row-major by place; depth and places are multiples of four.
    pub fn new(number: usize, rows: &[f32], depth: usize) -> Result<Self> {
        let context = CudaContext::new(number)?;
        let stream = context.default_stream();
        let places = rows.len() / depth;
        let sizes = format!("#define SECTIONS {SECTIONS}\n#define ROOM {ROOM}\n#define THREADS {THREADS}\n");
        let module = context.load_module(cudarc::nvrtc::compile_ptx(sizes + include_str!("select.cu"))?)?;
        let kernel = |name: &str| module.load_function(name);
        let reals = |count: usize| stream.alloc_zeros::<f32>(count);
        let numbers = |count: usize| stream.alloc_zeros::<u32>(count);
        let room = Room {
            scores: reals(BLOCK * places.min(TILE))?,
            queries: reals(BLOCK * depth)?,
            wanted: numbers(BLOCK)?,
            slack: reals(BLOCK)?,
            open: numbers(places.div_ceil(32))?,
            least: reals(BLOCK)?,
            counts: numbers(BLOCK)?,
            taken: numbers(ROOM * BLOCK)?,
            values: reals(ROOM * BLOCK)?,
        };
        Ok(Self {
            blas: CudaBlas::new(stream.clone())?,
            begin: kernel("begin")?,
            take: kernel("take")?,
            narrow: kernel("narrow")?,
            rows: stream.clone_htod(rows)?,
            depth,
            places,
            room: Mutex::new(room),
            stream,
        })
    }

    /// For each query the places that can be among its best; nothing for one that has too many.
    pub fn candidates(&self, block: &Block) -> Result<Vec<Option<Vec<u32>>>> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let room = &mut *room;
        let (stream, depth, count) = (&self.stream, self.depth, block.queries.len());
        let mut queries = vec![0f32; count * depth];
        queries.chunks_mut(depth).zip(block.queries).for_each(|(row, query)| row[..query.len()].copy_from_slice(query));
        stream.memcpy_htod(&queries, &mut room.queries)?;
        stream.memcpy_htod(block.wanted, &mut room.wanted)?;
        stream.memcpy_htod(block.slack, &mut room.slack)?;
        stream.memcpy_htod(block.open, &mut room.open)?;
        let mut least = vec![f32::NEG_INFINITY; count];
        stream.memcpy_htod(&least, &mut room.least)?;
        stream.memset_zeros(&mut room.counts)?;
        let each = |threads: u32| LaunchConfig { grid_dim: (count as u32, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 };
        for first in (0..self.places).step_by(TILE) {
            let width = TILE.min(self.places - first);
            let shape = GemmConfig {
                transa: CUBLAS_OP_T,
                transb: CUBLAS_OP_N,
                m: width as i32,
                n: count as i32,
                k: depth as i32,
                alpha: 1.0,
                lda: depth as i32,
                ldb: depth as i32,
                beta: 0.0,
                ldc: width as i32,
            };
            let tile = self.rows.slice(first * depth..(first + width) * depth);
            // SAFETY: the tile holds `width × depth` numbers, the queries `count × depth`, and there is room for `BLOCK × TILE` scores.
            unsafe { self.blas.gemm(shape, &tile, &room.queries, &mut room.scores)? };
            let (from, across) = (first as u32, width as u32);
            if least.contains(&f32::NEG_INFINITY) {
                let mut launch = stream.launch_builder(&self.begin);
                launch.arg(&room.scores).arg(&room.open).arg(&from).arg(&across).arg(&room.wanted).arg(&mut room.least);
                // SAFETY: arguments as in `select.cu`: scores of the tile, a bit for each place, and a number for each query, 1 to SECTIONS.
                unsafe { launch.launch(each(SECTIONS as u32))? };
            }
            let grid = (across.div_ceil(4 * THREADS), count as u32, 1);
            let mut launch = stream.launch_builder(&self.take);
            launch.arg(&room.scores).arg(&room.open).arg(&from).arg(&across).arg(&room.least).arg(&room.slack);
            launch.arg(&mut room.counts).arg(&mut room.taken).arg(&mut room.values);
            // SAFETY: as above; the width is a multiple of four, and places and values have ROOM slots for each query.
            unsafe { launch.launch(LaunchConfig { grid_dim: grid, block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 })? };
            let mut launch = stream.launch_builder(&self.narrow);
            launch.arg(&room.wanted).arg(&room.slack).arg(&mut room.least);
            launch.arg(&mut room.counts).arg(&mut room.taken).arg(&mut room.values);
            // SAFETY: as above.
            unsafe { launch.launch(each(THREADS))? };
            if first + width < self.places {
                stream.memcpy_dtoh(&room.least.slice(..count), &mut least)?;
                if (block.over)(first + width, &least) {
                    break;
                }
            }
        }
        let counts = stream.clone_dtoh(&room.counts.slice(..count))?;
        let most = counts.iter().copied().filter(|&count| count as usize <= ROOM).max().unwrap_or(0) as usize;
        let taken = stream.clone_dtoh(&room.taken.slice(..most * count))?;
        let places = |(query, &own): (usize, &u32)| {
            (own as usize <= ROOM).then(|| (0..own as usize).map(|slot| taken[slot * count + query]).collect())
        };
        Ok(counts.iter().enumerate().map(places).collect())
    }
}
