//! Time and chance, journaled: `now random sleep`.

use crate::bindings::declare::of_the_run;
use crate::bindings::{Binding, Call, Function, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::run::Mode;
use crate::model::signature::{Param, Signature, Type};
use rhai::Dynamic;
use serde::Serialize;
use std::time::{Duration, Instant};

/// The time.
#[derive(Serialize)]
struct Now;

impl Effect for Now {
    const NAME: &'static str = "clock.now";
    const KIND: Kind = Kind::Read;
    type Output = i64;

    fn target(&self) -> Target {
        Target::Run
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<i64>) -> Result<Done<i64>, Failure> {
        Ok(Done::ok(permit.now().as_millisecond()))
    }
}

/// A random number.
#[derive(Serialize)]
struct Random {
    below: i64,
}

impl Effect for Random {
    const NAME: &'static str = "random.number";
    const KIND: Kind = Kind::Read;
    type Output = i64;

    fn target(&self) -> Target {
        Target::Run
    }

    async fn perform(&self, _permit: &Permit<'_>, _seen: &Seen<i64>) -> Result<Done<i64>, Failure> {
        use ring::rand::SecureRandom as _;
        let mut bytes = [0u8; 16];
        ring::rand::SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| invalid("the system gives no random numbers".to_owned()))?;
        // 128 bits against a 63-bit range: the bias is below one in 2^64.
        let number = u128::from_le_bytes(bytes) % u128::from(self.below.unsigned_abs());
        Ok(Done::ok(number as i64))
    }
}

/// A pause.
#[derive(Serialize)]
pub(super) struct Sleep {
    pub(super) ms: u64,
    /// When that began which the answer measures: the pause alone, or the try before it, too.
    #[serde(skip)]
    pub(super) begun: Instant,
}

impl Effect for Sleep {
    const NAME: &'static str = "clock.sleep";
    const KIND: Kind = Kind::Read;
    /// Milliseconds.
    type Output = u64;

    fn target(&self) -> Target {
        Target::Run
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<u64>) -> Result<Done<u64>, Failure> {
        if permit.mode() == Mode::Apply {
            permit.sleep(Duration::from_millis(self.ms)).await?;
        }
        Ok(Done::ok(self.begun.elapsed().as_millis() as u64))
    }
}

fn now(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let ms = call.perform(&Now)?;
    let now = jiff::Timestamp::from_millisecond(ms).map_err(|error| invalid(error.to_string()))?;
    Ok(instant(now).into())
}

/// Writes an instant as scripts have it: `.ms .seconds .text .date`, in UTC.
pub(super) fn instant(at: jiff::Timestamp) -> rhai::Map {
    let mut fields = rhai::Map::new();
    fields.insert("ms".into(), at.as_millisecond().into());
    fields.insert("seconds".into(), at.as_second().into());
    fields.insert("text".into(), at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
    fields.insert("date".into(), at.strftime("%Y-%m-%d").to_string().into());
    fields
}

fn random(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let below = call.int(0)?;
    if below < 1 {
        return Err(invalid(format!("`random` wants a bound of at least 1, got `{below}`")).into());
    }
    Ok(call.perform(&Random { below })?.into())
}

fn sleep(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let duration = call.duration(0)?;
    call.perform(&Sleep { ms: duration.as_millis() as u64, begun: Instant::now() })?;
    Ok(Dynamic::UNIT)
}

/// Time and chance.
pub const BINDING: Binding = Binding {
    area: "clock",
    doc: "Time and chance; a resumed run sees what it saw before.",
    functions: &[
        function!(
            now,
            &[],
            &[],
            Some(of_the_run("clock.now", Kind::Read)),
            "A map `.ms .seconds .text .date`, in UTC.",
            "Returns the time; a resumed run sees the time that it saw before.",
            r"print(now().date);"
        ),
        function!(
            random,
            &[Param { name: "below", ty: Type::Int, optional: false }],
            &[],
            Some(of_the_run("random.number", Kind::Read)),
            "A whole number from 0 up to, but not including, the bound.",
            "Returns a random number; a resumed run sees the number that it saw before.",
            r"let minute = random(60);"
        ),
        function!(
            sleep,
            &[Param { name: "duration", ty: Type::Duration, optional: false }],
            &[],
            Some(of_the_run("clock.sleep", Kind::Read)),
            "Nothing.",
            "Waits; cancel ends it. Prefer `wait_until`, `wait_port` or `wait_ssh`.",
            r#"sleep("10ms");"#
        ),
    ],
};
