//! Work that must not cost a request: reading, verifying and warming versions, on threads that step back for all others.

use crate::error::ServeError;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::oneshot;

/// Threads of the lowest priority, as many as there are cores: what they share a core with gets 98 % of it.
pub struct Background(ThreadPool);

impl Background {
    /// Starts the threads.
    ///
    /// # Errors
    /// If they cannot be started.
    pub fn new() -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new().thread_name(|number| format!("load-{number}")).start_handler(|_| step_back()).build();
        pool.map(Self)
    }

    /// Gives back the memory of versions that left: an allocator keeps what its threads freed, for they might want it again.
    pub fn tidy(&self) {
        // SAFETY: the function has no conditions; it works on the calling thread's heap and on memory that no thread uses.
        self.0.spawn_broadcast(|_| unsafe { libmimalloc_sys::mi_collect(true) });
    }

    /// Does something, and what it does in parallel too.
    ///
    /// # Errors
    /// [`ServeError::Internal`] if it panics.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ServeError> {
        let (send, done) = oneshot::channel();
        self.0.spawn(move || {
            let _ = send
                .send(catch_unwind(AssertUnwindSafe(work)).map_err(|_| ServeError::Internal("a background task failed".into())));
        });
        done.await.unwrap_or_else(|_| Err(ServeError::Internal("a background task was lost".into())))
    }
}

/// Elsewhere a priority is one of the whole process.
#[cfg(target_os = "linux")]
fn step_back() {
    const LOWEST: i32 = 19;
    if let Err(error) = rustix::process::setpriority_process(None, LOWEST) {
        tracing::debug!(%error, "loading keeps its priority");
    }
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}
