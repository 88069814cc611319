//! Work whose memory is its own.

use rayon::ThreadPoolBuilder;

/// Does something, and what it does in parallel too, on threads that end with it, as many as there are here; here if there can be none. They
/// have the priority of this one. An allocator gives each thread pages of its own: so what is made here lies beside little else, and leaves few
/// holes when it is freed.
pub fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match ThreadPoolBuilder::new().num_threads(rayon::current_num_threads()).build() {
        Ok(threads) => threads.install(work),
        Err(_) => work(),
    }
}
