//! A Cisco device behind SSH: a terminal on a configuration that it was given, with faults on demand.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use russh::keys::ssh_key::private::{KeypairData, RsaKeypair};
use russh::keys::{Algorithm, PrivateKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, Response, Session};
use russh::{
    Channel, ChannelId, MethodKind, MethodSet, Preferred, Pty, SshId, cipher, compression, kex, mac,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cisco::{Access, Console, Event, Faults, Machine};

/// A device and how it is reached.
pub struct Device {
    /// What it is; it outlives connections.
    pub machine: Arc<Mutex<Machine>>,
    /// Who may log in.
    pub access: Access,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// How long a minute is: tests have short ones.
    pub minute: Duration,
}

impl Device {
    /// Makes a device on which nothing goes wrong.
    pub fn new(machine: Machine, access: Access) -> Self {
        Self {
            machine: Arc::new(Mutex::new(machine)),
            access,
            faults: Faults::default(),
            minute: Duration::from_secs(60),
        }
    }
}

/// Bits of the key of an old device.
const OLD_KEY: usize = 1024;

/// Serves a device with a host key of its own until this is dropped.
pub async fn serve(listener: TcpListener, device: Device) {
    let key = if device.faults.legacy { old_key() } else { super::world::key_of_chance() };
    serve_with(listener, device, key).await;
}

/// Serves a device with a host key that is known.
pub(super) async fn serve_with(listener: TcpListener, device: Device, key: PrivateKey) {
    let mut methods = vec![MethodKind::KeyboardInteractive];
    if !device.faults.asks {
        methods.insert(0, MethodKind::Password);
    }
    let config = Arc::new(Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Cisco-1.25")),
        keys: vec![key],
        auth_rejection_time: Duration::from_millis(300),
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: 3,
        methods: MethodSet::from(&methods[..]),
        preferred: if device.faults.legacy { old() } else { Preferred::default() },
        ..Config::default()
    });
    let door = Arc::new(Mutex::new(Door { busy: device.faults.busy, ..Door::default() }));
    let device = Arc::new(device);
    // Counts reloads: sessions that began before one are over.
    let (reloads, _) = watch::channel(0_u64);
    let reloads = Arc::new(reloads);
    let mut sessions = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                if !door.lock().opens() {
                    continue;
                }
                let Ok((socket, wire)) = doubled(socket) else { continue };
                let _ = socket.set_nodelay(true);
                number += 1;
                let wire = Arc::new(wire);
                let login = Login {
                    device: device.clone(),
                    door: door.clone(),
                    wire: wire.clone(),
                    number,
                    reloads: reloads.clone(),
                    consoles: HashMap::new(),
                };
                let config = config.clone();
                let mut over = reloads.subscribe();
                sessions.spawn(async move {
                    let Ok(session) = russh::server::run_stream(config, socket, login).await else { return };
                    tokio::select! {
                        _ = session => {}
                        _ = over.changed() => cut(&wire),
                    }
                });
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}

/// Returns a connection, and a second hold of it to cut it by.
fn doubled(socket: TcpStream) -> std::io::Result<(TcpStream, std::net::TcpStream)> {
    let socket = socket.into_std()?;
    let wire = socket.try_clone()?;
    Ok((TcpStream::from_std(socket)?, wire))
}

/// Ends a connection without a word, as a power cut does.
fn cut(wire: &std::net::TcpStream) {
    let _ = wire.shutdown(std::net::Shutdown::Both);
}

/// What a device of twenty years ago offers, and nothing else.
fn old() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(&[kex::DH_G1_SHA1]),
        key: Cow::Borrowed(&[Algorithm::Rsa { hash: None }]),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(&[cipher::AES_128_CBC]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA1]),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// Makes a key as old devices have them.
pub(super) fn old_key() -> PrivateKey {
    let pair = RsaKeypair::random(&mut russh::keys::key::safe_rng(), OLD_KEY).expect("a length that RSA has");
    PrivateKey::new(KeypairData::Rsa(pair), "lab of nlrun").expect("an RSA key needs nothing more")
}

/// Who is let in at all.
#[derive(Default)]
struct Door {
    /// How many connections are still closed at once.
    busy: u64,
    /// When wrong passwords were given.
    wrong: Vec<Instant>,
    /// Until when nobody is let in.
    shut: Option<Instant>,
}

impl Door {
    fn opens(&mut self) -> bool {
        if self.busy > 0 {
            self.busy -= 1;
            return false;
        }
        if self.shut.is_some_and(|until| until > Instant::now()) {
            return false;
        }
        self.shut = None;
        true
    }

    /// Notes a wrong password: after some of them the device lets nobody in for a while, where its configuration says so.
    fn failed(&mut self, block_for: Option<(u64, usize, u64)>, second: Duration) {
        let Some((wait, attempts, within)) = block_for else { return };
        let now = Instant::now();
        self.wrong.retain(|at| now.duration_since(*at) < second * within as u32);
        self.wrong.push(now);
        if self.wrong.len() >= attempts {
            self.wrong.clear();
            self.shut = Some(now + second * wait as u32);
        }
    }
}

/// One connection.
struct Login {
    device: Arc<Device>,
    door: Arc<Mutex<Door>>,
    wire: Arc<std::net::TcpStream>,
    number: u64,
    reloads: Arc<watch::Sender<u64>>,
    consoles: HashMap<ChannelId, Console>,
}

impl Login {
    fn is_known(&self, user: &str, password: &[u8]) -> Auth {
        let (name, right) = &self.device.access.login;
        if user == name && password == right.as_bytes() {
            return Auth::Accept;
        }
        let block_for = self.device.machine.lock().block_for();
        self.door.lock().failed(block_for, self.device.minute / 60);
        Auth::reject()
    }

    /// Ends all sessions, and lets nobody in until the device has started again.
    fn reloaded(device: &Device, door: &Mutex<Door>, reloads: &watch::Sender<u64>) {
        door.lock().shut = Some(Instant::now() + device.minute / 60 * device.faults.boot as u32);
        reloads.send_modify(|count| *count += 1);
    }

    /// Does what happens beside the output.
    async fn happen(&self, events: Vec<Event>, id: ChannelId, handle: Handle) {
        for event in events {
            match event {
                Event::Closed => {
                    let _ = handle.exit_status_request(id, 0).await;
                    let _ = handle.eof(id).await;
                    let _ = handle.close(id).await;
                }
                Event::Cut => {
                    let wire = self.wire.clone();
                    // What was said before is still on its way.
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        cut(&wire);
                    });
                }
                Event::Reloaded => Self::reloaded(&self.device, &self.door, &self.reloads),
                Event::TimerIn { minutes, timer } => {
                    let (device, door) = (self.device.clone(), self.door.clone());
                    let reloads = self.reloads.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(device.minute * minutes).await;
                        if device.machine.lock().ring(timer) {
                            Self::reloaded(&device, &door, &reloads);
                        }
                    });
                }
            }
        }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let mut machine = self.device.machine.lock();
        for console in self.consoles.values_mut() {
            console.close(&mut machine);
        }
    }
}

impl Handler for Login {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        if self.device.faults.asks {
            return Ok(Auth::reject());
        }
        Ok(self.is_known(user, password.as_bytes()))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(mut response) = response else {
            return Ok(Auth::Partial {
                name: Cow::Borrowed(""),
                instructions: Cow::Borrowed(""),
                prompts: Cow::Borrowed(&[(Cow::Borrowed("Password: "), false)]),
            });
        };
        let answer = response.next().unwrap_or_default();
        Ok(self.is_known(user, &answer))
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

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(id)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_success(id)?;
        let (console, said) = {
            let machine = self.device.machine.lock();
            Console::open(self.number, &machine, self.device.access.clone(), self.device.faults.clone())
        };
        self.consoles.insert(id, console);
        session.data(id, said)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _line: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        // Devices take commands at a terminal only.
        session.channel_failure(id)
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        let Some(console) = self.consoles.get_mut(&id) else { return Ok(()) };
        let (said, events) = console.feed(&mut self.device.machine.lock(), data);
        if !said.is_empty() {
            tokio::time::sleep(Duration::from_millis(self.device.faults.slow)).await;
            session.data(id, said)?;
        }
        if !events.is_empty() {
            self.happen(events, id, session.handle()).await;
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        if let Some(mut console) = self.consoles.remove(&id) {
            console.close(&mut self.device.machine.lock());
        }
        Ok(())
    }
}
