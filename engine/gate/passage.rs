//! One effect's way through the gate: compare, authorise, record intent, settle, record outcome.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::Value;

use crate::gate::effect::{Done, Doubt, Effect, Kept, Seen};
use crate::gate::journal::Recorded;
use crate::gate::permit::{cancelled, invalid};
use crate::gate::redactor::Redactor;
use crate::gate::stop::describe;
use crate::gate::{Answered, Gate, Session, UNKNOWN_OUTCOME, sentence};
use crate::gate::{Halt, Permit, Stop};
use crate::model::address::Address;
use crate::model::effect::{Kind, Target};
use crate::model::event::{Event, Failure, InDoubt, Request, Site, Verdict};
use crate::model::plan::differences;
use crate::model::run::{Mode, Seq};
use crate::model::url;

/// One effect on its way through the gate.
pub(super) struct Placed<'a, E: Effect> {
    pub(super) session: &'a Session,
    pub(super) effect: &'a E,
    pub(super) address: Address,
    pub(super) target: Target,
    pub(super) request: Request,
    pub(super) site: Option<Site>,
    /// Whether it was begun before the run was interrupted, so that what it asks for may be there already.
    pub(super) is_begun: bool,
}

impl<E: Effect> Placed<'_, E> {
    fn gate(&self) -> &Arc<Gate> {
        self.session.gate()
    }

    /// Answers from the journal, or goes on where the interrupted run left off.
    pub(super) async fn recall(self, recorded: Recorded) -> Result<Answered<E::Output>, Halt> {
        let Request { effect, kind, target, request, .. } = &recorded.request;
        if *effect != self.request.effect || *request != self.request.request {
            let same = *effect == self.request.effect && target.to_string() == self.target.to_string();
            return Err(Stop::Diverged {
                address: self.address.clone(),
                expected: format!("the journal has {}", describe(*kind, effect, &target.to_string())),
                found: if same {
                    "the same with other arguments".to_owned()
                } else {
                    describe(E::KIND, E::NAME, &self.target.to_string())
                },
                hint:
                    "the script must ask for the same effects again: does it depend on something that is not \
                       journaled?"
                        .to_owned(),
            }
            .into());
        }
        let live_again = !self.gate().replay && E::KIND == Kind::Read;
        match recorded.answer {
            Some(answer) if !(answer.redacted && live_again) => {
                if let Some(failure) = answer.failure {
                    if failure.kind == UNKNOWN_OUTCOME {
                        self.session.mark_changed();
                        return Ok(Answered::Unplanned);
                    }
                    return Err(self.interrupted(failure));
                }
                let output: E::Output = serde_json::from_value(answer.value).map_err(|error| {
                    invalid(format!("the journal's answer at {} does not read back: {error}", self.address))
                })?;
                if answer.verdict == Verdict::Changed {
                    self.session.mark_changed();
                }
                let kept = Recalled { gate: self.gate(), output: &recorded.output, lost: Mutex::default() };
                let output = self.effect.restore(output, &kept);
                // What the log has lost is a failure, never an empty text.
                match kept.lost.into_inner() {
                    Some(failure) => Err(failure.into()),
                    None => Ok(Answered::Known(output, answer.verdict)),
                }
            }
            None if self.gate().replay && self.gate().mode == Mode::Plan => {
                self.session.mark_unplanned();
                Ok(Answered::Unplanned)
            }
            None if self.gate().replay => Err(Stop::ReplayEnds(self.address.clone()).into()),
            None if E::KIND == Kind::Act => self.in_doubt(&recorded.pre).await,
            Some(_) | None => Self { is_begun: true, ..self }.live().await,
        }
    }

    /// An act was begun and its end is not recorded: find out, or leave it to a person.
    async fn in_doubt(self, pre: &Value) -> Result<Answered<E::Output>, Halt> {
        let permit = Permit::new(self.gate(), &self.address, &self.target);
        let decision = self.gate().decisions.get(&self.address).map(String::as_str);
        if decision == Some("again") {
            // Where another act keeps the run from going on, this one has to be named again the next time.
            return match self.gate().doubts.stop() {
                None => self.live().await,
                Some(_) => Err(self.gate().doubts.add(InDoubt::new(&self.address, &self.request)).into()),
            };
        }
        match self.effect.probe(&permit, pre).await {
            Ok(Doubt::Happened(done)) => {
                let seen = Seen::unknown();
                return self.finish(Ok(done), &seen, &permit, Instant::now()).await;
            }
            Ok(Doubt::DidNot) => return self.live().await,
            Ok(Doubt::Unknown) | Err(_) => {}
        }
        if decision == Some("done") {
            return self.decided().await;
        }
        Err(self.gate().doubts.add(InDoubt::new(&self.address, &self.request)).into())
    }

    /// Records that a person says that an act in doubt happened; nobody knows its answer.
    async fn decided(self) -> Result<Answered<E::Output>, Halt> {
        let failure = Failure {
            kind: UNKNOWN_OUTCOME.to_owned(),
            host: self.target.host().map(str::to_owned),
            ..invalid("a person decided that it happened; its answer is not known".to_owned())
        };
        let event = Event::Outcome {
            address: self.address.clone(),
            verdict: Verdict::Changed,
            value: Value::Null,
            failure: Some(Box::new(failure)),
            ms: 0,
            diff: None,
            redacted: false,
        };
        self.gate().recorder.append(event).await?;
        self.session.mark_changed();
        Ok(Answered::Unplanned)
    }

    pub(super) async fn live(self) -> Result<Answered<E::Output>, Halt> {
        let gate = self.gate();
        // Nor does what was begun and is safe to repeat: a person may find that the run should not go on at all.
        if let Some(stop) = gate.doubts.stop().filter(|_| E::KIND.writes()) {
            return Err(stop.into());
        }
        let ask = |question: &str| gate.confirm(question);
        // Without an answer because the run has to end, that is what stops it.
        let refused = |stop| gate.cancellation.reason().unwrap_or(stop);
        gate.authority.check(E::NAME, &self.target, &ask).map_err(refused)?;
        let planned = gate.mode == Mode::Plan;
        if E::KIND.writes() && !planned {
            gate.authority.check_write(&self.target, &ask).map_err(refused)?;
        }
        let permit = Permit::new(gate, &self.address, &self.target);
        let begun = Instant::now();
        match E::KIND {
            Kind::Read => {
                self.intent(Value::Null, false).await?;
                let result = self.within(&permit, &Seen::unknown()).await;
                self.finish(result, &Seen::unknown(), &permit, begun).await
            }
            Kind::Ensure => {
                let seen = match self.effect.observe(&permit).await {
                    Ok(seen) => seen,
                    Err(failure) => {
                        self.intent(Value::Null, false).await?;
                        return self.finish(Err(failure), &Seen::unknown(), &permit, begun).await;
                    }
                };
                if planned {
                    return self.forecast(seen).await;
                }
                // The state that a plan was made for is gone once its own effect has changed it.
                if seen.changes || !self.is_begun {
                    self.compare_with_plan(Some(&seen.pre), seen.changes)?;
                }
                if seen.changes {
                    self.intent(seen.pre.clone(), true).await?;
                    let result = self.within(&permit, &seen).await;
                    return self.finish(result, &seen, &permit, begun).await;
                }
                let Some(output) = seen.output else {
                    return Err(invalid(format!("`{}` forecast nothing", E::NAME)).into());
                };
                self.intent(seen.pre, false).await?;
                self.finish(Ok(Done::ok(output)), &Seen::unknown(), &permit, begun).await
            }
            Kind::Act => {
                if planned {
                    let output = self.effect.expected();
                    return self.forecast(Seen { output, ..Seen::unknown() }).await;
                }
                self.compare_with_plan(None, true)?;
                let seen = match self.effect.observe(&permit).await {
                    Ok(seen) => seen,
                    Err(failure) => {
                        self.intent(Value::Null, false).await?;
                        return self.finish(Err(failure), &Seen::unknown(), &permit, begun).await;
                    }
                };
                // Connecting changes nothing, so it need not wait until the intent is on disk.
                let (intent, connected) =
                    tokio::join!(self.intent(seen.pre.clone(), true), self.connect(&permit));
                intent?;
                let result = match connected {
                    Ok(()) => self.within(&permit, &seen).await,
                    Err(failure) => Err(failure),
                };
                self.finish(result, &seen, &permit, begun).await
            }
        }
    }

    async fn connect(&self, permit: &Permit<'_>) -> Result<(), Failure> {
        if self.target.host().is_some() { permit.connect().await } else { Ok(()) }
    }

    async fn intent(&self, pre: Value, durable: bool) -> Result<(), Stop> {
        let (address, request) = (self.address.clone(), Box::new(self.request.clone()));
        let event = Event::Intent { address, request, pre };
        let recorder = &self.gate().recorder;
        if durable { recorder.append_durable(event).await } else { recorder.append(event).await }
    }

    /// Performs; what hangs in spite of a cancelled run is dropped after a while.
    async fn within(&self, permit: &Permit<'_>, seen: &Seen<E::Output>) -> Result<Done<E::Output>, Failure> {
        let gate = self.gate();
        let hangs = async {
            gate.cancellation.token().cancelled().await;
            // Longer than a transport takes to end a remote process group with TERM and then KILL.
            tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        };
        tokio::select! {
            result = self.effect.perform(permit, seen) => result,
            () = hangs => Err(cancelled()),
        }
    }

    async fn forecast(self, seen: Seen<E::Output>) -> Result<Answered<E::Output>, Halt> {
        let gate = self.gate();
        let event = Event::Forecast {
            address: self.address.clone(),
            request: Box::new(self.request.clone()),
            pre: seen.pre,
            changes: seen.changes,
            diff: seen.diff.map(|diff| gate.redactor.text(&diff).into_owned()),
        };
        gate.recorder.append(event).await?;
        if seen.changes {
            self.session.mark_changed();
        }
        match seen.output {
            Some(output) => {
                Ok(Answered::Known(output, if seen.changes { Verdict::Changed } else { Verdict::Ok }))
            }
            None => {
                self.session.mark_unplanned();
                Ok(Answered::Unplanned)
            }
        }
    }

    /// Demands that a write is exactly what the plan promised; unknown is never equal.
    fn compare_with_plan(&self, pre: Option<&Value>, changes: bool) -> Result<(), Stop> {
        let Some(expected) = &self.gate().expected else { return Ok(()) };
        let found = describe(E::KIND, E::NAME, &self.target.to_string());
        let Some(planned) = expected.at(&self.address) else {
            return match &expected.incomplete {
                Some(_) if expected.beyond => Ok(()),
                Some(from) => Err(Stop::BeyondPlan { from: from.clone() }),
                // Nothing would change, so nothing unplanned happens.
                None if !changes => Ok(()),
                None => Err(self.diverged("the plan has nothing".to_owned(), found)),
            };
        };
        if planned.effect != self.request.effect || planned.request != self.request.request {
            let promised = describe(planned.kind, &planned.effect, &planned.target);
            let found = if promised == found { "the same with other arguments".to_owned() } else { found };
            return Err(self.diverged(format!("the plan has {promised}"), found));
        }
        if let Some(pre) = pre
            && *pre != planned.pre
        {
            return Err(Stop::OtherState {
                address: self.address.clone(),
                effect: E::NAME.to_owned(),
                target: self.target.to_string(),
                differences: differences(&planned.pre, pre),
                runbook: self.gate().runbook.clone(),
                after_act: self.target.host().is_some_and(|host| expected.has_act_on(host)),
            });
        }
        Ok(())
    }

    fn diverged(&self, expected: String, found: String) -> Stop {
        let hint = "make a new plan, read it, and apply that".to_owned();
        Stop::Diverged { address: self.address.clone(), expected, found, hint }
    }

    async fn finish(
        &self,
        result: Result<Done<E::Output>, Failure>,
        seen: &Seen<E::Output>,
        permit: &Permit<'_>,
        begun: Instant,
    ) -> Result<Answered<E::Output>, Halt> {
        let gate = self.gate();
        let ms = begun.elapsed().as_millis() as u64;
        let mut redacted = permit.is_redacted();
        match result {
            Ok(done) => {
                let mut value =
                    serde_json::to_value(&done.output).map_err(|error| invalid(error.to_string()))?;
                redacted |= gate.redactor.json(&mut value);
                let diff = done.diff.or_else(|| seen.diff.clone());
                let event = Event::Outcome {
                    address: self.address.clone(),
                    verdict: done.verdict,
                    value,
                    failure: None,
                    ms,
                    diff: diff.map(|diff| gate.redactor.text(&diff).into_owned()),
                    redacted,
                };
                gate.recorder.append(event).await?;
                if done.verdict == Verdict::Changed {
                    self.session.mark_changed();
                }
                Ok(Answered::Known(done.output, done.verdict))
            }
            Err(mut failure) => {
                failure.site.clone_from(&self.site);
                if failure.host.is_none() {
                    failure.host = self.target.host().map(str::to_owned);
                }
                let mut recorded = failure.clone();
                recorded.message = gate.redactor.text(&recorded.message).into_owned();
                redacted |= gate.redactor.json(&mut recorded.details);
                let event = Event::Outcome {
                    address: self.address.clone(),
                    verdict: if is_unreachable(&failure) { Verdict::Unreachable } else { Verdict::Failed },
                    value: Value::Null,
                    failure: Some(Box::new(recorded)),
                    ms,
                    diff: None,
                    redacted,
                };
                gate.recorder.append(event).await?;
                Err(self.interrupted(failure))
            }
        }
    }

    /// A failure because of a cancelled run is a stop.
    fn interrupted(&self, failure: Failure) -> Halt {
        match failure.kind.as_str() {
            "cancelled" => {
                let stop = self.gate().cancellation.reason().or_else(|| self.gate().cancelled_before());
                stop.map_or_else(|| failure.into(), Halt::from)
            }
            "unrecorded" => Stop::Unrecorded(failure.message).into(),
            _ => failure.into(),
        }
    }
}

/// Returns a target as it may be recorded: a path or a URL can come from a command's output.
pub(super) fn recorded_target(target: &Target, redactor: &Redactor) -> Target {
    match target {
        Target::Host { host, groups, path: Some(path) } => Target::Host {
            host: host.clone(),
            groups: groups.clone(),
            path: Some(redactor.text(path).into_owned()),
        },
        Target::Named { name } if url::is_url(name) => {
            Target::Named { name: redactor.text(name).into_owned() }
        }
        Target::Run | Target::Host { path: None, .. } | Target::Named { .. } => target.clone(),
    }
}

/// Whether the host was never reached, so that nothing is known about it.
pub fn is_unreachable(failure: &Failure) -> bool {
    matches!(failure.kind.as_str(), "unreachable" | "refused" | "host_key" | "authentication")
}

/// The kept output of a recorded effect.
struct Recalled<'a> {
    gate: &'a Gate,
    output: &'a [(String, Seq)],
    lost: Mutex<Option<Failure>>,
}

impl Kept for Recalled<'_> {
    fn stream(&self, stream: &str, limit: usize) -> Result<Vec<u8>, Failure> {
        let kept = self.gate.kept.lock();
        let events: Vec<Seq> =
            self.output.iter().filter(|(name, _)| name == stream).map(|(_, seq)| *seq).collect();
        let found = match kept.as_ref() {
            Some(reader) => reader
                .joined(self.gate.recorder.run(), &events, limit)
                .map_err(|error| invalid(sentence(&error))),
            None => Err(invalid("the run log is not open".to_owned())),
        };
        found.inspect_err(|failure| {
            self.lost.lock().get_or_insert_with(|| failure.clone());
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Serialize;
    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    use super::*;
    use crate::gate::harness;

    const KINDS: [Kind; 3] = [Kind::Read, Kind::Ensure, Kind::Act];

    /// Takes no notice of a cancelled run: it ends when its time is over, if it has one, and never before.
    #[derive(Serialize)]
    struct Deaf<'a, const KIND: usize> {
        seconds: Option<u64>,
        #[serde(skip)]
        begun: &'a Semaphore,
    }

    impl<const KIND: usize> Effect for Deaf<'_, KIND> {
        const NAME: &'static str = "test.deaf";
        const KIND: Kind = KINDS[KIND];
        type Output = String;

        fn target(&self) -> Target {
            Target::Run
        }

        async fn perform(&self, _: &Permit<'_>, _: &Seen<String>) -> Result<Done<String>, Failure> {
            self.begun.add_permits(1);
            match self.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
            Ok(Done::changed("done".to_owned()))
        }
    }

    fn is_cancelled(ended: &Result<Answered<String>, Halt>) -> bool {
        matches!(ended, Err(Halt::Stop(stop)) if matches!(**stop, Stop::Cancelled { .. }))
    }

    #[test]
    fn what_hangs_in_a_cancelled_run_is_dropped_after_ten_seconds_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let session = harness::session(dir.path(), Mode::Apply, &[]);
        let begun = Semaphore::new(0);
        let cancel = async {
            let _all = begun.acquire_many(4).await.unwrap();
            session.gate().cancellation.cancel(Stop::Cancelled { by: "op".to_owned() });
            Instant::now()
        };
        let (read, ensure, act) = (
            Deaf::<0> { seconds: None, begun: &begun },
            Deaf::<1> { seconds: None, begun: &begun },
            Deaf::<2> { seconds: None, begun: &begun },
        );
        let slow = Deaf::<2> { seconds: Some(8), begun: &begun };
        let all = async {
            tokio::join!(
                cancel,
                session.perform_async(None, &read),
                session.perform_async(None, &ensure),
                session.perform_async(None, &act),
                session.perform_async(None, &slow),
            )
        };
        let ended = session.block(async { timeout(Duration::from_secs(30), Box::pin(all)).await });
        let (cancelled, read, ensure, act, slow) = ended.expect("nothing hangs for ever");
        assert!((9..20).contains(&cancelled.elapsed().as_secs()), "{:?}", cancelled.elapsed());
        assert!([&read, &ensure, &act].into_iter().all(is_cancelled));
        assert!(matches!(slow, Ok(Answered::Known(text, Verdict::Changed)) if text == "done"));
        let mut outcomes = Vec::new();
        for event in harness::events(&session) {
            if let Event::Outcome { verdict, failure, .. } = event {
                outcomes.push((verdict, failure.map_or_else(String::new, |failure| failure.kind)));
            }
        }
        let dropped = || (Verdict::Failed, "cancelled".to_owned());
        assert_eq!(outcomes, [(Verdict::Changed, String::new()), dropped(), dropped(), dropped()]);
    }
}
