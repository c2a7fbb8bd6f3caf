//! The floor of the bench: the least that a russh client needs for its jobs, without script, gate or log.
//!
//! Every engine on russh pays at least this, so `nlrun` is judged by its ratio to it in the same run.
#![expect(clippy::print_stdout, reason = "a measuring program talks to the bench on stdout")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{Channel, ChannelMsg, Disconnect, client};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Job {
    /// Nothing: how long the program takes to start.
    Noop,
    /// One command on each host.
    Hostname,
    /// Twenty commands in a row on each host.
    Steps,
    /// A blob and a rendered template to each host, written only where they differ.
    Copy,
    /// One host after the other, with the mean milliseconds of each phase.
    Phases,
}

#[derive(Parser)]
struct Options {
    #[arg(value_enum)]
    job: Job,
    /// File with one address a line.
    #[arg(long, required_if_eq_any([("job", "hostname"), ("job", "steps"), ("job", "copy"), ("job", "phases")]))]
    hosts: Option<PathBuf>,
    #[arg(long, default_value_t = 2222)]
    port: u16,
    #[arg(long, default_value = "nlbench")]
    user: String,
    #[arg(long, default_value = "id_ed25519")]
    key: PathBuf,
    /// Hosts worked on at the same time.
    #[arg(long, default_value_t = 50)]
    parallel: usize,
    /// Opens the next channel while a command runs, which saves one of its two round trips.
    #[arg(long)]
    ahead: bool,
    /// Local directory with `blob` and `conf.j2`.
    #[arg(long, default_value = "files")]
    files: PathBuf,
    /// Remote directory; each host gets one of its own in it.
    #[arg(long, default_value = "dest")]
    dest: String,
}

/// What all connections share.
struct Work {
    options: Options,
    key: Arc<PrivateKey>,
    config: Arc<client::Config>,
    blob: Vec<u8>,
    template: String,
}

fn main() -> Result<()> {
    let options = Options::parse();
    // One thread: the work of 200 connections fills a small part of a core.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Some(hosts) = &options.hosts else {
        return Ok(());
    };
    let hosts: Vec<String> = std::fs::read_to_string(hosts)?.split_whitespace().map(String::from).collect();
    let (blob, template) = match options.job {
        Job::Copy => (
            std::fs::read(options.files.join("blob"))?,
            std::fs::read_to_string(options.files.join("conf.j2"))?,
        ),
        Job::Noop | Job::Hostname | Job::Steps | Job::Phases => (Vec::new(), String::new()),
    };
    let work = Arc::new(Work {
        key: Arc::new(load_secret_key(&options.key, None)?),
        // The default leaves Nagle on, and each command waits 40 ms for the server's delayed ACK.
        config: Arc::new(client::Config { nodelay: true, ..client::Config::default() }),
        blob,
        template,
        options,
    });
    match work.options.job {
        Job::Noop => Ok(()),
        Job::Phases => runtime.block_on(phases(&work, &hosts)),
        Job::Hostname | Job::Steps | Job::Copy => runtime.block_on(fan_out(work, hosts)),
    }
}

/// Runs the job on every host and prints what came back, a line each.
async fn fan_out(work: Arc<Work>, hosts: Vec<String>) -> Result<()> {
    let slots = Arc::new(Semaphore::new(work.options.parallel));
    let mut running = JoinSet::new();
    for host in hosts {
        let (work, slots) = (work.clone(), slots.clone());
        running.spawn(async move {
            let _slot = slots.acquire().await?;
            run(&work, &host).await.with_context(|| host)
        });
    }
    while let Some(finished) = running.join_next().await {
        print!("{}", finished??);
    }
    Ok(())
}

async fn run(work: &Work, host: &str) -> Result<String> {
    let mut session = connect(work, host).await?;
    login(work, &mut session).await?;
    let out = match work.options.job {
        Job::Copy => copy(work, host, &session).await?,
        Job::Steps => commands(&session, 20, work.options.ahead).await?,
        Job::Hostname | Job::Noop | Job::Phases => commands(&session, 1, false).await?,
    };
    session.disconnect(Disconnect::ByApplication, "", "").await?;
    Ok(out)
}

async fn commands(session: &client::Handle<AnyHost>, count: usize, ahead: bool) -> Result<String> {
    let mut out = String::new();
    let mut opened = None;
    for left in (0..count).rev() {
        let channel = match opened.take() {
            Some(channel) => channel,
            None => session.channel_open_session().await?,
        };
        let command = execute(channel, "hostname", &[]);
        out += &if ahead && left > 0 {
            let (line, next) = tokio::join!(command, session.channel_open_session());
            opened = Some(next?);
            line?
        } else {
            command.await?
        };
    }
    Ok(out)
}

async fn copy(work: &Work, host: &str, session: &client::Handle<AnyHost>) -> Result<String> {
    let directory = format!("{}/{host}", work.options.dest);
    let conf = work.template.replace("{{ inventory_hostname }}", host);
    let files = [("blob", work.blob.as_slice()), ("conf", conf.as_bytes())];
    let ask = format!("cd {directory} 2>/dev/null && sha256sum blob conf 2>/dev/null; :");
    let present = execute(session.channel_open_session().await?, &ask, &[]).await?;
    for (name, content) in files {
        let mut line = String::new();
        for byte in Sha256::digest(content) {
            write!(line, "{byte:02x}")?;
        }
        write!(line, "  {name}")?;
        if present.lines().any(|known| known == line) {
            continue;
        }
        let put = format!("mkdir -p {directory} && cd {directory} && cat > .{name} && mv .{name} {name}");
        execute(session.channel_open_session().await?, &put, content).await?;
    }
    Ok(String::new())
}

/// Runs one command with this input and returns its output; any end but exit code 0 is an error.
async fn execute(mut channel: Channel<client::Msg>, command: &str, input: &[u8]) -> Result<String> {
    channel.exec(false, command).await?;
    if !input.is_empty() {
        channel.data(input).await?;
        channel.eof().await?;
    }
    let (mut out, mut code) = (Vec::new(), None);
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => out.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
            _ => {}
        }
    }
    ensure!(code == Some(0), "`{command}` ended with {code:?}");
    Ok(String::from_utf8(out)?)
}

/// Opens a connection up to the end of the key exchange.
async fn connect(work: &Work, host: &str) -> Result<client::Handle<AnyHost>> {
    #[expect(clippy::disallowed_methods, reason = "the bench measures a client without the engine's gate")]
    let stream = TcpStream::connect((host, work.options.port)).await?;
    stream.set_nodelay(true)?;
    Ok(client::connect_stream(work.config.clone(), Prompt(stream), AnyHost).await?)
}

async fn login(work: &Work, session: &mut client::Handle<AnyHost>) -> Result<()> {
    let key = PrivateKeyWithHashAlg::new(work.key.clone(), None);
    if !session.authenticate_publickey(&work.options.user, key).await?.success() {
        bail!("the key was refused");
    }
    Ok(())
}

async fn phases(work: &Work, hosts: &[String]) -> Result<()> {
    const NAMES: [&str; 6] = ["connect+kex", "login", "first open", "first exec", "next open", "next exec"];
    let mut totals = [0.0; NAMES.len()];
    for host in hosts {
        let mut watch = Instant::now();
        let mut lap = |phase: usize| {
            totals[phase] += watch.elapsed().as_secs_f64() * 1e3;
            watch = Instant::now();
        };
        let mut session = connect(work, host).await?;
        lap(0);
        login(work, &mut session).await?;
        lap(1);
        for first in [2, 4] {
            let channel = session.channel_open_session().await?;
            lap(first);
            execute(channel, "hostname", &[]).await?;
            lap(first + 1);
        }
        session.disconnect(Disconnect::ByApplication, "", "").await?;
    }
    for (name, total) in NAMES.iter().zip(totals) {
        println!("{name:12} {:7.2} ms", total / hosts.len() as f64);
    }
    Ok(())
}

/// Accepts every host key: the hosts of the bench are made anew each time, on this machine.
struct AnyHost;

impl client::Handler for AnyHost {
    type Error = russh::Error;
    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// A TCP stream that acknowledges at once what it has read.
///
/// sshd leaves Nagle on until the first channel is open, so its second small packet otherwise waits 40 ms for our
/// delayed ACK. The kernel clears the option again by itself: tcp(7).
struct Prompt(TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(cx, buf);
        if read.is_ready() {
            rustix::net::sockopt::set_tcp_quickack(&self.0, true)?;
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
