//! Runs one runbook at the gate, from its first line to its last clean-up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rhai::{AST, Dynamic, Engine, EvalAltResult, EvalContext, Position, Scope};
use serde_json::Value;

use crate::bindings::{self, Current, FailureValue};
use crate::gate::{Gate, Session, Stop};
use crate::model::diagnostic::Diagnostic;
use crate::model::event::{Event, InDoubt, Level, Site, Verdict};
use crate::model::run::{Mode, Status};
use crate::model::runbook::Limits;
use crate::runner::guard::{Ended, Guard};
use crate::runner::language::{self, STACK_SIZE, Steps};
use crate::runner::modules::Modules;
use crate::runner::sources::{Pinned, Sources};
use crate::runner::{failure, resident};

/// How long clean-ups may take once a run was cancelled or timed out.
const CLEAN_UP: Duration = Duration::from_secs(600);

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Ending {
    /// How.
    pub status: Status,
    /// What went wrong, at the runbook's line.
    pub error: Option<Box<Diagnostic>>,
    /// What could not be undone.
    pub left_behind: Vec<String>,
    /// Every act that a person has to decide about before the run can go on.
    pub in_doubt: Vec<InDoubt>,
    /// The line from which a plan could not go on.
    pub incomplete: Option<String>,
    /// What the script returned.
    pub result: Value,
}

impl Ending {
    /// Returns the ending of a run that did nothing.
    pub fn nothing() -> Self {
        Self {
            status: Status::Failed,
            error: None,
            left_behind: Vec::new(),
            in_doubt: Vec::new(),
            incomplete: None,
            result: Value::Null,
        }
    }
}

/// Runs the pinned scripts of a run; returns when the last clean-up has ended.
///
/// The script gets a thread of its own: it blocks, and it needs a deep stack. The caller's thread drives the world.
pub async fn execute(gate: Arc<Gate>, sources: Arc<Pinned>, entry: String, limits: Limits) -> Ending {
    let guard = Guard::new(Some(limits.timeout), limits.operations, limits.memory, Box::new(resident::bytes));
    let watch = tokio::spawn(watch(gate.clone(), guard.clone(), limits.timeout));
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("script".to_owned()).stack_size(STACK_SIZE);
    let thread = thread.spawn(move || {
        let script = Script { gate: &gate, sources: &sources, entry: &entry, limits: &limits, guard };
        let _ = sender.send(script.run());
    });
    let ending = match thread {
        Ok(_) => receiver.await.unwrap_or_else(|_| {
            broken("nlrun itself broke while it ran the script; this is a bug".to_owned())
        }),
        Err(error) => broken(format!("no thread for the script: {error}")),
    };
    watch.abort();
    ending
}

fn broken(message: String) -> Ending {
    Ending { error: Some(Box::new(Diagnostic::error("internal", message))), ..Ending::nothing() }
}

/// Ends the run at its time limit, and its clean-ups some time after.
async fn watch(gate: Arc<Gate>, guard: Arc<Guard>, timeout: Duration) {
    tokio::select! {
        () = tokio::time::sleep(timeout) => {
            let limit = crate::model::duration::text(timeout);
            gate.cancellation.cancel(Stop::TimedOut { limit });
        }
        () = gate.cancellation.cancelled() => {}
    }
    guard.cancel();
    tokio::select! {
        () = tokio::time::sleep(CLEAN_UP) => {
            gate.cancellation.cancel_now(Stop::TimedOut { limit: crate::model::duration::text(CLEAN_UP) });
        }
        () = gate.cancellation.cancelled_now() => {}
    }
    guard.cancel_now();
}

struct Script<'a> {
    gate: &'a Arc<Gate>,
    sources: &'a Arc<Pinned>,
    entry: &'a str,
    limits: &'a Limits,
    guard: Arc<Guard>,
}

impl Script<'_> {
    fn run(&self) -> Ending {
        let session = Session::root(self.gate.clone());
        let _current = Current::set(&session);
        let mut engine = language::engine(self.guard.clone(), Arc::new(Noted::default()));
        let guard = self.guard.clone();
        engine.on_progress(move |operation| match bindings::take_untold() {
            Some(stopped) => Some(Dynamic::from(stopped)),
            None => guard.tick(operation).map(Dynamic::from),
        });
        engine.register_global_module(bindings::module());
        engine.set_module_resolver(Modules::new(self.sources.clone(), self.entry));
        engine.set_max_call_levels(self.limits.depth);
        engine.set_default_tag(Dynamic::from(session.clone()));
        engine.on_print(|text| {
            // An error within the text ends the script at its next operation.
            if let Some(session) = Current::session().filter(|_| !bindings::is_untold()) {
                // A log that cannot be written stops the run at its next effect.
                let _ = session.say(Level::Info, text, None);
            }
        });
        let outcome = bindings::or_untold(self.evaluate(&engine));
        let mut ending = match &outcome {
            Ok(value) => self.returned(value),
            Err(error) => self.raised(error),
        };
        self.clean_up(&session, &engine, outcome.as_ref().err().map(AsRef::as_ref), &mut ending);
        self.judge(&mut ending);
        ending
    }

    fn evaluate(&self, engine: &Engine) -> Result<Dynamic, Box<EvalAltResult>> {
        let text = self.sources.text(self.entry).map_err(|error| error.to_string())?;
        let mut scope = Scope::new();
        let params = bindings::to_dynamic(&Value::Object(self.gate.params.clone()))?;
        scope.push_constant_dynamic("params", params);
        let ast: AST = language::compile(engine, self.entry, &text, &scope)?;
        engine.eval_ast_with_scope::<Dynamic>(&mut scope, &ast)
    }

    fn returned(&self, value: &Dynamic) -> Ending {
        // What cannot be kept as JSON (a function, an outcome that is not known) is no result.
        let mut result = bindings::json(value).unwrap_or(Value::Null);
        self.gate.redactor.json(&mut result);
        Ending { status: Status::Done, error: None, result, ..broken(String::new()) }
    }

    fn raised(&self, error: &EvalAltResult) -> Ending {
        let mut ending = broken(String::new());
        let stopped = bindings::Stopped::of(error).or_else(|| match error.unwrap_inner() {
            EvalAltResult::ErrorTerminated(value, _) => {
                let ended = value.read_lock::<Ended>().map(|ended| *ended)?;
                Some(bindings::Stopped { stop: self.limit(ended), site: None })
            }
            _ => None,
        });
        let functions: Vec<&str> = bindings::signatures().iter().map(|signature| signature.name).collect();
        let mut found = failure::explain(error, self.entry, self.sources.as_ref(), &functions);
        if let Some(bindings::Stopped { stop, site }) = stopped {
            if let Some(site) = site.filter(|site| site.line > 0) {
                found = failure::stands_at(found, &site, self.sources.as_ref());
            }
            ending.status = stop.status();
            if let Stop::PlanEnds { site, .. } = &stop {
                ending.incomplete = Some(site.to_string());
            }
            found.code = "stopped".into();
            found.message = stop.to_string();
            found.hint = match &stop {
                Stop::Unrecorded(_) if self.gate.mode == Mode::Plan => {
                    Some("make room, then make a new plan".to_owned())
                }
                _ => stop.hint(),
            };
            if let Stop::InDoubt { .. } = &stop {
                found = self.in_doubt(found, &mut ending);
            }
            if matches!(stop, Stop::PlanEnds { .. } | Stop::ReplayEnds(_)) && self.gate.mode == Mode::Plan {
                ending.error = None;
                return ending;
            }
        } else if let EvalAltResult::ErrorRuntime(value, _) = error.unwrap_inner()
            && let Some(failure) = value.read_lock::<FailureValue>()
        {
            let failure = &failure.0;
            found.message = match &failure.host {
                Some(host) => format!("{host}: {}", failure.message),
                None => failure.message.clone(),
            };
            found.hint = None;
        }
        let redacted = |text: &str| self.gate.redactor.text(text).into_owned();
        // Only there: a host or a path may hold the same letters.
        let resume = format!("nlrun resume {}", self.gate.recorder.run());
        found.hint = found.hint.as_deref().map(|hint| redacted(&hint.replace("nlrun resume RUN", &resume)));
        found.message = redacted(&found.message);
        found.source_line = found.source_line.as_deref().map(redacted);
        ending.error = Some(Box::new(found));
        ending
    }

    /// Lists every act that waits for a person, and says it of all of them where there are several.
    fn in_doubt(&self, mut found: Diagnostic, ending: &mut Ending) -> Diagnostic {
        ending.in_doubt = self.gate.doubts.all();
        if let Some(site) = ending.in_doubt.first().and_then(|act| act.site.as_ref()) {
            found = failure::stands_at(found, site, self.sources.as_ref());
        }
        if let many @ 2.. = ending.in_doubt.len() {
            found.message =
                format!("{many} acts were begun before the run was interrupted; they may have happened");
            found.hint = Some(
                "look at each target, then `nlrun resume RUN` with `--done ADDRESS` for each that happened and \
                 `--again ADDRESS` for each that did not"
                    .to_owned(),
            );
        }
        found
    }

    fn limit(&self, ended: Ended) -> Stop {
        match ended {
            Ended::Cancelled => self
                .gate
                .cancellation
                .reason()
                .unwrap_or_else(|| Stop::Cancelled { by: "somebody".to_owned() }),
            Ended::TimedOut { after } => Stop::TimedOut { limit: crate::model::duration::text(after) },
            Ended::Operations { .. } | Ended::Memory { .. } => Stop::Limit(ended.to_string()),
        }
    }

    /// Runs the clean-ups of the run, unless it is suspended; lists what stays behind.
    fn clean_up(
        &self,
        session: &Session,
        engine: &Engine,
        ended: Option<&EvalAltResult>,
        ending: &mut Ending,
    ) {
        if let Err(error) = bindings::run_clean_ups(session, engine, ended) {
            // What suspends the run within a clean-up counts for more than how the script itself ended.
            *ending = self.raised(&error);
        }
        ending.left_behind.append(&mut self.gate.left_behind.lock());
    }

    /// A run that came to its end is done only if nothing in it went wrong.
    fn judge(&self, ending: &mut Ending) {
        if let Some(stop) = self.gate.cancellation.reason()
            && !matches!(ending.status, Status::InDoubt | Status::Interrupted)
        {
            ending.status = stop.status();
        }
        if ending.status != Status::Done {
            return;
        }
        if let (None, Some(stop)) = (&ending.error, self.unasked()) {
            ending.status = stop.status();
            let error = Diagnostic::error("stopped", stop.to_string()).maybe_hint(stop.hint());
            ending.error = Some(Box::new(error));
            return;
        }
        let checks = self.gate.checks.lock();
        if !checks.is_empty() {
            ending.status = Status::Failed;
            let message = match checks.as_slice() {
                [only] => format!("a check failed: {only}"),
                many => format!("{} checks failed; the first: {}", many.len(), many[0]),
            };
            ending.error = Some(Box::new(Diagnostic::error("check", message)));
        } else if !ending.left_behind.is_empty() {
            ending.status = Status::Failed;
        } else if self.gate.partial.load(Ordering::Relaxed) {
            ending.status = Status::Partial;
        }
    }
}

impl Script<'_> {
    /// Returns the divergence of a script that came to its end without asking for all that is recorded.
    fn unasked(&self) -> Option<Stop> {
        let (address, kind, effect) = self.gate.journal.left().into_iter().min()?;
        Some(Stop::Diverged {
            address,
            expected: format!("the journal has {kind} `{effect}`"),
            found: "nothing there".to_owned(),
            hint: "does the script depend on something that is not journaled?".to_owned(),
        })
    }
}

/// Writes the edges of steps into the log.
#[derive(Default)]
struct Noted {
    begun: Mutex<Vec<(std::thread::ThreadId, Instant)>>,
}

impl Noted {
    fn note(
        context: &EvalContext,
        at: Position,
        event: impl FnOnce(&Session) -> Event,
    ) -> Result<(), Box<EvalAltResult>> {
        let Some(session) = context.tag().read_lock::<Session>().map(|session| session.clone()) else {
            return Ok(());
        };
        session.note(event(&session)).map_err(|stop| bindings::Raise::from(stop).into_script(at))
    }
}

impl Steps for Noted {
    fn begin(&self, context: &mut EvalContext, name: &str, at: Position) -> Result<(), Box<EvalAltResult>> {
        self.begun.lock().push((std::thread::current().id(), Instant::now()));
        let site = Site {
            file: context.source().unwrap_or_default().into(),
            line: at.line().unwrap_or(0) as u32,
            column: at.position().unwrap_or(0) as u32,
        };
        Self::note(context, at, |session| Event::StepBegan {
            branch: session.branch().clone(),
            name: session.gate().redactor.text(name).into_owned(),
            site: Some(site),
        })
    }

    fn end(
        &self,
        context: &mut EvalContext,
        name: &str,
        at: Position,
        outcome: &Result<Dynamic, Box<EvalAltResult>>,
    ) -> Result<(), Box<EvalAltResult>> {
        let ms = {
            let mut begun = self.begun.lock();
            let thread = std::thread::current().id();
            let last = begun.iter().rposition(|(id, _)| *id == thread);
            last.map_or(0, |index| begun.remove(index).1.elapsed().as_millis() as u64)
        };
        let verdict = match outcome {
            Ok(_) => Verdict::Ok,
            // `return`, `break` and `continue` travel as errors and are none.
            Err(error) if error.is_pseudo_error() => Verdict::Ok,
            // A stopped run says so once, at its end; an interrupted one goes on within the step.
            Err(error) if matches!(error.unwrap_inner(), EvalAltResult::ErrorTerminated(..)) => return Ok(()),
            Err(_) => Verdict::Failed,
        };
        Self::note(context, at, |session| Event::StepEnded {
            branch: session.branch().clone(),
            name: session.gate().redactor.text(name).into_owned(),
            verdict,
            ms,
        })
    }
}
