//! `serve`: the server in the foreground, until it is told to end.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Context;
use crate::cli::out::LogFormat;
use crate::cli::problem::Problem;
use crate::gate::sentence;
use crate::service::{Desk, Folders, Here, Hooks, Identity, LISTEN, Repository, notify_faults};
use crate::world::tls::files::Files;

/// Run the server: schedules, queue, API and web page
///
/// Runs go on when it ends; when it starts again it takes them up.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nlrun user add ann --role admin && nlrun serve\n  nlrun serve --listen 0.0.0.0:7766"
)]
pub(crate) struct ServeOptions {
    /// Address and port to listen on [default: `server.listen` of nlrun.yaml, or 127.0.0.1:7766]
    #[arg(long, value_name = "ADDRESS:PORT", env = "NLRUN_LISTEN")]
    listen: Option<String>,
    /// How the server's own messages are written to standard error
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT", env = "NLRUN_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Listen beyond this machine without TLS: passwords and tokens can be read on the way
    #[arg(long)]
    insecure: bool,
}

pub(crate) fn serve(context: &Context, options: &ServeOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let listen = options.listen.as_deref().or(project.config().server.listen.as_deref()).unwrap_or(LISTEN);
    let address: SocketAddr = listen.parse().map_err(|_| {
        Problem::usage(format!("`{listen}` is no address with a port"), Some(format!("such as `{LISTEN}`")))
    })?;
    let settings = &project.config().server;
    let url =
        settings.url.as_deref().map(|text| base(text).map(|url| url.scheme() == "https")).transpose()?;
    let is_https = settings.tls.is_some() || url == Some(true);
    if !is_https && !address.ip().is_loopback() && !options.insecure {
        let hint = "name `server.tls: { certificate, key }` in nlrun.yaml, or `server.url: https://…` for a proxy that speaks TLS; \
                    `--insecure` listens all the same";
        let message =
            format!("passwords and tokens could be read on their way to {address}: there is no TLS");
        return Err(Problem::usage(message, Some(hint.to_owned())));
    }
    let tls = settings.tls.as_ref();
    let tls =
        tls.map(|tls| Files::open(project.root().join(&tls.certificate), project.root().join(&tls.key)));
    let tls = tls.transpose().map_err(|error| Problem::usage(sentence(&error), None))?;
    let store = context.store(&project)?;
    for fault in notify_faults(&project.config().server.notify, &project.schedules().unwrap_or_default()) {
        context.out.always(&format!("{}: notifications: {fault}", context.out.words.yellow("warning")));
    }
    let (folders, _following): (Arc<dyn Folders>, _) = match &project.config().server.project {
        None => (Arc::new(Here(project.root().to_owned())), None),
        Some(settings) => {
            let unusable = |fault: crate::world::repository::Fault| Problem::Other(fault.told());
            let repository =
                Repository::open(&project, &context.place, &store, settings).map_err(unusable)?;
            let following = repository.follow().map_err(|error| Problem::Other(error.to_string()))?;
            if let Some(trouble) = repository.sync().trouble {
                context.out.always(&format!("{}: {trouble}", context.out.words.yellow("warning")));
            }
            (Arc::new(repository), Some(following))
        }
    };
    let desk = Desk::open(project, context.place.clone(), store, folders)?;
    let identity = Identity::open(&desk)?;
    if !identity.has_anybody()? {
        context.out.word(
            "nobody can sign in yet: `nlrun user add NAME --role admin` makes a user, `nlrun token add NAME --role admin` a token",
        );
    }
    let hooks = Hooks::new(&desk).map_err(|why| Problem::usage(why, None))?;
    let working = hooks.as_ref().map(Hooks::work).transpose();
    let _working = working.map_err(|error| Problem::Other(error.to_string()))?;
    let ready = |address: &str| context.out.word(&format!("nlrun serves {address}"));
    crate::server::serve(desk, identity, hooks, address, tls, ready, told_to_end)?;
    Ok(0)
}

/// Reads how people reach the server.
fn base(text: &str) -> Result<url::Url, Problem> {
    let wrong = || {
        Problem::usage(format!("`server.url: {text}` is no address such as https://nlrun.example.net"), None)
    };
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let is_right = matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none();
    if is_right { Ok(url) } else { Err(wrong()) }
}

/// Waits until a person or a supervisor wants this process to end; it is heard from the call on, within a runtime.
pub(crate) fn told_to_end() -> impl Future<Output = ()> {
    let heard = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = heard else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
