//! Fan-out: `each`, and functions that take an array of hosts. One result a host or item, whatever happens to it.

#![expect(deprecated, reason = "rhai marks its internals as volatile that way; its version is pinned")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use rhai::{Dynamic, EvalAltResult, FnPtr, NativeCallContext, NativeCallContextStore};
use serde_json::Value;

use crate::bindings::call::{Current, HostsArgument, Stopped, or_untold, told};
use crate::bindings::items::{self, Item};
use crate::bindings::{Binding, Call, FailureValue, Function, HostResult, Outcome, Raise, json};
use crate::gate::is_unreachable;
use crate::gate::permit::invalid;
use crate::gate::{Answered, Deferred, Effect, Halt, Session, Stop, cancellation};
use crate::model::event::{Event, Failure, Verdict};
use crate::model::inventory::Host;
use crate::model::signature::{Opt, Param, Signature, Type};

/// How many arms run at once unless the script says otherwise.
const PARALLEL: usize = 50;
/// The most arms at once: each one of `each` is a thread.
const MOST: i64 = 1000;
/// The stack of an arm, reserved and not used unless scripts nest deeply; see `runner::language::STACK_SIZE`.
const STACK: usize = 16 << 20;

/// The option `parallel` of every function that takes an array of hosts.
pub(super) const PARALLEL_OPTION: Opt = Opt {
    name: "parallel",
    ty: Type::Int,
    doc: "With an array of hosts: how many at a time; 50 by default.",
};

/// Performs one effect on the host in argument 0, or one on each of an array of hosts.
///
/// `show` turns an answer into what the script gets, and is told whether something was changed.
pub(super) fn each_host<E: Effect>(
    call: &Call<'_>,
    make: impl Fn(&Call<'_>, &Arc<Host>) -> Result<E, Raise>,
    show: impl Fn(&E, E::Output, bool) -> Result<Dynamic, Raise>,
) -> Result<Dynamic, Raise> {
    match call.hosts(0)? {
        HostsArgument::One(host) => {
            let effect = make(call, &host)?;
            let answered = call.session.perform(Some(call.site.clone()), &effect)?;
            shown(call, &effect, answered, &show)
        }
        HostsArgument::Many(hosts) => {
            items::demand_names(call, hosts.iter().map(|host| host.name.as_str()))?;
            let effects = hosts.iter().map(|host| make(call, host)).collect::<Result<Vec<_>, _>>()?;
            fan_out(call, &hosts, &effects, show)
        }
    }
}

fn shown<E: Effect>(
    call: &Call<'_>,
    effect: &E,
    answered: Answered<E::Output>,
    show: impl Fn(&E, E::Output, bool) -> Result<Dynamic, Raise>,
) -> Result<Dynamic, Raise> {
    match answered {
        Answered::Known(output, verdict) => show(effect, output, verdict == Verdict::Changed),
        Answered::Unplanned => Ok(Outcome::unplanned(E::NAME, call.site.clone()).into()),
    }
}

/// Performs one effect on each host, all on this thread of script.
fn fan_out<E: Effect>(
    call: &Call<'_>,
    hosts: &[Arc<Host>],
    effects: &[E],
    show: impl Fn(&E, E::Output, bool) -> Result<Dynamic, Raise>,
) -> Result<Dynamic, Raise> {
    let parallel = call.option_int("parallel", 1)?.map_or(PARALLEL, |n| n.min(MOST) as usize);
    let number = call.session.number();
    let arms = hosts.iter().zip(effects).map(|(host, effect)| {
        let session = call.session.arm(number, &host.name);
        async move {
            if let Some(stop) = session.waits() {
                return Err(stop);
            }
            session.note_async(began(&session, &host.name)).await?;
            let answered = session.perform_async(Some(call.site.clone()), effect).await;
            let (verdict, failure, outcome) = match answered {
                Ok(answered) => (verdict_of(&session), None, Some(answered)),
                Err(Halt::Failure(failure)) => (verdict_for(&failure), Some(Arc::new(*failure)), None),
                Err(Halt::Stop(stop)) => return Err(*stop),
            };
            session.note_async(ended(&session, &host.name, verdict, failure.as_deref())).await?;
            Ok((verdict, failure, outcome))
        }
    });
    let ends: Vec<Result<_, Stop>> =
        call.session.block(futures_util::stream::iter(arms).buffered(parallel).collect::<Vec<_>>());
    // What suspends the run counts for more: it can go on.
    if let Some(stop) = ends.iter().filter_map(|end| end.as_ref().err()).find(|stop| stop.suspends()) {
        return Err(stop.clone().into());
    }
    let mut results = rhai::Array::with_capacity(hosts.len());
    for ((host, effect), end) in hosts.iter().zip(effects).zip(ends) {
        let (verdict, failure, outcome) = end?;
        if matches!(verdict, Verdict::Failed | Verdict::Unreachable) {
            call.session.gate().partial.store(true, Ordering::Relaxed);
        }
        let unplanned = matches!(outcome, Some(Answered::Unplanned)).then(|| call.site.clone());
        let value = match outcome {
            Some(answered) => shown(call, effect, answered, &show)?,
            None => Dynamic::UNIT,
        };
        results.push(Dynamic::from(HostResult {
            host: host.name.clone(),
            verdict,
            value,
            failure,
            unplanned,
        }));
    }
    Ok(results.into())
}

fn each(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let items = items::read(call)?;
    let body = call.function(call.count() - 1)?;
    let order = Order::read(call, items.len())?;
    let number = call.session.number();
    let fan = Fan {
        call,
        site: call.site.clone(),
        number,
        // A closure shares what it captures; each arm gets a copy, so that no arm can see another's writes.
        captures: body.curry().iter().map(Dynamic::flatten_clone).collect(),
        body,
        items: &items,
        results: items.iter().map(|_| Mutex::new(None)).collect(),
        failures: AtomicUsize::new(0),
        order: &order,
        halted: AtomicBool::new(false),
        stop: Mutex::new(None),
    };
    let mut from = 0;
    for size in order.batches(items.len()) {
        fan.batch(&items::queues(&items, from..from + size));
        from += size;
    }
    if let Some(error) = fan.stop.lock().take() {
        return Err(error.into());
    }
    let results: Vec<Option<HostResult>> = fan.results.iter().map(|slot| slot.lock().take()).collect();
    let mut array = rhai::Array::with_capacity(items.len());
    for (item, result) in items.iter().zip(results) {
        array.push(Dynamic::from(match result {
            Some(result) => result,
            None => skipped(call, number, &item.name)?,
        }));
    }
    Ok(array.into())
}

/// Notes a host or item whose turn never came, because too many before it failed.
fn skipped(call: &Call<'_>, number: u32, name: &str) -> Result<HostResult, Raise> {
    let session = call.session.arm(number, name);
    let failure = Failure {
        kind: "skipped".to_owned(),
        host: Some(name.to_owned()),
        ..invalid("left out because too many hosts before it failed".to_owned())
    };
    // It ends without having begun: that is how a resumed run knows it.
    session.note(ended(&session, name, Verdict::Skipped, Some(&failure)))?;
    call.session.gate().partial.store(true, Ordering::Relaxed);
    let failure = Some(Arc::new(failure));
    Ok(HostResult {
        host: name.to_owned(),
        verdict: Verdict::Skipped,
        value: Dynamic::UNIT,
        failure,
        unplanned: None,
    })
}

/// In what order and how many at a time.
struct Order {
    parallel: usize,
    /// Sizes of batches; the last one repeats.
    serial: Vec<usize>,
    canary: usize,
    max_failures: Option<usize>,
}

impl Order {
    fn read(call: &Call<'_>, hosts: usize) -> Result<Self, Raise> {
        let parallel = call.option_int("parallel", 1)?.map_or(PARALLEL, |n| n.min(MOST) as usize);
        let canary = call.option("canary").map_or(Ok(0), |value| count(call, "canary", &value, hosts))?;
        let serial = match call.option("serial") {
            None => Vec::new(),
            Some(value) => match value.clone().try_cast::<rhai::Array>() {
                Some(sizes) => {
                    sizes.iter().map(|size| count(call, "serial", size, hosts)).collect::<Result<_, _>>()?
                }
                None => vec![count(call, "serial", &value, hosts)?],
            },
        };
        let max_failures = match call.option("max_failures") {
            None => None,
            Some(value) if value.as_int().is_ok_and(|n| n == 0) => Some(0),
            Some(value) => Some(count(call, "max_failures", &value, hosts)?),
        };
        Ok(Self { parallel, serial, canary, max_failures })
    }

    fn batches(&self, hosts: usize) -> Vec<usize> {
        let mut left = hosts;
        let mut sizes = Vec::new();
        if self.canary > 0 && self.canary < hosts {
            sizes.push(self.canary);
            left -= self.canary;
        }
        let mut serial = self.serial.iter().copied().chain(self.serial.last().copied().into_iter().cycle());
        while left > 0 {
            let size = serial.next().unwrap_or(left).clamp(1, left);
            sizes.push(size);
            left -= size;
        }
        sizes
    }
}

/// Reads a number of hosts: `3`, or `"25%"` of them, rounded up.
fn count(call: &Call<'_>, key: &str, value: &Dynamic, hosts: usize) -> Result<usize, Raise> {
    let number = value.as_int().ok().filter(|n| *n >= 1).map(|n| n as usize);
    let share = || {
        let text = value.clone().into_string().ok()?;
        let percent: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
        (0.0..=100.0).contains(&percent).then(|| (hosts as f64 * percent / 100.0).ceil().max(1.0) as usize)
    };
    number.or_else(share).ok_or_else(|| {
        let message = format!(
            "`{}` wants a number of hosts or a share such as \"25%\" as `{key}`, got `{value}`",
            call.name()
        );
        invalid(message).into()
    })
}

/// One fan-out of `each` while it runs.
struct Fan<'a> {
    call: &'a Call<'a>,
    site: crate::model::event::Site,
    number: u32,
    body: FnPtr,
    captures: Vec<Dynamic>,
    items: &'a [Item],
    results: Vec<Mutex<Option<HostResult>>>,
    failures: AtomicUsize,
    order: &'a Order,
    halted: AtomicBool,
    stop: Mutex<Option<Box<EvalAltResult>>>,
}

/// Threads that run arms now, in all fan-outs of the process.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// One of the threads that fan-outs may have: `each` within `each` must not multiply them without bound.
struct Slot;

impl Slot {
    fn take() -> Option<Self> {
        let most = MOST as usize;
        let more = |threads: usize| (threads < most).then_some(threads + 1);
        THREADS.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok().then_some(Self)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Fan<'_> {
    /// Whether this arm's turn comes.
    ///
    /// What the run did before it was interrupted decides first: how fast the others fail is a matter of timing.
    fn begins(&self, session: &Session) -> bool {
        let journal = &session.gate().journal;
        let failures = self.failures.load(Ordering::Relaxed);
        if journal.has_begun(session.branch()) {
            // One that was begun may be in doubt, too, and a person wants to know all at once.
            return !self.halted.load(Ordering::Relaxed) || session.gate().doubts.stop().is_some();
        }
        !self.halted.load(Ordering::Relaxed)
            && !journal.has_left_out(session.branch())
            && self.order.max_failures.is_none_or(|most| failures <= most)
    }

    /// Works off these queues, each by one thread.
    fn batch(&self, queues: &[Vec<usize>]) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(queue) = queues.get(next.fetch_add(1, Ordering::Relaxed)) {
                for place in queue {
                    self.arm(*place);
                }
            }
        };
        let is_cleaning = cancellation::Cleaning::is_on();
        std::thread::scope(|scope| {
            // This thread works, too: without it a fan-out within a fan-out could wait for threads that never come.
            for _ in 1..self.order.parallel.min(queues.len()) {
                let Some(slot) = Slot::take() else { break };
                let work = &work;
                let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || {
                    let _slot = slot;
                    let _cleaning = is_cleaning.then(cancellation::Cleaning::begin);
                    work();
                });
                if thread.is_err() {
                    break;
                }
            }
            work();
        });
    }

    /// Runs the body for one host or item and notes how it ended.
    fn arm(&self, index: usize) {
        let item = &self.items[index];
        let session = self.call.session.arm(self.number, &item.name);
        if !self.begins(&session) {
            return;
        }
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run(&session, item)));
        let end = run.unwrap_or_else(|_| {
            Err(Raise::from(invalid("a function of nlrun broke; this is a bug".to_owned()))
                .into_script(self.call.context.call_position()))
        });
        let (verdict, value, failure) = match end {
            Ok(value) => (verdict_of(&session), value, None),
            Err(error) => match failure_of(&error, self.call) {
                Ok(failure) => (verdict_for(&failure), Dynamic::UNIT, Some(failure)),
                Err(()) => return self.halt(error),
            },
        };
        if let Err(stop) = session.note(ended(&session, &item.name, verdict, failure.as_ref())) {
            return self.halt(Raise::from(stop).into_script(self.call.context.call_position()));
        }
        if matches!(verdict, Verdict::Failed | Verdict::Unreachable) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            self.call.session.gate().partial.store(true, Ordering::Relaxed);
        }
        let unplanned = session.is_unplanned().then(|| self.site.clone());
        let failure = failure.map(Arc::new);
        let result = HostResult { host: item.name.clone(), verdict, value, failure, unplanned };
        *self.results[index].lock() = Some(result);
    }

    /// Ends the fan-out with this error; what suspends the run counts for more, because it can go on.
    fn halt(&self, error: Box<EvalAltResult>) {
        self.halted.store(true, Ordering::Relaxed);
        let mut stop = self.stop.lock();
        if stop.is_none() || suspends(&error) {
            *stop = Some(error);
        }
    }

    fn run(&self, session: &Session, item: &Item) -> Result<Dynamic, Box<EvalAltResult>> {
        let at = self.call.context.call_position();
        session.note(began(session, &item.name)).map_err(|stop| Raise::from(stop).into_script(at))?;
        let mut body = self.body.clone();
        body.set_curry(self.captures.iter().cloned());
        let _current = Current::set(session);
        let result = within(self.call.context, session, |context| {
            or_untold(body.call_within_context::<Dynamic>(context, (item.value.flatten_clone(),)))
        });
        run_clean_ups(session, self.call.context.engine(), result.as_ref().err().map(AsRef::as_ref))?;
        result
    }
}

/// Calls something with a context whose session is another one.
pub(super) fn within<T>(
    context: &NativeCallContext,
    session: &Session,
    run: impl FnOnce(&NativeCallContext) -> T,
) -> T {
    let mut store = context.store_data();
    store.global.tag = Dynamic::from(session.clone());
    let context = store.create_context(context.engine());
    run(&context)
}

/// What `defer` keeps for the end of its branch.
pub(super) struct CleanUp {
    pub(super) body: FnPtr,
    pub(super) context: NativeCallContextStore,
}

/// Runs the clean-ups of a branch that ended, with an error or without, last one first, and notes each.
///
/// A failed one does not keep the others from running. In a suspended run none runs: it cleans up when it goes on.
pub fn run_clean_ups(
    session: &Session,
    engine: &rhai::Engine,
    ended: Option<&EvalAltResult>,
) -> Result<(), Box<EvalAltResult>> {
    let gate = session.gate();
    let is_suspended = ended.is_some_and(suspends) || gate.recorder.is_broken();
    let deferred = session.take_deferred();
    if is_suspended {
        return Ok(());
    }
    for deferred in deferred {
        let inner = session.clean_up(&deferred);
        let Deferred { site, body, .. } = deferred;
        let Some(clean_up) = body.downcast_ref::<CleanUp>() else { continue };
        let place = site.as_ref().map(ToString::to_string).unwrap_or_default();
        if gate.cancellation.is_now() {
            gate.left_behind.lock().push(format!("the clean-up registered at {place} did not run"));
            continue;
        }
        let mut store = clean_up.context.clone();
        store.global.tag = Dynamic::from(inner.clone());
        let context = store.create_context(engine);
        let result = {
            let _cleaning = cancellation::Cleaning::begin();
            let _current = Current::set(&inner);
            let result = or_untold(clean_up.body.call_within_context::<Dynamic>(&context, ()));
            // It may have registered some of its own.
            run_clean_ups(&inner, engine, result.as_ref().err().map(AsRef::as_ref))?;
            result
        };
        let failure = match result {
            Err(error) if suspends(&error) => return Err(error),
            Err(error) => Some(gate.redactor.text(&plain(&error)).into_owned()),
            Ok(_) => None,
        };
        if let Some(failure) = &failure {
            gate.left_behind.lock().push(format!("the clean-up registered at {place} failed: {failure}"));
        }
        let branch = inner.branch().clone();
        session
            .note(Event::CleanedUp { branch, failure, site })
            .map_err(|stop| Raise::from(stop).into_script(rhai::Position::NONE))?;
    }
    Ok(())
}

/// Whether the run goes on later from where this ended it, so that nothing may be cleaned up now.
fn suspends(error: &EvalAltResult) -> bool {
    Stopped::of(error).is_some_and(|stopped| stopped.stop.suspends())
}

/// Returns the innermost message of a script error, for people.
fn plain(error: &EvalAltResult) -> String {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) => match value.read_lock::<FailureValue>() {
            Some(failure) => match &failure.0.host {
                Some(host) => format!("{host}: {}", failure.0.message),
                None => failure.0.message.clone(),
            },
            None => value.to_string(),
        },
        EvalAltResult::ErrorTerminated(value, _) => match Stopped::of(error) {
            Some(stopped) => stopped.stop.to_string(),
            None => value.to_string(),
        },
        other => told(other),
    }
}

/// Reads a script error as the failure of one host; what ends the whole run is none.
fn failure_of(error: &EvalAltResult, call: &Call<'_>) -> Result<Failure, ()> {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, at) => {
            if let Some(failure) = value.read_lock::<FailureValue>() {
                return Ok(failure.0.as_ref().clone());
            }
            let message = if value.is_string() { value.to_string() } else { plain(error) };
            let mut failure = Failure { kind: "failed".to_owned(), ..invalid(message) };
            failure.details = json(value).unwrap_or(Value::Null);
            failure.site = Some(crate::model::event::Site {
                file: call.site.file.clone(),
                line: at.line().map_or(call.site.line, |line| line as u32),
                column: at.position().unwrap_or(0) as u32,
            });
            Ok(failure)
        }
        EvalAltResult::ErrorTerminated(..) => Err(()),
        other if other.is_catchable() => {
            let mut failure = Failure { kind: "script".to_owned(), ..invalid(told(other)) };
            failure.site = Some(call.site.clone());
            Ok(failure)
        }
        _ => Err(()),
    }
}

fn verdict_of(session: &Session) -> Verdict {
    if session.has_changed() { Verdict::Changed } else { Verdict::Ok }
}

fn verdict_for(failure: &Failure) -> Verdict {
    match failure.kind.as_str() {
        "skipped" => Verdict::Skipped,
        _ if is_unreachable(failure) => Verdict::Unreachable,
        _ => Verdict::Failed,
    }
}

fn began(session: &Session, name: &str) -> Event {
    Event::BranchBegan { branch: session.branch().clone(), host: name.to_owned() }
}

fn ended(session: &Session, name: &str, verdict: Verdict, failure: Option<&Failure>) -> Event {
    let reason = failure.map(|failure| session.gate().redactor.text(&failure.message).into_owned());
    Event::BranchEnded { branch: session.branch().clone(), host: name.to_owned(), verdict, reason }
}

const OPTIONS: &[Opt] = &[
    Opt { name: "parallel", ty: Type::Int, doc: "How many hosts at a time; 50 by default." },
    Opt {
        name: "serial",
        ty: Type::Any,
        doc: "Hosts in a batch, such as `2`, `\"25%\"` or `[1, 5, \"50%\"]`; a batch begins when the one before is done.",
    },
    Opt { name: "canary", ty: Type::Any, doc: "Hosts (a number or a share) that go first, alone." },
    Opt {
        name: "max_failures",
        ty: Type::Any,
        doc: "How many hosts (a number or a share) may fail or be unreachable; with one more, no further host begins.",
    },
    Opt {
        name: "in_turn",
        ty: Type::String,
        doc: "A key of the maps, or a variable of the hosts: those that have the same there go one after the other.",
    },
];

/// Fan-out.
pub const BINDING: Binding = Binding {
    area: "each",
    doc: "The same for each of many hosts or items, several at a time.",
    functions: &[Function {
        signature: Signature {
            name: "each",
            params: &[
                Param { name: "hosts", ty: Type::Items, optional: false },
                Param { name: "body", ty: Type::Function(1), optional: false },
            ],
            options: OPTIONS,
            required_options: &[],
            returns: "An array with a result a host, in the order of the hosts: `.host .status .ok .changed .failed \
                      .skipped .unreachable .value .error`.",
            performs: None,
            doc: "Calls a function for each host, several at a time, and returns what each came to.\n\nA host that \
                  fails or cannot be reached does not end the run: it is in the results, and the run ends as \
                  `partial`. Variables that the function captures are copies; results come back as its value.\n\nIn place \
                  of hosts it takes maps with a `name`, no two with the same: what is to be done there may concern any \
                  host or none. The function gets the map, and everywhere the name stands where a host's would, `.host` of \
                  the result included.",
            example: r#"let results = each(hosts("localhost"), #{ parallel: 10 }, |h| {
    ssh_read(h, ["uptime", "-p"]).out
});
for r in results { print(`${r.host}: ${r.status}`) }"#,
        },
        run: each,
    }],
};
