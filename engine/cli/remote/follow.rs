//! Follows a run at a server to its end: through lost connections and restarts of the server, with the person's questions and signals.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::cli::ask::Terminal;
use crate::cli::out::Out;
use crate::cli::problem::Problem;
use crate::cli::remote::Remote;
use crate::cli::remote::client::Failed;
use crate::cli::remote::frames::Frames;
use crate::cli::remote::shown::record;
use crate::gate::authority::Ask as _;
use crate::model::run::{RunId, Seq};
use crate::store::Record;

/// The server says something at least every 15 s; what is silent for longer is lost.
const SILENCE: Duration = Duration::from_secs(45);
/// How long a server may be away until it is given up.
const PATIENCE: Duration = Duration::from_secs(600);
/// The first pause before another try, and the longest.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// How often it is looked whether the run asks something.
const LOOK: Duration = Duration::from_secs(1);

/// How following a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Followed {
    /// The run is over.
    Over,
    /// The person does not want to see more; the run goes on.
    Detached,
}

/// Who answers the questions of a run.
pub(super) struct Answers {
    pub(super) terminal: Terminal,
    /// Whether anybody is there to answer.
    pub(super) can: bool,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
struct Question {
    question: i64,
    run: i64,
    text: String,
}

impl Remote {
    /// Hands over every event after one, as they come, until the run is over or the person has enough.
    pub(super) fn follow(
        &self,
        out: &Out,
        run: RunId,
        after: Seq,
        answers: Option<Answers>,
        sender: &UnboundedSender<Record>,
    ) -> Result<Followed, Problem> {
        self.wait(async {
            let following = self.stream(run, after, |record| {
                // A view that is gone has nothing to show; the run goes on all the same.
                let _ = sender.send(record);
                Ok(())
            });
            let is_over = Arc::new(AtomicBool::new(false));
            let asking = self.questions(out, run, answers, is_over.clone());
            let signals = self.signals(out, run);
            tokio::pin!(following, asking, signals);
            let followed = tokio::select! {
                result = &mut following => result.map(|()| Followed::Over),
                result = &mut asking => result.map(|()| Followed::Over),
                result = &mut signals => result.map(|()| Followed::Detached),
            };
            // A question that still waits for the person waits no longer.
            is_over.store(true, Ordering::Relaxed);
            followed
        })
    }

    /// Hands over the events that there are, without waiting for more.
    pub(crate) fn walk(
        &self,
        run: RunId,
        after: Seq,
        mut visit: impl FnMut(Record) -> Result<(), Problem>,
    ) -> Result<Seq, Problem> {
        self.wait(async {
            let mut last = after;
            loop {
                let before = last;
                let mut hand = |record: Record| {
                    last = record.seq;
                    visit(record)
                };
                match self.once(run, before, true, &mut hand).await {
                    Ok(true) => return Ok(last),
                    // A connection that is lost is taken up where it ended, as long as it brings something.
                    Ok(false) | Err(Failed::Passing(_)) if last > before => {}
                    Ok(false) => {
                        return Err(Problem::Other("the server ended the stream of events".to_owned()));
                    }
                    Err(failed) => return Err(failed.problem()),
                }
            }
        })
    }

    /// Hands over every event after one, through lost connections and restarts, until the run is over.
    pub(super) async fn stream(
        &self,
        run: RunId,
        after: Seq,
        mut visit: impl FnMut(Record) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let (mut after, mut pause, mut gone) = (after, PAUSE.0, None::<Instant>);
        loop {
            let before = after;
            let mut hand = |record: Record| {
                after = record.seq;
                visit(record)
            };
            let why = match self.once(run, before, false, &mut hand).await {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(Failed::Passing(problem)) => problem.text(),
                Err(Failed::For(problem)) => return Err(problem),
            };
            if after > before {
                (pause, gone) = (PAUSE.0, None);
            }
            let since = *gone.get_or_insert_with(|| {
                let why = why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
                crate::cli::out::tell(&format!(
                    "the connection is lost{why}; run {run} goes on, and this tries again"
                ));
                Instant::now()
            });
            if since.elapsed() > PATIENCE {
                let hint = format!("`nlrun --server {} log {run} -f` follows it again", self.address());
                let message =
                    format!("the server was away for {} s; run {run} may go on", PATIENCE.as_secs());
                return Err(Problem::Remote { message, hint: Some(hint), code: 1 });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Reads one stream to its end; returns whether the run is over, or all there is was read.
    async fn once(
        &self,
        run: RunId,
        after: Seq,
        until_now: bool,
        hand: &mut impl FnMut(Record) -> Result<(), Problem>,
    ) -> Result<bool, Failed> {
        let (number, last) = (run.to_string(), after.0.to_string());
        let query = [("output", "true"), ("until_now", if until_now { "true" } else { "false" })];
        let headers = [("last-event-id", last.as_str()), ("accept", "text/event-stream")];
        let mut stream = self.open(&["runs", &number, "events"], &query, &headers).await?;
        let mut frames = Frames::default();
        loop {
            let part = stream.part(SILENCE).await.map_err(|fault| self.fault(&fault))?;
            let Some(part) = part else { return Ok(false) };
            for frame in frames.take(&part) {
                match frame.event.as_str() {
                    "event" => {
                        hand(record(self, run, &frame.data).map_err(Failed::For)?).map_err(Failed::For)?;
                    }
                    "end" => return Ok(true),
                    _ => {}
                }
            }
        }
    }

    /// Asks the person what the run asks; ends only when something is wrong with the server.
    async fn questions(
        &self,
        out: &Out,
        run: RunId,
        answers: Option<Answers>,
        is_over: Arc<AtomicBool>,
    ) -> Result<(), Problem> {
        let Some(Answers { terminal, can }) = answers else { return std::future::pending().await };
        let terminal = Arc::new(terminal);
        let mut told = BTreeSet::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let open = self.ask::<Page<Question>>("GET", &["questions"], &[], &[], None).await;
            // The stream itself says what is wrong with the connection.
            let Ok(Page { items }) = open else { continue };
            for one in items.into_iter().filter(|one| one.run == run.0) {
                if !told.insert(one.question) {
                    continue;
                }
                if !can {
                    let how = format!("`nlrun --server {} approve {run}` answers it", self.address());
                    out.word(&format!("run {run} asks: {}; {how}", crate::cli::diagnostic::safe(&one.text)));
                    continue;
                }
                let (terminal, text, over) = (terminal.clone(), one.text.clone(), is_over.clone());
                let elsewhere = Arc::new(AtomicBool::new(false));
                let gone = elsewhere.clone();
                let mut asked = tokio::task::spawn_blocking(move || {
                    terminal.confirm(&text, &|| over.load(Ordering::Relaxed) || gone.load(Ordering::Relaxed))
                });
                let answer = loop {
                    tokio::select! {
                        answer = &mut asked => break answer,
                        () = tokio::time::sleep(LOOK) => {
                            // Somebody else may be faster, on the page or at another terminal.
                            let open = self.ask::<Page<Question>>("GET", &["questions"], &[], &[], None).await;
                            let is_gone = open.is_ok_and(|open| open.items.iter().all(|other| other.question != one.question));
                            elsewhere.store(is_gone, Ordering::Relaxed);
                        }
                    }
                };
                let Ok(Some(yes)) = answer else { continue };
                let number = one.question.to_string();
                let body = json!({ "yes": yes });
                let sent = self.ask::<Value>("POST", &["questions", &number], &[], &[], Some(&body)).await;
                if let Err(failed) = sent {
                    out.word(&format!(
                        "the answer was not taken: {}",
                        failed.problem().text().unwrap_or_default()
                    ));
                }
            }
        }
    }

    /// Ctrl-C and SIGTERM: once ends the run with its clean-up, twice leaves it.
    async fn signals(&self, out: &Out, run: RunId) -> Result<(), Problem> {
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return std::future::pending().await;
        };
        let number = run.to_string();
        let body = json!({ "now": false });
        let (mut times, mut is_asked) = (0, true);
        loop {
            // The server may be away just now: it is asked until it has heard it.
            let (path, is_heard) = (["runs", &number, "cancel"], is_asked);
            let ask = async {
                if is_heard {
                    return std::future::pending().await;
                }
                let asked = self.ask::<Value>("POST", &path, &[], &[], Some(&body)).await;
                if matches!(asked, Err(Failed::Passing(_))) {
                    tokio::time::sleep(LOOK).await;
                }
                asked
            };
            tokio::pin!(ask);
            tokio::select! {
                _ = interrupt.recv() => times += 1,
                _ = terminate.recv() => times += 1,
                asked = &mut ask => {
                    is_asked = !matches!(asked, Err(Failed::Passing(_)));
                    if let Err(Failed::For(problem)) = asked {
                        out.word(&problem.text().unwrap_or_default());
                    }
                    continue;
                }
            }
            if times > 1 && !is_asked {
                // What is on its way arrives: whoever is in a hurry still wants the run to end.
                let _ = tokio::time::timeout(LOOK, ask).await;
            }
            if times > 1 {
                out.word(&format!(
                    "run {run} goes on; `nlrun --server {} log {run} -f` follows it",
                    self.address()
                ));
                return Ok(());
            }
            is_asked = false;
            out.word(&format!(
                "run {run} is asked to end; waiting for its clean-up (once more leaves it to itself)"
            ));
        }
    }
}
