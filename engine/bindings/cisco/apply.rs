//! Changing what runs on a device so that it is what was intended: `cisco_apply cisco_revert`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::text::{Given, digest, plan_value, planned};
use crate::bindings::call::on_host;
use crate::bindings::{Call, Raise, to_dynamic};
use crate::cisco::{Os, Plan, Risk, masked};
use crate::gate::permit::cisco::os_of;
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::inventory::Host;
use crate::model::run::Mode;
use crate::world::cisco::{Change, Fallback};

/// How long a device waits for a confirmation before it takes a change back.
const CONFIRM: Duration = Duration::from_secs(300);
/// The longest; devices count minutes up to this.
const LONGEST: Duration = Duration::from_secs(120 * 60);
/// How much longer than its timer a device may take to bring its configuration back.
const MARGIN: Duration = Duration::from_secs(90);
/// Where a plan remembers what would run on a device.
const PROMISE: &str = "cisco.running";

/// What is to run on a device. It serialises to no line of a configuration.
#[derive(Serialize)]
struct Order {
    #[serde(skip)]
    host: Arc<Host>,
    #[serde(skip)]
    os: Os,
    /// Stands for the configuration.
    intended: String,
    #[serde(skip)]
    text: Zeroizing<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<String>,
    save: bool,
    #[serde(skip)]
    confirm: Duration,
    #[serde(skip)]
    fallback: Fallback,
    #[serde(skip)]
    timeout: Option<Duration>,
}

/// What came of it.
#[derive(Clone, Serialize, Deserialize)]
struct Applied {
    /// The plan without secrets.
    #[serde(flatten)]
    plan: Value,
    /// What would have taken it back: `timer`, `reload` or `commands`.
    #[serde(default)]
    way_back: Option<String>,
    /// What the device said that is worth knowing.
    #[serde(default)]
    notices: Vec<String>,
    /// What was found, on its way from looking to doing.
    #[serde(skip)]
    found: Option<Arc<Found>>,
}

struct Found {
    running: Zeroizing<String>,
    plan: Plan,
    /// Why no commands take it back.
    one_way: Option<String>,
}

impl Order {
    fn read(call: &Call<'_>) -> Result<Self, Raise> {
        let host = call.host(0)?;
        let os = os_of(&host)?;
        let given = Given::read(call, 1)?;
        let confirm = call.option_duration("confirm")?.unwrap_or(CONFIRM);
        if confirm.is_zero() || confirm > LONGEST {
            let message = format!("`confirm` of `{}` is from a minute to two hours", call.name());
            return Err(invalid(message).into());
        }
        let fallback = match call.option_string("fallback")?.as_deref() {
            None => Fallback::Refuse,
            Some("reload") => Fallback::Reload,
            Some("none") => Fallback::Go,
            Some(other) => {
                let message =
                    format!("`fallback` of `{}` is \"reload\" or \"none\", not `{other}`", call.name());
                return Err(invalid(message).into());
            }
        };
        Ok(Self {
            intended: digest(os, &given.text),
            host,
            os,
            text: Zeroizing::new(given.text),
            against: call.option_string("against")?,
            save: call.option_bool("save", true)?,
            confirm,
            fallback,
            timeout: call.option_duration("timeout")?,
        })
    }

    /// Works out what has to be done from what runs.
    fn seen(&self, permit: &Permit<'_>, running: String, is_pending: bool) -> Result<Seen<Applied>, Failure> {
        permit.hide(&self.text)?;
        let now = digest(self.os, &running);
        if let Some(against) = self.against.as_ref().filter(|against| **against != now) {
            let message = format!(
                "the device has changed since it was looked at: it runs {}, and the decision was made on {}",
                short(&now),
                short(against)
            );
            return Err(Failure { kind: "stale".to_owned(), ..invalid(message) });
        }
        let (plan, one_way) = planned(self.os, &running, &self.text)?;
        let changes = is_pending || !plan.is_empty();
        let value = plan_value(&plan);
        let pre = json!({ "running": now, "commands": value["commands"], "pending": is_pending });
        let diff = changes.then(|| self.diff(&plan, one_way.as_deref(), is_pending));
        permit.promise(PROMISE, self.text.to_string());
        let found = Some(Arc::new(Found { running: Zeroizing::new(running), plan, one_way }));
        let output = Applied { plan: value, way_back: None, notices: Vec::new(), found };
        Ok(Seen { pre, changes, diff, output: Some(output) })
    }

    /// Returns the plan for people: each block with what it may do, and what is not sent.
    fn diff(&self, plan: &Plan, one_way: Option<&str>, is_pending: bool) -> String {
        let plan = plan.clone().masked();
        let mut text = format!("--- {0} (running)\n+++ {0} (intended)\n", self.host.name);
        if is_pending {
            text.push_str("@@ a change waits for its confirmation @@\n+configure revert now\n");
        }
        for block in &plan.blocks {
            let risks: Vec<&str> = block.risks.iter().map(|risk| risk.words()).collect();
            let risks = if risks.is_empty() { String::new() } else { format!(" ({})", risks.join("; ")) };
            let _ = writeln!(text, "@@ {}{risks} @@", block.description);
            for command in &block.commands {
                for line in command.to_string().lines() {
                    let _ = writeln!(text, "+{line}");
                }
            }
        }
        for note in &plan.notes {
            let _ = writeln!(text, " note: {} {}", note.line, note.text);
        }
        if let Some(why) = one_way {
            let _ = writeln!(text, " note: no commands take this back: {why}");
        }
        text
    }

    /// Reads what runs; in a plan it is what an effect before this one would have made of it.
    async fn running(&self, permit: &Permit<'_>) -> Result<String, Failure> {
        if let Some(promised) = permit.promised::<String>(PROMISE) {
            return Ok(promised.as_ref().clone());
        }
        // A plan does not wait; what was begun before a crash may still wait for its timer.
        let limit = if permit.mode() == Mode::Plan { Duration::ZERO } else { self.confirm + MARGIN };
        permit.device_settled(self.timeout, limit).await
    }

    async fn make(&self, permit: &Permit<'_>, found: &Found) -> Result<Done<Applied>, Failure> {
        let has_access = found.plan.blocks.iter().any(|block| block.risks.contains(&Risk::Access));
        let peril = match &found.one_way {
            Some(why) => Some(format!("no commands take the plan back ({why})")),
            None => has_access.then(|| "the plan may cut off access".to_owned()),
        };
        let change = Change {
            before: found.running.to_string(),
            commands: found.plan.commands().cloned().collect(),
            intended: self.text.to_string(),
            peril,
            confirm: self.confirm,
            fallback: self.fallback,
            save: self.save,
        };
        let made = permit.device_change(change, self.timeout).await?;
        let plan = plan_value(&found.plan);
        let way_back = Some(made.way_back.to_owned());
        Ok(Done::changed(Applied { plan, way_back, notices: made.notices, found: None }))
    }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn found(seen: &Seen<Applied>) -> Result<Arc<Found>, Failure> {
    let found = seen.output.as_ref().and_then(|output| output.found.clone());
    found.ok_or_else(|| invalid("nobody has looked at the device".to_owned()))
}

/// Brings a device to a configuration.
#[derive(Serialize)]
#[serde(transparent)]
struct Apply(Order);

impl Effect for Apply {
    const NAME: &'static str = "cisco.apply";
    const KIND: Kind = Kind::Ensure;
    type Output = Applied;

    fn target(&self) -> Target {
        on_host(&self.0.host, None)
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Applied>, Failure> {
        let running = self.0.running(permit).await?;
        self.0.seen(permit, running, false)
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Applied>) -> Result<Done<Applied>, Failure> {
        self.0.make(permit, &*found(seen)?).await
    }
}

/// Brings a device back to an earlier configuration.
#[derive(Serialize)]
#[serde(transparent)]
struct Revert(Order);

impl Effect for Revert {
    const NAME: &'static str = "cisco.revert";
    const KIND: Kind = Kind::Ensure;
    type Output = Applied;

    fn target(&self) -> Target {
        on_host(&self.0.host, None)
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Applied>, Failure> {
        let is_pending = permit.device_pending(self.0.timeout).await?;
        let running = match permit.promised::<String>(PROMISE) {
            Some(promised) => promised.as_ref().clone(),
            None => permit.device_running(self.0.timeout).await?,
        };
        self.0.seen(permit, running, is_pending)
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Applied>) -> Result<Done<Applied>, Failure> {
        let looked = found(seen)?;
        if !permit.device_revert(self.0.timeout).await? {
            return self.0.make(permit, &looked).await;
        }
        // What the device has taken back by itself need not be undone.
        let running = permit.device_running(self.0.timeout).await?;
        let (plan, one_way) = planned(self.0.os, &running, &self.0.text)?;
        if plan.is_empty() {
            let way_back = Some("timer".to_owned());
            return Ok(Done::changed(Applied {
                plan: plan_value(&plan),
                way_back,
                notices: Vec::new(),
                found: None,
            }));
        }
        self.0.make(permit, &Found { running: Zeroizing::new(running), plan, one_way }).await
    }
}

/// Turns what came of it into what scripts see.
fn value(mut applied: Applied, is_changed: bool) -> Result<Dynamic, Raise> {
    let fields = applied.plan.as_object_mut().map(std::mem::take).unwrap_or_default();
    let mut fields = Value::Object(fields);
    fields["changed"] = is_changed.into();
    fields["way_back"] = applied.way_back.into();
    fields["notices"] = applied.notices.iter().map(|notice| masked(notice)).collect::<Vec<_>>().into();
    Ok(to_dynamic(&fields)?)
}

fn applied<E: Effect<Output = Applied>>(call: &Call<'_>, effect: &E) -> Result<Dynamic, Raise> {
    use crate::gate::Answered;
    use crate::model::event::Verdict;
    match call.session.perform(Some(call.site.clone()), effect)? {
        Answered::Known(output, verdict) => value(output, verdict == Verdict::Changed),
        Answered::Unplanned => Err(crate::bindings::outcome::unanswered(&call.site, E::NAME)),
    }
}

pub(super) fn cisco_apply(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let effect = Apply(Order::read(call)?);
    applied(call, &effect)
}

pub(super) fn cisco_revert(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let effect = Revert(Order::read(call)?);
    applied(call, &effect)
}
