//! The course of a run: `retry wait_until defer check fail warn skip_host lock approve param secret template_render`.

use std::time::{Duration, Instant};

use rhai::{Dynamic, EvalAltResult, FnPtr};
use serde::Serialize;
use serde_json::{Value, json};

use crate::bindings::call::told;
use crate::bindings::clock::Sleep;
use crate::bindings::declare::{of_the_run, text};
use crate::bindings::each::CleanUp;
use crate::bindings::{Binding, Call, FailureValue, Function, Raise, SecretValue, to_dynamic};
use crate::gate::permit::invalid;
use crate::gate::{Answered, Done, Doubt, Effect, Permit, Seen, Stop};
use crate::model::effect::{Kind, Target};
use crate::model::event::{Event, Failure, Level};
use crate::model::run::Mode;
use crate::model::secret::{Secret, SecretName};
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};

/// A secret; its value never becomes part of the answer that is recorded.
#[derive(Serialize)]
struct Ask {
    name: SecretName,
}

impl Effect for Ask {
    const NAME: &'static str = "secret.read";
    const KIND: Kind = Kind::Read;
    type Output = Value;

    fn target(&self) -> Target {
        Target::Named { name: self.name.to_string() }
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Value>) -> Result<Done<Value>, Failure> {
        let secret = permit.secret(&self.name).await?;
        Ok(Done::ok(serde_json::to_value(&secret).map_err(|error| invalid(error.to_string()))?))
    }
}

/// A person's yes.
#[derive(Serialize)]
struct Approve {
    question: String,
}

impl Effect for Approve {
    const NAME: &'static str = "run.approve";
    const KIND: Kind = Kind::Act;
    type Output = bool;

    fn target(&self) -> Target {
        Target::Run
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<bool>) -> Result<Done<bool>, Failure> {
        match permit.confirm(&self.question)? {
            Some(answer) => Ok(Done::ok(answer)),
            None => Err(Failure {
                kind: "not_approved".to_owned(),
                ..invalid("nobody is at a terminal to answer".to_owned())
            }),
        }
    }

    /// A question that was not answered can be asked again.
    async fn probe(&self, _permit: &Permit<'_>, _pre: &Value) -> Result<Doubt<bool>, Failure> {
        Ok(Doubt::DidNot)
    }
}

fn secret(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let name = call.secret_name(0)?;
    call.perform(&Ask { name: name.clone() })?;
    // The journal knows that the secret was read, never its value: a resumed run asks the source again.
    let secret: Secret = call.session.block(call.session.gate().secret_again(&name))?;
    Ok(Dynamic::from(SecretValue(secret)))
}

fn param(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let name = call.string(0)?;
    let params = &call.session.gate().params;
    match params.get(&name) {
        Some(value) => Ok(to_dynamic(value)?),
        None => {
            let known = params.keys().map(String::as_str);
            let near = crate::model::nearest::did_you_mean(&name, known);
            let near = near.map(|hint| format!("; {hint}")).unwrap_or_default();
            Err(invalid(format!("there is no parameter `{name}`{near}")).into())
        }
    }
}

fn approve(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let question = call.string(0)?;
    match call.session.perform(Some(call.site.clone()), &Approve { question: question.clone() }) {
        Ok(Answered::Known(true, _) | Answered::Unplanned) => Ok(Dynamic::UNIT),
        Ok(Answered::Known(false, _)) => {
            Err(Stop::NotApproved { question, answer: "refused".to_owned() }.into())
        }
        Err(crate::gate::Halt::Failure(failure)) if failure.kind == "not_approved" => {
            Err(Stop::NotApproved { question, answer: failure.message }.into())
        }
        Err(halt) => Err(halt.into()),
    }
}

fn check(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let value = call.value(0);
    let holds = value.as_bool().map_err(|_| call.wrong(0, "true or false", &value))?;
    if !holds {
        let message = call.string(1)?;
        call.session.say(Level::Fail, &message, Some(call.site.clone()))?;
    }
    Ok(holds.into())
}

fn warn(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    call.session.say(Level::Warn, &call.string(0)?, Some(call.site.clone()))?;
    Ok(Dynamic::UNIT)
}

fn fail(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let failure =
        Failure { kind: "failed".to_owned(), site: Some(call.site.clone()), ..invalid(call.string(0)?) };
    Err(failure.into())
}

fn skip_host(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    if !call.session.is_arm() {
        return Err(invalid("`skip_host` stands only in the body of `each`".to_owned()).into());
    }
    Err(Failure { kind: "skipped".to_owned(), ..invalid(call.string(0)?) }.into())
}

fn defer(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let body = call.function(0)?;
    #[expect(deprecated, reason = "marked volatile, not deprecated; the rhai version is pinned")]
    let context = call.context.store_data();
    call.session.defer(Some(call.site.clone()), std::sync::Arc::new(CleanUp { body, context }))?;
    Ok(Dynamic::UNIT)
}

/// How often and how long something is tried.
struct Patience {
    times: Option<u64>,
    limit: Option<Duration>,
    delay: Duration,
    factor: f64,
}

impl Patience {
    fn read(call: &Call<'_>, times: Option<u64>, limit: Option<Duration>) -> Result<Self, Raise> {
        let times = call.option_int("times", 1)?.map(|n| n as u64).or(times);
        let limit = call.option_duration("timeout")?.or(limit);
        let delay = call.option_duration("delay")?.unwrap_or(Duration::from_secs(1));
        let factor = match call.option("backoff") {
            None => 1.0,
            Some(value) => {
                let factor = value.as_float().or_else(|_| value.as_int().map(|n| n as f64)).unwrap_or(0.0);
                if !(1.0..=10.0).contains(&factor) {
                    return Err(invalid(format!("`backoff` is a factor from 1 to 10, got `{value}`")).into());
                }
                factor
            }
        };
        Ok(Self { times, limit, delay, factor })
    }

    /// Pauses before the next try; `false` when there is none.
    ///
    /// Time is counted as the journal has it, so that a resumed run tries as often as it did before.
    fn pause(&self, call: &Call<'_>, tries: &mut Tries) -> Result<bool, Raise> {
        let is_late = |waited: Duration| self.limit.is_some_and(|limit| waited >= limit);
        if self.times.is_some_and(|times| tries.count >= times) || is_late(tries.waited) {
            return Ok(false);
        }
        // Plan mode tries once: nothing that was only listed will have happened meanwhile.
        if call.session.gate().mode == Mode::Plan {
            return Ok(false);
        }
        let exponent = i32::try_from(tries.count.saturating_sub(1)).unwrap_or(i32::MAX).min(60);
        let mut delay = self.delay.mul_f64(self.factor.powi(exponent)).min(Duration::from_secs(300));
        if let Some(limit) = self.limit {
            delay = delay.min(limit.saturating_sub(tries.waited));
        }
        let took = call.perform(&Sleep { ms: delay.as_millis() as u64, begun: tries.begun })?;
        let took = Duration::from_millis(took);
        let is_late = is_late(tries.waited + took.saturating_sub(delay));
        tries.waited += took;
        Ok(!is_late)
    }
}

/// How often something was tried, and how long.
struct Tries {
    count: u64,
    /// Before the last try.
    waited: Duration,
    /// When the last try began.
    begun: Instant,
}

impl Tries {
    fn none() -> Self {
        Self { count: 0, waited: Duration::ZERO, begun: Instant::now() }
    }

    fn next(&mut self) {
        self.count += 1;
        self.begun = Instant::now();
    }
}

pub(super) fn body_of(call: &Call<'_>) -> Result<FnPtr, Raise> {
    call.function(call.count() - 1)
}

fn retry(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let body = body_of(call)?;
    let patience = Patience::read(call, Some(3), None)?;
    let mut tries = Tries::none();
    loop {
        tries.next();
        let error = match body.call_within_context::<Dynamic>(call.context, ()) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if !error.unwrap_inner().is_catchable() || is_skip(&error) {
            return Err(error.into());
        }
        let message = format!("try {} failed: {}", tries.count, short(&error));
        if !patience.pause(call, &mut tries)? {
            return Err(error.into());
        }
        call.session.say(Level::Warn, &message, Some(call.site.clone()))?;
    }
}

fn wait_until(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let body = body_of(call)?;
    let patience = Patience::read(call, None, Some(Duration::from_secs(600)))?;
    let mut tries = Tries::none();
    loop {
        tries.next();
        let value = body.call_within_context::<Dynamic>(call.context, ())?;
        if value.is_bool() && value.as_bool().unwrap_or(false) || !(value.is_bool() || value.is_unit()) {
            return Ok(value);
        }
        if !patience.pause(call, &mut tries)? {
            let kind = "timed_out".to_owned();
            let message = format!("the condition did not become true in {} tries", tries.count);
            return Err(Failure { kind, site: Some(call.site.clone()), ..invalid(message) }.into());
        }
    }
}

pub(super) fn is_skip(error: &EvalAltResult) -> bool {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) => {
            value.read_lock::<FailureValue>().is_some_and(|failure| failure.0.kind == "skipped")
        }
        _ => false,
    }
}

pub(super) fn short(error: &EvalAltResult) -> String {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) => match value.read_lock::<FailureValue>() {
            Some(failure) => failure.0.message.clone(),
            None => value.to_string(),
        },
        other => told(other),
    }
}

fn lock(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let body = body_of(call)?;
    let limit = call.option_duration("wait")?.unwrap_or(Duration::from_secs(3600));
    let gate = call.session.gate().clone();
    // The name becomes that of a file.
    let name = gate.redactor.text(&call.string(0)?).into_owned();
    if gate.mode == Mode::Plan || gate.replay {
        return Ok(body.call_within_context::<Dynamic>(call.context, ())?);
    }
    let begun = Instant::now();
    let held = call.session.block(gate.take_lock(&name, limit))?;
    let event = |held, waited_ms| Event::Lock { name: name.clone(), held, waited_ms };
    gate.recorder.append_blocking(event(true, begun.elapsed().as_millis() as u64))?;
    let result = body.call_within_context::<Dynamic>(call.context, ());
    drop(held);
    gate.recorder.append_blocking(event(false, 0))?;
    Ok(result?)
}

fn template_render(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let source = call.string(0)?;
    let vars = if call.count() > 1 { call.json(1)? } else { json!({}) };
    let text = crate::template::render("template", &source, &vars)
        .map_err(|error| Failure { kind: "template".to_owned(), ..invalid(crate::gate::sentence(&error)) })?;
    Ok(text.into())
}

const BODY: Param = Param { name: "body", ty: Type::Function(0), optional: false };

const TRY: &[Opt] = &[
    Opt { name: "times", ty: Type::Int, doc: "How many tries at most." },
    Opt { name: "delay", ty: Type::Duration, doc: "The pause between two tries; 1 s by default." },
    Opt {
        name: "backoff",
        ty: Type::Number,
        doc: "By how much the pause grows each time; 1 by default, 5 min at most.",
    },
    Opt { name: "timeout", ty: Type::Duration, doc: "No further try after this long." },
];

/// The course of a run.
pub const BINDING: Binding = Binding {
    area: "control",
    doc: "The course of a run: trying again, cleaning up, checking, asking.",
    functions: &[
        function!(
            retry,
            &[BODY],
            TRY,
            None,
            "What the body returns.",
            "Calls a function again while it fails, 3 times by default; each failed try is a warning in the log.",
            r#"let out = retry(#{ times: 3, delay: "1s" }, || ssh_read("localhost", ["true"]).out);"#
        ),
        function!(
            wait_until,
            &[BODY],
            TRY,
            None,
            "The first value of the body that is neither `false` nor nothing.",
            "Calls a function until it returns `true` (or a value); 10 min by default, then it fails as `timed_out`.",
            r#"wait_until(#{ timeout: "30s" }, || ssh_read("localhost", ["test", "-d", "/"], #{ ok: "any" }).ok);"#
        ),
        function!(
            defer,
            &[BODY],
            &[],
            None,
            "Nothing.",
            "Registers a clean-up that runs at the end of the run (or of this host's arm of `each`), last one first: \
             on success, failure, cancel and time-out, and after a crash when the run is resumed.",
            r#"ssh_exec("localhost", ["mkdir", "-p", "/tmp/nlrun-work"]);
defer(|| ssh_exec("localhost", ["rmdir", "/tmp/nlrun-work"]));"#
        ),
        function!(
            check,
            &[Param { name: "condition", ty: Type::Bool, optional: false }, text("message")],
            &[],
            None,
            "The condition.",
            "Collects a failed expectation: the run goes on, and fails at its end.",
            r#"check(ssh_read("localhost", ["id", "-u"]).ok, "somebody is logged in");"#
        ),
        function!(
            warn,
            &[text("message")],
            &[],
            None,
            "Nothing.",
            "Writes a warning into the log; it does not change how the run ends.",
            r#"warn("the disk is nearly full");"#
        ),
        function!(
            fail,
            &[text("message")],
            &[],
            None,
            "Nothing: it does not return.",
            "Ends the run, or this host's arm of `each`, as failed; `catch` gets it.",
            r#"if ssh_read("localhost", ["id", "-u"]).out == "" { fail("nobody is logged in") }"#
        ),
        function!(
            skip_host,
            &[text("reason")],
            &[],
            None,
            "Nothing: it does not return.",
            "Ends this host's arm of `each` as skipped.",
            r#"each(hosts("localhost"), |h| { if h.name != "web" { skip_host("not a web server") } });"#
        ),
        function!(
            lock,
            &[text("name"), BODY],
            &[Opt {
                name: "wait",
                ty: Type::Duration,
                doc: "How long to wait for the lock; 1 h by default."
            }],
            None,
            "What the body returns.",
            "Calls a function while no other run on this machine holds the lock of this name.",
            r#"lock("switch-1", #{ wait: "5m" }, || ssh_read("localhost", ["true"]));"#
        ),
        function!(
            approve,
            &[text("question")],
            &[],
            Some(of_the_run("run.approve", Kind::Act)),
            "Nothing; a no ends the run.",
            "Asks the person at the terminal and goes on only with a yes.",
            r#"approve("Restart all web servers?");"#
        ),
        function!(
            param,
            &[text("name")],
            &[],
            None,
            "The value.",
            "Returns a parameter of the run by name, also in an imported module; `params.name` is the same in a runbook.",
            r#"let have = "reboot" in params;"#
        ),
        function!(
            secret,
            &[Param { name: "name", ty: Type::SecretName, optional: false }],
            &[],
            Some(Performs { effect: "secret.read", kind: Kind::Read, touches: Touches::Text(0) }),
            "A secret: it has no text form and can be handed on as `stdin`, `content` or `sudo_password`.",
            "Reads a secret; from here on its value is replaced by its name in everything that is recorded.",
            r#"let password = secret("db/root");"#
        ),
        function!(
            template_render,
            &[text("template"), Param { name: "vars", ty: Type::Map, optional: true }],
            &[],
            None,
            "Text.",
            "Renders a Jinja2 template; an undefined variable is a failure.",
            r#"print(template_render("hello {{ name }}", #{ name: "world" }));"#
        ),
    ],
};
