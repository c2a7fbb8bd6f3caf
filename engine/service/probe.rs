//! Looks at a server outside of a run: nothing is changed, and nothing recorded.

use tokio_util::sync::CancellationToken;

use crate::service::ServiceError;
use crate::world::tls::probe::{Request, Sight};

/// Looks at the certificates that a server shows.
pub fn look(request: &Request) -> Result<Sight, ServiceError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sight = runtime.block_on(request.look(&CancellationToken::new()));
    // A name that is still being looked up would be waited for.
    runtime.shutdown_background();
    sight.map_err(|fault| ServiceError::Probe { port: request.port.name(), fault })
}
