//! How a client lets go of what it does when the run is cancelled.

use tokio_util::sync::CancellationToken;

/// Waits for something; a cancelled run does not wait for its end, and gets `cancelled`.
pub(super) async fn unless<T, E>(
    cancel: &CancellationToken,
    cancelled: E,
    what: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(cancelled),
        result = what => result,
    }
}
