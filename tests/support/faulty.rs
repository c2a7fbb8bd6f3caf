//! An SSH server in this process that does one thing wrong.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]
#![expect(clippy::disallowed_methods, reason = "tests start processes and write files")]

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nlrun::world::host::Endpoint;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Preferred, cipher, compression, kex, mac};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::ChildStdin;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// The password it takes where it asks for one.
pub const PASSWORD: &str = "opensesame";

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing, but there is no SFTP: commands run here by `/bin/sh`.
    Behave,
    /// It takes the connection and says nothing.
    Silent,
    /// It greets and says nothing more.
    HangInKex,
    /// It lets everybody in and answers no request.
    HangAfterLogin,
    /// It hangs up on this many callers before it greets.
    HangUp(usize),
    /// It says this instead of a greeting and hangs up.
    Garbage(&'static str),
    /// A command's output comes a byte at a time.
    Drip,
    /// A command puts out this many bytes and never ends.
    Bytes(usize),
    /// It runs no commands.
    RefuseExec,
    /// It ends every command without an exit status.
    NoStatus,
    /// Each connection shows another host key.
    ChangeHostKey,
    /// It asks two questions: a visible one and the password.
    KeyboardInteractive,
    /// It takes the password only.
    Password,
    /// It wants a key and then the password.
    KeyAndPassword,
    /// It knows algorithms of 2005 only.
    Legacy,
}

/// What becomes of the bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    Frozen,
    Cut,
}

/// A running faulty server; its connections end when it is dropped.
pub struct Faulty {
    folder: tempfile::TempDir,
    /// The loopback port it listens on.
    pub port: u16,
    flow: watch::Sender<Flow>,
    calls: Arc<AtomicUsize>,
}

impl Faulty {
    /// Starts a server.
    pub async fn start(mode: Mode) -> Self {
        let folder = tempfile::Builder::new().prefix("nlrun-faulty-").tempdir().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (flow, flow_seen) = watch::channel(Flow::Open);
        let calls = Arc::new(AtomicUsize::new(0));
        let algorithm: &[&str] =
            if mode == Mode::Legacy { &["-t", "rsa", "-b", "2048"] } else { &["-t", "ed25519"] };
        for name in ["host", "other", "client"] {
            super::sshd::keygen(&folder.path().join(name), algorithm);
        }
        let public = std::fs::read_to_string(folder.path().join("host.pub")).unwrap();
        std::fs::write(folder.path().join("known_hosts"), format!("[127.0.0.1]:{port} {public}")).unwrap();
        let load = |name: &str| russh::keys::load_secret_key(folder.path().join(name), None).unwrap();
        let (keys, client) = ([load("host"), load("other")], load("client").public_key().clone());
        let count = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let call = count.fetch_add(1, Ordering::SeqCst);
                let key = if mode == Mode::ChangeHostKey { &keys[call % 2] } else { &keys[0] };
                tokio::spawn(serve(mode, call, socket, key.clone(), client.clone(), flow_seen.clone()));
            }
        });
        Self { folder, port, flow, calls }
    }

    /// An endpoint that trusts the server and offers it all it could want.
    pub fn endpoint(&self) -> Endpoint {
        let mut endpoint = Endpoint::new("faulty", "127.0.0.1", self.port, "anybody");
        endpoint.identity_files = vec![self.client_key()];
        endpoint.known_hosts = vec![self.folder.path().join("known_hosts")];
        endpoint.password = Some(Zeroizing::new(PASSWORD.to_owned()));
        endpoint
    }

    /// The key that may log in.
    pub fn client_key(&self) -> PathBuf {
        self.folder.path().join("client")
    }

    /// How many connections were made to it.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Cuts every connection there is; those made later are cut, too, until [`Faulty::mend`].
    pub fn cut(&self) {
        self.flow.send_replace(Flow::Cut);
    }

    /// Lets nothing through any more, and tells nobody.
    pub fn freeze(&self) {
        self.flow.send_replace(Flow::Frozen);
    }

    /// Lets new connections live.
    pub fn mend(&self) {
        self.flow.send_replace(Flow::Open);
    }
}

async fn serve(
    mode: Mode,
    call: usize,
    mut socket: TcpStream,
    key: PrivateKey,
    client: PublicKey,
    mut flow: watch::Receiver<Flow>,
) {
    let mut ended = flow.clone();
    let until_dropped = async move { while ended.changed().await.is_ok() {} };
    match mode {
        Mode::Silent => return until_dropped.await,
        Mode::HangInKex => {
            let _ = socket.write_all(b"SSH-2.0-faulty\r\n").await;
            return until_dropped.await;
        }
        Mode::HangUp(times) if call < times => return,
        Mode::Garbage(text) => {
            let _ = socket.write_all(text.as_bytes()).await;
            return;
        }
        _ => {}
    }
    let config = Config {
        keys: vec![key],
        auth_rejection_time: Duration::ZERO,
        methods: methods(mode),
        preferred: if mode == Mode::Legacy { old_algorithms() } else { Preferred::DEFAULT },
        ..Config::default()
    };
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let wire = async move {
        let mut seen = flow.clone();
        let pumping = tokio::io::copy_bidirectional(&mut socket, &mut far);
        tokio::select! {
            _ = pumping => {}
            _ = seen.wait_for(|flow| *flow != Flow::Open) => {}
        }
        // Frozen: the socket stays open, and nobody reads it.
        let _ = flow.wait_for(|flow| *flow != Flow::Frozen).await;
    };
    let server = Server { mode, client, stdin: HashMap::new(), has_key: false };
    let session = async {
        if let Ok(session) = russh::server::run_stream(Arc::new(config), near, server).await {
            let _ = session.await;
        }
    };
    tokio::join!(wire, session);
}

fn methods(mode: Mode) -> MethodSet {
    MethodSet::from(match mode {
        Mode::KeyboardInteractive => &[MethodKind::KeyboardInteractive][..],
        Mode::Password => &[MethodKind::Password],
        _ => &[MethodKind::PublicKey, MethodKind::Password],
    })
}

fn old_algorithms() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(&[kex::DH_G14_SHA1, kex::DH_G1_SHA1]),
        key: Cow::Borrowed(&[russh::keys::Algorithm::Rsa { hash: None }]),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(&[cipher::AES_128_CBC]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA1]),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

struct Server {
    mode: Mode,
    client: PublicKey,
    stdin: HashMap<ChannelId, ChildStdin>,
    has_key: bool,
}

fn refuse(methods: &[MethodKind], partial_success: bool) -> Auth {
    Auth::Reject { proceed_with_methods: Some(MethodSet::from(methods)), partial_success }
}

impl Handler for Server {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        if key.public_key.key_data() != self.client.key_data() {
            return Ok(Auth::reject());
        }
        match self.mode {
            Mode::KeyAndPassword => {
                self.has_key = true;
                Ok(refuse(&[MethodKind::Password], true))
            }
            Mode::Password | Mode::KeyboardInteractive => Ok(Auth::reject()),
            _ => Ok(Auth::Accept),
        }
    }

    async fn auth_password(&mut self, _user: &str, password: &str) -> Result<Auth, Self::Error> {
        let is_in_turn = self.mode != Mode::KeyAndPassword || self.has_key;
        Ok(if password == PASSWORD && is_in_turn { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(response) = response else {
            return Ok(Auth::Partial {
                name: Cow::Borrowed("gate"),
                instructions: Cow::Borrowed(""),
                prompts: Cow::Borrowed(&[
                    (Cow::Borrowed("Press enter: "), true),
                    (Cow::Borrowed("Password: "), false),
                ]),
            });
        };
        let answers: Vec<_> = response.collect();
        let is_right = answers.len() == 2 && answers[0].is_empty() && answers[1] == PASSWORD.as_bytes();
        Ok(if is_right { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.mode {
            Mode::HangAfterLogin => {}
            Mode::RefuseExec => session.channel_failure(channel)?,
            Mode::Bytes(count) => {
                session.channel_success(channel)?;
                session.data(channel, vec![b'x'; count])?;
            }
            Mode::NoStatus => {
                session.channel_success(channel)?;
                session.data(channel, b"done\n".to_vec())?;
                session.eof(channel)?;
                session.close(channel)?;
            }
            _ => {
                session.channel_success(channel)?;
                self.spawn(channel, data, session);
            }
        }
        Ok(())
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(stdin) = self.stdin.get_mut(&channel) {
            let _ = stdin.write_all(data).await;
        }
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        self.stdin.remove(&channel);
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}

impl Server {
    /// Runs the command here and sends its output when it has ended.
    fn spawn(&mut self, channel: ChannelId, line: &[u8], session: &Session) {
        let mut child = tokio::process::Command::new("/bin/sh")
            .arg("-c")
            .arg(String::from_utf8_lossy(line).into_owned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.stdin.insert(channel, child.stdin.take().unwrap());
        let handle = session.handle();
        let piece = if self.mode == Mode::Drip { 1 } else { 32 * 1024 };
        tokio::spawn(async move {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
            let _ = tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err));
            for piece in err.chunks(piece) {
                let _ = handle.extended_data(channel, 1, piece.to_vec()).await;
            }
            for piece in out.chunks(piece) {
                let _ = handle.data(channel, piece.to_vec()).await;
            }
            let status = child.wait().await.unwrap().code().unwrap_or(255);
            let _ = handle.exit_status_request(channel, u32::try_from(status).unwrap()).await;
            let _ = handle.eof(channel).await;
            let _ = handle.close(channel).await;
        });
    }
}
