//! Waiting for a signal to stop.

/// Returns the name of the signal at SIGINT or SIGTERM.
///
/// # Errors
/// If the system does not let the program listen for signals.
pub async fn wait_for_signal() -> std::io::Result<&'static str> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| "interrupt"),
            _ = terminate.recv() => Ok("terminate"),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map(|()| "interrupt")
}
