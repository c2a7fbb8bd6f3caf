//! `serve`: the server in the foreground, until it is told to end.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Context;
use crate::cli::out::LogFormat;
use crate::cli::problem::Problem;
use crate::service::{Desk, Here, notify_faults};

/// Where the server listens when nothing is said: only this machine reaches it.
const LISTEN: &str = "127.0.0.1:7766";

/// Run the server: schedules, queue, API and web page
///
/// Runs go on when it ends; when it starts again it takes them up.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nlrun serve\n  nlrun serve --listen 0.0.0.0:7766")]
pub(crate) struct ServeOptions {
    /// Address and port to listen on [default: `server.listen` of nlrun.yaml, or 127.0.0.1:7766]
    #[arg(long, value_name = "ADDRESS:PORT", env = "NLRUN_LISTEN")]
    listen: Option<String>,
    /// How the server's own messages are written to standard error
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT", env = "NLRUN_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

pub(crate) fn serve(context: &Context, options: &ServeOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let listen = options.listen.as_deref().or(project.config().server.listen.as_deref()).unwrap_or(LISTEN);
    let address: SocketAddr = listen.parse().map_err(|_| {
        Problem::usage(format!("`{listen}` is no address with a port"), Some(format!("such as `{LISTEN}`")))
    })?;
    let store = context.store(&project)?;
    for fault in notify_faults(&project.config().server.notify, &project.schedules().unwrap_or_default()) {
        context.out.always(&format!("{}: notifications: {fault}", context.out.words.yellow("warning")));
    }
    let folders = Arc::new(Here(project.root().to_owned()));
    let desk = Desk::open(project, context.place.clone(), store, folders)?;
    let ready = |address: SocketAddr| context.out.word(&format!("nlrun serves http://{address}"));
    crate::server::serve(desk, address, ready, told_to_end())?;
    Ok(0)
}

/// Waits until a person or a supervisor wants the server to end.
async fn told_to_end() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
