//! Work that must not cost a request: reading, verifying and warming versions, on threads that step back for all others.

use crate::error::ServeError;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{Mutex, oneshot};

/// Threads that run when a core has nothing else to do, as many as there are cores; one that never has nothing leaves them a three-hundredth.
pub struct Background {
    pool: ThreadPool,
    /// One piece of work at a time: a thread that waits for the others' part of one would take up the next meanwhile, and wait for a lock that
    /// it holds itself.
    turn: Arc<Mutex<()>>,
}

impl Background {
    /// Starts the threads.
    ///
    /// # Errors
    /// If they cannot be started.
    pub fn new() -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new().thread_name(|number| format!("load-{number}")).start_handler(|_| step_back()).build();
        pool.map(|pool| Self { pool, turn: Arc::default() })
    }

    /// Gives back the memory of versions that left: an allocator keeps what its threads freed, for they might want it again.
    pub fn tidy(&self) {
        // SAFETY: the function has no conditions; it works on the calling thread's heap and on memory that no thread uses.
        self.pool.spawn_broadcast(|_| unsafe { libmimalloc_sys::mi_collect(true) });
    }

    /// Does something, and what it does in parallel too, after what was asked for before.
    ///
    /// # Errors
    /// [`ServeError::Internal`] if it panics.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ServeError> {
        let (send, done) = oneshot::channel();
        // Who gave up waiting does not end the work: the turn ends with it.
        let turn = self.turn.clone().lock_owned().await;
        self.pool.spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            drop(turn);
            let _ = send.send(outcome.map_err(|_| ServeError::Internal("a background task failed".into())));
        });
        done.await.unwrap_or_else(|_| Err(ServeError::Internal("a background task was lost".into())))
    }
}

/// Elsewhere a priority is one of the whole process.
#[cfg(target_os = "linux")]
fn step_back() {
    const LOWEST: i32 = 19;
    // A priority decides the share alone; idle also who runs first: a request need not wait for the end of a slice.
    // SAFETY: both are about the calling thread, 0; the structure is plain numbers, zero among their values.
    let (lowest, idle) = unsafe {
        let plain = std::mem::zeroed();
        (libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST), libc::sched_setscheduler(0, libc::SCHED_IDLE, &plain))
    };
    if lowest != 0 || idle != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "requests may wait for slices of loading");
    }
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;
    use std::time::Duration;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn work_steps_back_for_all_others() {
        // SAFETY: 0 is the calling thread.
        let policy = Background::new().unwrap().run(|| unsafe { libc::sched_getscheduler(0) }).await.unwrap();
        assert_eq!(policy, libc::SCHED_IDLE);
    }

    /// Work that holds a lock while its parts run must not meet other work that wants it.
    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_waits_for_its_parts_takes_up_no_other() {
        let background = Arc::new(Background::new().unwrap());
        let lock = Arc::new(std::sync::Mutex::new(0));
        let work = |_| {
            let (background, lock) = (background.clone(), lock.clone());
            tokio::spawn(async move {
                let held = move || {
                    let mut held = lock.lock().unwrap();
                    *held += (0..64).into_par_iter().map(|_| std::thread::sleep(Duration::from_micros(200))).count();
                };
                background.run(held).await
            })
        };
        let all: Vec<_> = (0..20).map(work).collect();
        let finished = async {
            for one in all {
                one.await.unwrap().unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(30), finished).await.unwrap();
        assert_eq!(*lock.lock().unwrap(), 20 * 64);
    }
}
