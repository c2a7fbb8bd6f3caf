//! The server's face: routes and rendering over HTTP; nothing is decided here.
//!
//! `api/` is for programs, `page/` for people. Both ask the desk (`service::Desk`), and both get their caller from `caller`.

mod api;
mod caller;
mod hooks;
mod problem;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::service::{Desk, Hooks, ServiceError};

pub use api::openapi;

/// What every route gets. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) desk: Desk,
    /// Where events of GitLab go.
    pub(crate) hooks: Option<Hooks>,
    /// Turns true when the server ends, so that streams end with it.
    pub(crate) ending: watch::Receiver<bool>,
}

impl App {
    /// Looks something up in the run log, off the threads that serve requests.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Desk) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, problem::Failure> {
        let desk = self.desk.clone();
        match tokio::task::spawn_blocking(move || look(&desk)).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(problem::Failure::broken()),
        }
    }
}

/// Listens and answers until `ended` is done; the work behind the desk goes on meanwhile.
pub fn serve(
    desk: Desk,
    hooks: Option<Hooks>,
    listen: SocketAddr,
    ready: impl FnOnce(SocketAddr),
    ended: impl Future<Output = ()>,
) -> Result<(), ServiceError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .thread_name("serve")
        .enable_all()
        .build()?;
    let work = {
        let desk = desk.clone();
        std::thread::Builder::new().name("desk".to_owned()).spawn(move || desk.work())?
    };
    let result = runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        ready(listener.local_addr()?);
        let (end, ending) = watch::channel(false);
        let app = App { desk: desk.clone(), hooks, ending };
        let router = api::router(Arc::new(openapi())).with_state(app);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let mut told = end.subscribe();
        let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
            let _ = told.wait_for(|ended| *ended).await;
        });
        let serving = async { serving.await };
        tokio::pin!(serving, ended);
        tokio::select! {
            result = &mut serving => result,
            () = &mut ended => {
                let _ = end.send(true);
                tokio::time::timeout(std::time::Duration::from_secs(5), serving).await.unwrap_or(Ok(()))
            }
        }
    });
    desk.close();
    let worked = work.join();
    runtime.shutdown_background();
    result?;
    worked.unwrap_or(Ok(()))
}
