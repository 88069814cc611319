//! Work that must not cost a request: reading, verifying and warming versions, on threads that step back for all others.

use crate::error::ServeError;
use crate::memory;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

/// Work waits so long for idle cores: where four fifths of a core are busy, a version of a hundred thousand items is loaded by then.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Threads that step back for all others, and those for what cannot wait that long.
pub struct Background {
    /// They run when a core has nothing else to do; one that never has nothing leaves them a three-hundredth.
    idle: Team,
    /// They get a tenth of a core that others want as well.
    pressing: Team,
}

/// As many threads as there are cores.
struct Team {
    pool: ThreadPool,
    /// One piece of work at a time: a thread that waits for the others' part of one would take up the next meanwhile, and wait for a lock that
    /// it holds itself.
    turn: Arc<Mutex<()>>,
    /// Whether it did something since it gave memory back.
    worked: Arc<AtomicBool>,
}

impl Background {
    /// Starts the threads.
    ///
    /// # Errors
    /// If they cannot be started.
    pub fn new() -> Result<Self, ThreadPoolBuildError> {
        Ok(Self { idle: Team::new("idle", true)?, pressing: Team::new("load", false)? })
    }

    /// Gives back the memory of versions that left.
    pub fn tidy(&self) {
        for team in [&self.idle, &self.pressing].into_iter().filter(|team| team.worked.swap(false, Ordering::Relaxed)) {
            team.pool.spawn_broadcast(|_| memory::give_back());
        }
    }

    /// Does something, and what it does in parallel too, when cores are idle and after what was asked for before; where that takes longer than
    /// `patience`, once more on threads that get a share. Whichever ends first is the outcome, and the other runs on to its end.
    ///
    /// # Errors
    /// [`ServeError::Internal`] if it panics.
    pub async fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Clone + Send + 'static,
    ) -> Result<T, ServeError> {
        let mut first = pin!(self.idle.run(work.clone()));
        match timeout(patience, &mut first).await {
            Ok(done) => done,
            Err(_) => tokio::select! {
                done = first => done,
                done = self.pressing.run(work) => done,
            },
        }
    }
}

impl Team {
    fn new(name: &'static str, idle: bool) -> Result<Self, ThreadPoolBuildError> {
        let builder = ThreadPoolBuilder::new().thread_name(move |number| format!("{name}-{number}"));
        Ok(Self { pool: builder.start_handler(move |_| step_back(idle)).build()?, turn: Arc::default(), worked: Arc::default() })
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ServeError> {
        let (send, done) = oneshot::channel();
        // Who gave up waiting does not end the work: the turn ends with it.
        let turn = self.turn.clone().lock_owned().await;
        // While it works, for it may ask for that itself, and once it has.
        let worked = self.worked.clone();
        worked.store(true, Ordering::Relaxed);
        self.pool.spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            worked.store(true, Ordering::Relaxed);
            drop(turn);
            let _ = send.send(outcome.map_err(|_| ServeError::Internal("a background task failed".into())));
        });
        done.await.unwrap_or_else(|_| Err(ServeError::Internal("a background task was lost".into())))
    }
}

/// Elsewhere a priority is one of the whole process.
#[cfg(target_os = "linux")]
fn step_back(idle: bool) {
    // A tenth of the weight of the usual priority. A priority decides the share alone; idle also who runs first: a request need not wait for
    // the end of a slice.
    const SHARE: i32 = 10;
    // SAFETY: both are about the calling thread, 0; the structure is plain numbers, zero among their values, and lives through the call.
    let stepped = unsafe {
        if idle {
            let plain: libc::sched_param = std::mem::zeroed();
            // Not every C library has the function.
            libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_IDLE, &raw const plain)
        } else {
            libc::setpriority(libc::PRIO_PROCESS, 0, SHARE).into()
        }
    };
    if stepped != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "requests may wait for slices of loading");
    }
}

#[cfg(not(target_os = "linux"))]
fn step_back(_: bool) {}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    const LONG: Duration = Duration::from_secs(60);

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn work_steps_back_for_all_others() {
        // SAFETY: 0 is the calling thread.
        let policy = || unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
        let policy = Background::new().unwrap().run(LONG, policy).await.unwrap();
        assert_eq!(policy, i64::from(libc::SCHED_IDLE));
    }

    /// With every core taken, idle threads get next to nothing: what cannot wait is done all the same.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn work_that_cannot_wait_for_idle_cores_gets_a_share() {
        let background = Background::new().unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism().unwrap().get();
        let busy = |_| {
            let end = end.clone();
            std::thread::spawn(move || while !end.load(Ordering::Relaxed) {})
        };
        let busy: Vec<_> = (0..2 * cores).map(busy).collect();
        let done = timeout(
            Duration::from_secs(20),
            background.run(Duration::from_millis(50), || {
                // SAFETY: the structure is plain numbers, and lives through the call; the clock is that of this thread.
                let used = || unsafe {
                    let mut time: libc::timespec = std::mem::zeroed();
                    libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
                    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
                };
                while used() < 100 {}
            }),
        )
        .await;
        end.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|busy| busy.join().unwrap());
        done.expect("no core was left for it").unwrap();
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
                background.run(LONG, held).await
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
