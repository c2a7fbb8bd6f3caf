//! Why a run began, and when it was due: `run`.

use jiff::Timestamp;
use rhai::Dynamic;
use serde::{Deserialize, Serialize};

use crate::bindings::clock::instant;
use crate::bindings::declare::of_the_run;
use crate::bindings::{Binding, Call, Function, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::run::Trigger;
use crate::model::signature::Signature;

/// What the run log has about the beginning of the run.
#[derive(Serialize)]
struct Cause;

/// Why it began, and when: milliseconds since 1970, UTC.
#[derive(Serialize, Deserialize)]
struct Known {
    trigger: Trigger,
    started_at: i64,
}

impl Effect for Cause {
    const NAME: &'static str = "run.cause";
    const KIND: Kind = Kind::Read;
    type Output = Known;

    fn target(&self) -> Target {
        Target::Run
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Known>) -> Result<Done<Known>, Failure> {
        let (trigger, started_at) = permit.cause()?;
        Ok(Done::ok(Known { trigger, started_at: started_at / 1000 }))
    }
}

fn run(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let Known { trigger, started_at } = call.perform(&Cause)?;
    let at = |ms: i64| {
        let found = Timestamp::from_millisecond(ms).map_err(|error| invalid(error.to_string()))?;
        Ok::<_, Failure>(Dynamic::from(instant(found)))
    };
    let (mut due, mut lateness, mut missed) = (Dynamic::UNIT, Dynamic::UNIT, 0);
    if let Trigger::Schedule { scheduled_at, missed: before, .. } = &trigger {
        let scheduled = scheduled_at / 1000;
        (due, lateness, missed) = (at(scheduled)?, (started_at - scheduled).into(), *before as i64);
    }
    let mut fields = rhai::Map::new();
    fields.insert("trigger".into(), trigger.to_string().into());
    fields.insert("started_at".into(), at(started_at)?);
    fields.insert("scheduled_at".into(), due);
    fields.insert("lateness_ms".into(), lateness);
    fields.insert("missed_count".into(), missed.into());
    Ok(fields.into())
}

/// Why a run began.
pub const BINDING: Binding = Binding {
    area: "cause",
    doc: "Why a run began, and when it was due.",
    functions: &[function!(
        run,
        &[],
        &[],
        Some(of_the_run("run.cause", Kind::Read)),
        "A map `.trigger .started_at .scheduled_at .lateness_ms .missed_count`; times are as those of `now()`.",
        "Returns who or what asked for the run and when it began. Where that was a schedule, also the instant that it was due, without \
         jitter, how late it began, and how many instants before it became no run; else `.scheduled_at` and `.lateness_ms` are `()`. \
         A run that catches up takes its business date from here, not from `now()`.",
        r"let date = (run().scheduled_at ?? now()).date;"
    )],
};
