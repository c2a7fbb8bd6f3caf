//! Waiting for hosts: `wait_ssh wait_port host_reboot`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bindings::call::on_host;
use crate::bindings::{Binding, Call, Function, Outcome, Raise};
use crate::gate::permit::{failure, invalid};
use crate::gate::{Done, Doubt, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::inventory::Host;
use crate::model::run::Mode;
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};
use crate::world::transport::{Command, Fault, Line, Sudo};

/// How long hosts are waited for unless the script says otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);
/// The first pause between two looks; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Waits until a host lets us in.
#[derive(Serialize)]
struct Ssh {
    #[serde(skip)]
    host: Arc<Host>,
    seconds: u64,
}

/// How long something took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Waited {
    seconds: f64,
}

impl Effect for Ssh {
    const NAME: &'static str = "ssh.wait";
    const KIND: Kind = Kind::Read;
    type Output = Waited;

    fn target(&self) -> Target {
        on_host(&self.host, None)
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Waited>) -> Result<Done<Waited>, Failure> {
        let limit = patience(permit, Duration::from_secs(self.seconds));
        let begun = Instant::now();
        wait_for(permit, limit, &self.host.name, async || {
            match permit.connect().await {
                Ok(()) => Ok(true),
                // A wrong key or a wrong password does not become right by waiting.
                Err(failure)
                    if matches!(failure.kind.as_str(), "host_key" | "authentication" | "cancelled") =>
                {
                    Err(failure)
                }
                Err(_) => Ok(false),
            }
        })
        .await?;
        Ok(Done::ok(Waited { seconds: begun.elapsed().as_secs_f64() }))
    }
}

/// Waits until a TCP port is open or closed.
#[derive(Serialize)]
struct Port {
    #[serde(skip)]
    host: Arc<Host>,
    port: u16,
    open: bool,
    seconds: u64,
}

impl Effect for Port {
    const NAME: &'static str = "port.wait";
    const KIND: Kind = Kind::Read;
    type Output = Waited;

    fn target(&self) -> Target {
        on_host(&self.host, None)
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Waited>) -> Result<Done<Waited>, Failure> {
        let limit = patience(permit, Duration::from_secs(self.seconds));
        let begun = Instant::now();
        wait_for(permit, limit, &self.host.name, async || {
            Ok(permit.port_open(self.port, Duration::from_secs(3)).await? == self.open)
        })
        .await?;
        Ok(Done::ok(Waited { seconds: begun.elapsed().as_secs_f64() }))
    }
}

/// Plan mode looks once: what an act before it would have started is not there.
pub(super) fn patience(permit: &Permit<'_>, limit: Duration) -> Duration {
    if permit.mode() == Mode::Plan { Duration::ZERO } else { limit }
}

async fn wait_for(
    permit: &Permit<'_>,
    limit: Duration,
    host: &str,
    mut is_there: impl AsyncFnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let found = poll(permit, limit, async |_| Ok(if is_there().await? { Ok(()) } else { Err(()) })).await?;
    found.map_err(|()| failure(Fault::TimedOut { seconds: limit.as_secs() }, host))
}

/// Looks, with longer and longer pauses, until something is found or the time is over; then the last look counts.
///
/// A look is told how much time is left. A failure of its own ends the wait.
pub(super) async fn poll<T, W>(
    permit: &Permit<'_>,
    limit: Duration,
    mut look: impl AsyncFnMut(Duration) -> Result<Result<T, W>, Failure>,
) -> Result<Result<T, W>, Failure> {
    let begun = Instant::now();
    let mut pause = PAUSE;
    loop {
        let wanting = match look(limit.saturating_sub(begun.elapsed())).await? {
            Ok(found) => return Ok(Ok(found)),
            Err(wanting) => wanting,
        };
        let left = limit.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(Err(wanting));
        }
        permit.sleep(pause.min(left)).await?;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Restarts a host and waits until it is back.
#[derive(Serialize)]
struct Reboot {
    #[serde(skip)]
    host: Arc<Host>,
    command: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<String>,
    #[serde(skip)]
    limit: Duration,
}

/// A restart that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Rebooted {
    before_boot_id: String,
    after_boot_id: String,
    seconds: f64,
}

impl Reboot {
    async fn boot_id(permit: &Permit<'_>) -> Result<String, Failure> {
        let finished = permit.ask(plain("cat /proc/sys/kernel/random/boot_id", false), 100).await?;
        let id = finished.out.text().trim().to_owned();
        if finished.exit.code != Some(0) || id.is_empty() {
            return Err(invalid("the host does not tell its boot id".to_owned()));
        }
        Ok(id)
    }

    /// Waits for another boot id, and then for the test.
    async fn back(&self, permit: &Permit<'_>, before: &str) -> Result<Rebooted, Failure> {
        let begun = Instant::now();
        let mut after = String::new();
        wait_for(permit, self.limit, &self.host.name, async || {
            permit.forget_connection().await?;
            match Self::boot_id(permit).await {
                Ok(id) if id != before => {
                    after = id;
                    Ok(true)
                }
                Ok(_) => Ok(false),
                Err(failure)
                    if matches!(failure.kind.as_str(), "host_key" | "authentication" | "cancelled") =>
                {
                    Err(failure)
                }
                Err(_) => Ok(false),
            }
        })
        .await?;
        if let Some(test) = &self.test {
            let left = self.limit.saturating_sub(begun.elapsed());
            wait_for(permit, left, &self.host.name, async || {
                let finished = permit.ask(plain(test, false), 0).await;
                Ok(finished.is_ok_and(|finished| finished.exit.code == Some(0)))
            })
            .await?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Rebooted { before_boot_id: before.to_owned(), after_boot_id: after, seconds })
    }
}

impl Effect for Reboot {
    const NAME: &'static str = "host.reboot";
    const KIND: Kind = Kind::Act;
    type Output = Rebooted;

    fn target(&self) -> Target {
        on_host(&self.host, None)
    }

    /// Notes the boot id, by which a resumed run sees whether the host has restarted.
    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Rebooted>, Failure> {
        let pre = json!({ "boot_id": Self::boot_id(permit).await? });
        Ok(Seen { pre, ..Seen::unknown() })
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Rebooted>) -> Result<Done<Rebooted>, Failure> {
        let before = seen.pre["boot_id"].as_str().unwrap_or_default();
        let mut command = plain(&self.command, self.host.connection.sudo.unwrap_or(false));
        command.detach = true;
        match permit.run(command, 4096).await {
            Ok(_) => {}
            // The connection may go down before the answer comes; the boot id decides.
            Err(failure) if failure.kind == "lost" => {}
            Err(failure) => return Err(failure),
        }
        self.back(permit, before).await.map(Done::changed)
    }

    async fn probe(&self, permit: &Permit<'_>, pre: &Value) -> Result<Doubt<Rebooted>, Failure> {
        let Some(before) = pre["boot_id"].as_str() else { return Ok(Doubt::Unknown) };
        match Self::boot_id(permit).await {
            // It may still be about to go down.
            Ok(id) if id == before => Ok(Doubt::Unknown),
            Ok(_) | Err(_) => Ok(Doubt::Happened(Done::changed(self.back(permit, before).await?))),
        }
    }
}

fn plain(line: &str, sudo: bool) -> Command {
    Command {
        line: Line::Shell(line.to_owned()),
        stdin: [].into(),
        env: Vec::new(),
        cwd: None,
        sudo: sudo.then_some(Sudo { user: None, password: None }),
        timeout: Some(Duration::from_secs(30)),
        detach: false,
    }
}

fn wait_ssh(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let limit = if call.count() > 1 { call.duration(1)? } else { PATIENCE };
    let effect = Ssh { host: call.host(0)?, seconds: limit.as_secs() };
    call.answer(&effect, |waited, _| Outcome::known(json!({ "ok": true, "seconds": waited.seconds })))
}

fn wait_port(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let number = call.int(1)?;
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| invalid(format!("`{number}` is not a TCP port")))?;
    let open = match call.option_string("state")?.as_deref() {
        None | Some("open") => true,
        Some("closed") => false,
        Some(other) => return Err(invalid(format!("a port is `open` or `closed`, not `{other}`")).into()),
    };
    let limit = call.option_duration("timeout")?.unwrap_or(PATIENCE);
    let effect = Port { host: call.host(0)?, port, open, seconds: limit.as_secs() };
    call.answer(&effect, |waited, _| Outcome::known(json!({ "ok": true, "seconds": waited.seconds })))
}

fn host_reboot(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let effect = Reboot {
        host: call.host(0)?,
        command: call.option_string("command")?.unwrap_or_else(|| "systemctl reboot || reboot".to_owned()),
        test: call.option_string("test")?,
        limit: call.option_duration("timeout")?.unwrap_or(PATIENCE),
    };
    call.answer(&effect, |done, _| {
        Outcome::known(json!({
            "ok": true,
            "changed": true,
            "before_boot_id": done.before_boot_id,
            "after_boot_id": done.after_boot_id,
            "seconds": done.seconds,
        }))
    })
}

const HOST: Param = Param { name: "host", ty: Type::Host, optional: false };
const TIMEOUT: Opt = Opt { name: "timeout", ty: Type::Duration, doc: "How long to wait; 10 min by default." };

/// Waiting and restarting.
pub const BINDING: Binding = Binding {
    area: "wait",
    doc: "Waiting for hosts and ports, and restarting a host.",
    functions: &[
        Function {
            signature: Signature {
                name: "wait_ssh",
                params: &[HOST, Param { name: "timeout", ty: Type::Duration, optional: true }],
                options: &[],
                required_options: &[],
                returns: "An outcome `.ok .seconds`; a host that does not come back is a failure `timed_out`.",
                performs: Some(Performs { effect: "ssh.wait", kind: Kind::Read, touches: Touches::Host }),
                doc: "Waits until a host accepts our login; 10 min by default.\n\nA wrong host key or a refused login \
                      fails at once. Plan mode looks once.",
                example: r#"wait_ssh("localhost", "30s");"#,
            },
            run: wait_ssh,
        },
        Function {
            signature: Signature {
                name: "wait_port",
                params: &[HOST, Param { name: "port", ty: Type::Int, optional: false }],
                options: &[
                    TIMEOUT,
                    Opt { name: "state", ty: Type::String, doc: "`open` (the default) or `closed`." },
                ],
                required_options: &[],
                returns: "An outcome `.ok .seconds`; a port that does not get there is a failure `timed_out`.",
                performs: Some(Performs { effect: "port.wait", kind: Kind::Read, touches: Touches::Host }),
                doc: "Waits until a TCP port of a host is open or closed.\n\nSeen from the last jump host before it, \
                      or from here. Plan mode looks once.",
                example: r#"wait_port("localhost", 1, #{ state: "closed", timeout: "5s" });"#,
            },
            run: wait_port,
        },
        Function {
            signature: Signature {
                name: "host_reboot",
                params: &[HOST],
                options: &[
                    TIMEOUT,
                    Opt {
                        name: "command",
                        ty: Type::String,
                        doc: "The line that restarts it; `systemctl reboot || reboot` by default.",
                    },
                    Opt {
                        name: "test",
                        ty: Type::String,
                        doc: "A line that must succeed before the host counts as back.",
                    },
                ],
                required_options: &[],
                returns: "An outcome `.ok .before_boot_id .after_boot_id .seconds`.",
                performs: Some(Performs { effect: "host.reboot", kind: Kind::Act, touches: Touches::Host }),
                doc: "Restarts a host and waits until it is back with another boot id.\n\nA run that was interrupted \
                      in the middle of it compares boot ids and goes on.",
                example: r#"host_reboot("localhost", #{ timeout: "5m", test: "systemctl is-system-running --wait" });"#,
            },
            run: host_reboot,
        },
    ],
};
