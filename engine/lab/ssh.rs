//! The SSH server of a host of the lab: one key may log in, as root, and run commands.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, MethodKind, MethodSet, Sig};
use std::os::unix::process::ExitStatusExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::host::Host;

/// The only user of a host.
const USER: &str = "root";

/// Serves a host until this is dropped.
pub async fn serve(listener: TcpListener, host: Arc<Host>, key: PrivateKey, client: PublicKey) {
    let config = Arc::new(Config {
        keys: vec![key],
        auth_rejection_time: Duration::from_millis(300),
        auth_rejection_time_initial: Some(Duration::ZERO),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        ..Config::default()
    });
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let _ = socket.set_nodelay(true);
                let login = Login { host: host.clone(), client: client.clone(), channels: HashMap::new() };
                let config = config.clone();
                sessions.spawn(async move {
                    if let Ok(session) = russh::server::run_stream(config, socket, login).await {
                        let _ = session.await;
                    }
                });
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}

/// One connection.
struct Login {
    host: Arc<Host>,
    client: PublicKey,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Handler for Login {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let is_known = user == USER && key.public_key.key_data() == self.client.key_data();
        Ok(if is_known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let (Some(channel), Ok(line)) = (self.channels.remove(&id), std::str::from_utf8(line)) else {
            return session.channel_failure(id);
        };
        let Ok(child) = self.host.shell(line).spawn() else { return session.channel_failure(id) };
        session.channel_success(id)?;
        let (read, write) = channel.split();
        tokio::spawn(attend(child, read, write, session.handle()));
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&id);
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }
}

/// Passes on what a command reads and says, and how it ends.
///
/// A client that goes away takes the command's streams with it and not the command, as with a real server.
async fn attend(
    mut child: tokio::process::Child,
    mut read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    handle: russh::server::Handle,
) {
    let id = write.id();
    let mut stdin = child.stdin.take().expect("it is piped");
    let mut stdout = child.stdout.take().expect("it is piped");
    let mut stderr = child.stderr.take().expect("it is piped");
    // Without a bound: a command that reads nothing may not hold up what tells us that its client is gone.
    let (inbox, mut letters) = mpsc::unbounded_channel::<hyper::body::Bytes>();
    tokio::spawn(async move {
        while let Some(bytes) = letters.recv().await {
            if stdin.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
    let listening = async move {
        let mut inbox = Some(inbox);
        while let Some(message) = read.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    if let Some(inbox) = &inbox {
                        let _ = inbox.send(data);
                    }
                }
                ChannelMsg::Eof => inbox = None,
                ChannelMsg::Close => break,
                _ => {}
            }
        }
    };
    let speaking = async {
        let (mut out, mut err) = (write.make_writer(), write.make_writer_ext(Some(1)));
        let _ = tokio::join!(tokio::io::copy(&mut stdout, &mut out), tokio::io::copy(&mut stderr, &mut err));
        child.wait().await
    };
    tokio::select! {
        () = listening => {}
        ended = speaking => {
            let Ok(status) = ended else { return };
            match status.code() {
                Some(code) => drop(write.exit_status(code.unsigned_abs()).await),
                None => {
                    let signal = name(status.signal());
                    let _ = handle.exit_signal_request(id, signal, false, String::new(), String::new()).await;
                }
            }
            let _ = write.eof().await;
            let _ = write.close().await;
        }
    }
}

/// Returns the signal that ended a command, as the protocol calls it.
fn name(signal: Option<i32>) -> Sig {
    match signal {
        Some(1) => Sig::HUP,
        Some(2) => Sig::INT,
        Some(3) => Sig::QUIT,
        Some(6) => Sig::ABRT,
        Some(11) => Sig::SEGV,
        Some(13) => Sig::PIPE,
        Some(15) => Sig::TERM,
        _ => Sig::KILL,
    }
}
