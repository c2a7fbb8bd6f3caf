//! A Cisco device behind SSH: a terminal on a configuration that it was given, with faults on demand.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use russh::keys::PrivateKey;
use russh::server::{Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, Response, Session};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Pty};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cisco::{Access, Console, Event, Faults, Machine};

/// A device and how it is reached.
pub struct Device {
    /// What it is; it outlives connections.
    pub machine: Arc<Mutex<Machine>>,
    /// Who may log in.
    pub access: Access,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// On how many connections, from the first one on; none: on all.
    pub faulty: Option<u64>,
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
            faulty: None,
            minute: Duration::from_secs(60),
        }
    }
}

/// Serves a device with a host key of its own until this is dropped.
pub async fn serve(listener: TcpListener, device: Device) {
    serve_with(listener, device, super::world::key_of_chance()).await;
}

async fn serve_with(listener: TcpListener, device: Device, key: PrivateKey) {
    let config = Arc::new(Config {
        keys: vec![key],
        auth_rejection_time: Duration::from_millis(300),
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: 3,
        methods: MethodSet::from(&[MethodKind::Password, MethodKind::KeyboardInteractive][..]),
        ..Config::default()
    });
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
                let _ = socket.set_nodelay(true);
                number += 1;
                let login = Login { device: device.clone(), number, reloads: reloads.clone(), consoles: HashMap::new() };
                let config = config.clone();
                let mut over = reloads.subscribe();
                sessions.spawn(async move {
                    let Ok(session) = russh::server::run_stream(config, socket, login).await else { return };
                    tokio::select! {
                        _ = session => {}
                        _ = over.changed() => {}
                    }
                });
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}

/// One connection.
struct Login {
    device: Arc<Device>,
    number: u64,
    reloads: Arc<watch::Sender<u64>>,
    consoles: HashMap<ChannelId, Console>,
}

impl Login {
    fn is_known(&self, user: &str, password: &[u8]) -> Auth {
        let (name, right) = &self.device.access.login;
        if user == name && password == right.as_bytes() { Auth::Accept } else { Auth::reject() }
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
                Event::Reloaded => {
                    self.reloads.send_modify(|count| *count += 1);
                }
                Event::RevertIn(minutes) => {
                    let (machine, wait) = (self.device.machine.clone(), self.device.minute * minutes);
                    tokio::spawn(async move {
                        tokio::time::sleep(wait).await;
                        machine.lock().revert();
                    });
                }
                Event::ReloadIn(minutes) => {
                    let (machine, wait) = (self.device.machine.clone(), self.device.minute * minutes);
                    let reloads = self.reloads.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(wait).await;
                        let mut machine = machine.lock();
                        if machine.is_reload_due() {
                            machine.reload();
                            reloads.send_modify(|count| *count += 1);
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
            let is_faulty = self.device.faulty.is_none_or(|most| self.number <= most);
            let faults = if is_faulty { self.device.faults.clone() } else { Faults::default() };
            Console::open(self.number, &machine, self.device.access.clone(), faults)
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
