//! Threads of low priority on which versions are read, verified and warmed beside requests.

use crate::error::ServeError;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{Mutex, oneshot};

/// As many threads as there are cores, which yield to all others.
pub struct LoadingPool {
    pool: ThreadPool,
    /// Held by the work that runs. A thread that waits for the other threads' parts of one piece of
    /// work would start a second piece meanwhile, and could then wait for a lock that it holds
    /// itself; so only one piece runs at a time.
    turn: Arc<Mutex<()>>,
}

impl LoadingPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system cannot start them.
    pub fn new() -> Result<Self, ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new()
            .thread_name(|number| format!("load-{number}"))
            .start_handler(|_| lower_priority())
            .build()?;
        Ok(Self {
            pool,
            turn: Arc::default(),
        })
    }

    /// Runs `work`, and what it does in parallel too, on the threads of the pool, after the
    /// work that was submitted before.
    ///
    /// # Errors
    /// [`ServeError::Internal`] if it panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServeError> {
        let (send, done) = oneshot::channel();
        // A caller that stops waiting does not end the work: the turn ends with it.
        let turn = self.turn.clone().lock_owned().await;
        self.pool.spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            drop(turn);
            let failed = |_| ServeError::Internal("a load panicked: see the log".into());
            let _ = send.send(outcome.map_err(failed));
        });
        done.await
            .unwrap_or_else(|_| Err(ServeError::Internal("a load was lost".into())))
    }
}

/// Gives the calling thread a tenth of the weight of a usual one, so that a load takes little time
/// from requests and still gets on where every core is busy. It runs for a tenth of a millisecond
/// at a time (Linux 6.12 and newer; others choose a few milliseconds), so that a request that
/// arrives hardly waits for it.
#[cfg(target_os = "linux")]
fn lower_priority() {
    const NICENESS: i32 = 10;
    const SLICE_NANOS: u64 = 100_000;
    // SAFETY: the structure is plain numbers, and zero is a value of each of them.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = size_of::<libc::sched_attr>() as u32;
    attributes.sched_policy = libc::SCHED_OTHER as u32;
    attributes.sched_nice = NICENESS;
    attributes.sched_runtime = SLICE_NANOS;
    // SAFETY: 0 names the calling thread, and the structure outlives the call, which only reads it.
    let failed =
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } != 0;
    if failed {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "loads have the priority of requests");
    }
}

/// On other systems a priority belongs to the whole process.
#[cfg(not(target_os = "linux"))]
fn lower_priority() {}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use tokio::time::timeout;

    /// Reads a field of the calling thread's entry in `/proc`, counted from 0.
    #[cfg(target_os = "linux")]
    fn thread_field(file: &str, field: usize) -> i64 {
        let text = std::fs::read_to_string(format!("/proc/thread-self/{file}")).unwrap();
        text.split_whitespace().nth(field).unwrap().parse().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn loads_have_a_low_priority() {
        let niceness = || thread_field("stat", 18);
        let found = LoadingPool::new().unwrap().run(niceness).await.unwrap();
        assert_eq!(found, 10);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_load_gets_on_where_every_core_is_busy() {
        let pool = LoadingPool::new().unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism().unwrap().get();
        let busy = |_| {
            let end = end.clone();
            std::thread::spawn(move || while !end.load(Ordering::Relaxed) {})
        };
        let busy: Vec<_> = (0..2 * cores).map(busy).collect();
        let use_100_ms_of_a_core = || {
            let nanos = || thread_field("schedstat", 0);
            let start = nanos();
            while nanos() - start < 100_000_000 {}
        };
        let done = timeout(Duration::from_secs(20), pool.run(use_100_ms_of_a_core)).await;
        end.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|busy| busy.join().unwrap());
        done.expect("no core was left for it").unwrap();
    }

    #[tokio::test]
    async fn a_panic_of_a_load_is_an_error_and_the_next_load_runs() {
        let pool = LoadingPool::new().unwrap();
        let failed = pool.run(|| panic!("on purpose")).await;
        assert!(matches!(failed, Err(ServeError::Internal(_))));
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }

    /// Work that holds a lock while its parts run must not meet other work that wants the lock.
    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_waits_for_its_parts_starts_no_other() {
        let pool = Arc::new(LoadingPool::new().unwrap());
        let counter = Arc::new(std::sync::Mutex::new(0));
        let spawn_work = |_| {
            let (pool, counter) = (pool.clone(), counter.clone());
            tokio::spawn(async move {
                let count_under_lock = move || {
                    let mut counter = counter.lock().unwrap();
                    *counter += (0..64)
                        .into_par_iter()
                        .map(|_| std::thread::sleep(Duration::from_micros(200)))
                        .count();
                };
                pool.run(count_under_lock).await
            })
        };
        let all: Vec<_> = (0..20).map(spawn_work).collect();
        let finished = async {
            for one in all {
                one.await.unwrap().unwrap();
            }
        };
        timeout(Duration::from_secs(30), finished).await.unwrap();
        assert_eq!(*counter.lock().unwrap(), 20 * 64);
    }
}
