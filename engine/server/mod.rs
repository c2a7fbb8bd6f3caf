//! The server's face: routes and rendering over HTTP; nothing is decided here.
//!
//! `api/` is for programs, `page/` for people. Both ask the desk (`service::Desk`), and both get their caller from `caller`.

mod api;
mod caller;
mod extract;
mod guard;
mod health;
mod hooks;
mod house;
mod listen;
mod log;
mod login;
mod metrics;
mod page;
mod patience;
mod problem;
mod reference;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::service::{Desk, Hooks, Identity, ServiceError};
use crate::world::tls::files::Files;

pub use api::openapi;
pub(crate) use api::schedule_json;

/// What every route gets. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) desk: Desk,
    pub(crate) identity: Identity,
    /// Where events of GitLab go.
    pub(crate) hooks: Option<Hooks>,
    pub(crate) house: Arc<guard::Gatehouse>,
    /// Turns true when the server ends, so that streams end with it.
    pub(crate) ending: watch::Receiver<bool>,
    /// Streams of events that clients follow now.
    pub(crate) streams: Streams,
}

/// Counts the streams that clients follow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Arc<AtomicUsize>);

/// A stream that a client follows, until it is dropped.
#[derive(Debug)]
pub(crate) struct Followed(Streams);

impl Streams {
    /// Counts one more.
    pub(crate) fn open(&self) -> Followed {
        self.0.fetch_add(1, Ordering::Relaxed);
        Followed(self.clone())
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl App {
    /// Puts together what every route gets; `own` is the address that the server listens on.
    fn new(
        desk: Desk,
        identity: Identity,
        hooks: Option<Hooks>,
        own: &str,
        description: &utoipa::openapi::OpenApi,
        ending: watch::Receiver<bool>,
    ) -> Self {
        let settings = &desk.project().config().server;
        let url = settings.url.as_deref().unwrap_or(own);
        let url =
            url::Url::parse(url).or_else(|_| url::Url::parse(own)).expect("an address and a port are a URL");
        let house = guard::Gatehouse::new(url, settings.trusted_proxies.clone(), description);
        Self { desk, identity, hooks, house: Arc::new(house), ending, streams: Streams::default() }
    }

    /// Looks something up in the run log, off the threads that serve requests.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Desk) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, problem::Failure> {
        self.work(look).await
    }

    /// Does something off the threads that serve requests.
    pub(crate) async fn work<T: Send + 'static, E: Into<problem::Failure> + Send + 'static>(
        &self,
        work: impl FnOnce(&Desk) -> Result<T, E> + Send + 'static,
    ) -> Result<T, problem::Failure> {
        let desk = self.desk.clone();
        match tokio::task::spawn_blocking(move || work(&desk)).await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(problem::Failure::broken()),
        }
    }
}

/// Listens and answers until what `ended` returns is done; the work behind the desk goes on meanwhile.
///
/// With `tls` it shows a certificate. `ready` gets the address that people reach it at.
pub fn serve<E: Future<Output = ()>>(
    desk: Desk,
    identity: Identity,
    hooks: Option<Hooks>,
    listen: SocketAddr,
    tls: Option<Files>,
    ready: impl FnOnce(&str),
    ended: impl FnOnce() -> E,
) -> Result<(), ServiceError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .thread_name("serve")
        .enable_all()
        .build()?;
    let (works, gone) = tokio::sync::oneshot::channel::<()>();
    let work = {
        let desk = desk.clone();
        std::thread::Builder::new().name("desk".to_owned()).spawn(move || {
            let _works = works;
            desk.work()
        })?
    };
    let settings = &desk.project().config().server;
    let (metrics_at, patience) = (settings.metrics.listen.clone(), settings.patience);
    let result = runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let own = format!("{scheme}://{}", listener.local_addr()?);
        // Whoever reads that it is ready may tell it to end at once.
        let ended = ended();
        ready(&own);
        let (end, ending) = watch::channel(false);
        let description = Arc::new(openapi());
        let app = App::new(desk.clone(), identity, hooks, &own, &description, ending);
        tokio::spawn(house::keep(app.clone()));
        if let Some(listen) = metrics_at {
            tokio::spawn(metrics::serve(TcpListener::bind(listen).await?, app.clone(), patience));
        }
        let ended = async move {
            tokio::select! {
                () = ended => {}
                // A server that answers and starts nothing would be worse than none: a supervisor starts another one.
                _ = gone => tracing::error!("the work behind the desk has ended, and so does the server"),
            }
            let _ = end.send(true);
        };
        listen::listen(listener, tls.map(Arc::new), router(app, description), patience, ended).await;
        Ok::<(), ServiceError>(())
    });
    desk.close();
    let worked = work.join();
    runtime.shutdown_background();
    result?;
    worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Puts the routes together, behind the guard.
fn router(app: App, description: Arc<utoipa::openapi::OpenApi>) -> axum::Router {
    api::router(description)
        .merge(login::router())
        .merge(page::router())
        .layer(from_fn(page::dressed))
        .layer(DefaultBodyLimit::max(extract::MOST_BODY))
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .layer(axum::middleware::from_fn(log::log))
        .with_state(app)
}
