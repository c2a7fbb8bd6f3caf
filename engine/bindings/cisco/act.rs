//! Lines typed as they are, and saving: `cisco_exec_config cisco_save`.

use std::sync::Arc;
use std::time::Duration;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::text::lines;
use crate::bindings::call::on_host;
use crate::bindings::each::each_host;
use crate::bindings::{Call, Outcome, Raise, to_dynamic};
use crate::cisco::{Drift, Os, drift};
use crate::gate::permit::cisco::os_of;
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::inventory::Host;

/// Types lines in configuration mode.
#[derive(Serialize)]
struct Exec {
    #[serde(skip)]
    host: Arc<Host>,
    /// The lines without secrets.
    lines: Vec<String>,
    #[serde(skip)]
    typed: Vec<String>,
    #[serde(skip)]
    timeout: Option<Duration>,
}

/// What the device said to them.
#[derive(Serialize, Deserialize)]
struct Told {
    notices: Vec<String>,
}

impl Effect for Exec {
    const NAME: &'static str = "cisco.exec_config";
    const KIND: Kind = Kind::Act;
    type Output = Told;

    fn target(&self) -> Target {
        on_host(&self.host, None)
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Told>) -> Result<Done<Told>, Failure> {
        permit.hide(&self.typed.join("\n"))?;
        let notices = permit.device_configure(self.typed.clone(), self.timeout).await?;
        Ok(Done::changed(Told { notices }))
    }
}

pub(super) fn cisco_exec_config(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let lines = lines(call, 1)?;
    let shown: Vec<String> = lines.iter().map(|line| line.shown.clone()).collect();
    let typed: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    if let Some(line) =
        typed.iter().find(|line| matches!(line.trim(), "end" | "configure terminal" | "conf t"))
    {
        let message = format!(
            "`{}` enters configuration mode and leaves it by itself: leave out `{line}`",
            call.name()
        );
        return Err(invalid(message).into());
    }
    let timeout = call.option_duration("timeout")?;
    let make = |_: &Call<'_>, host: &Arc<Host>| {
        os_of(host)?;
        Ok(Exec { host: host.clone(), lines: shown.clone(), typed: typed.clone(), timeout })
    };
    each_host(call, make, |_, told, is_changed| {
        let fields = json!({ "ok": true, "changed": is_changed, "notices": told.notices });
        Ok(Dynamic::from(Outcome::known(fields)))
    })
}

/// Has what runs also as what the device starts with.
#[derive(Serialize)]
struct Save {
    #[serde(skip)]
    host: Arc<Host>,
    #[serde(skip)]
    os: Os,
    #[serde(skip)]
    timeout: Option<Duration>,
}

/// Whether it had to be done.
#[derive(Serialize, Deserialize)]
struct Saved {
    saved: bool,
}

impl Effect for Save {
    const NAME: &'static str = "cisco.save";
    const KIND: Kind = Kind::Ensure;
    type Output = Saved;

    fn target(&self) -> Target {
        on_host(&self.host, None)
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Saved>, Failure> {
        let running = permit.device_running(self.timeout).await?;
        let startup = match permit.device_startup(self.timeout).await {
            Ok(startup) => Some(startup),
            // A device that was never saved has none.
            Err(failure) if matches!(failure.kind.as_str(), "rejected" | "unusable") => None,
            Err(failure) => return Err(failure),
        };
        // Where a secret is not told, nobody knows whether it was saved.
        let stands = startup.as_ref().map(|startup| drift(self.os, startup, &running));
        let is_saved = match &stands {
            Some(Drift::Same) => true,
            Some(Drift::Textual { notes }) => notes.is_empty(),
            Some(Drift::Different { .. } | Drift::Unknown { .. }) | None => false,
        };
        let what = match &stands {
            Some(Drift::Different { plan, .. }) => {
                let commands = plan.clone().masked();
                let lines: Vec<String> = commands.commands().map(|command| format!("+{command}\n")).collect();
                lines.concat()
            }
            _ => "+what runs\n".to_owned(),
        };
        let diff = format!("--- {0} (startup)\n+++ {0} (running)\n{what}", self.host.name);
        Ok(Seen {
            pre: json!({ "saved": is_saved }),
            changes: !is_saved,
            diff: (!is_saved).then_some(diff),
            output: Some(Saved { saved: !is_saved }),
        })
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Saved>) -> Result<Done<Saved>, Failure> {
        permit.device_save(self.timeout).await?;
        Ok(Done::changed(Saved { saved: true }))
    }
}

pub(super) fn cisco_save(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let timeout = call.option_duration("timeout")?;
    let make = |_: &Call<'_>, host: &Arc<Host>| Ok(Save { host: host.clone(), os: os_of(host)?, timeout });
    each_host(call, make, |_, _, is_changed| Ok(to_dynamic(&json!({ "changed": is_changed }))?))
}
