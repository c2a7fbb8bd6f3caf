//! A run as it happens: lines for a pipe, lines and a moving last line for a terminal, JSON for programs.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::cli::diagnostic::safe;
use crate::cli::doubts;
use crate::cli::lines::{Lines, record_json};
use crate::cli::moving;
use crate::cli::out::Out;
use crate::model::diagnostic::Diagnostic;
use crate::model::event::{Event, Verdict};
use crate::model::run::{Mode, RunId, Seq, Status, Summary};
use crate::service::{Finished, remedy};
use crate::store::Record;

/// How often something new is shown: nobody reads faster.
const FRAME: Duration = Duration::from_millis(16);

/// Shows a run while it goes on.
pub(crate) struct View {
    thread: JoinHandle<Seen>,
    is_over: Arc<AtomicBool>,
    bar: Option<ProgressBar>,
}

/// What the view has seen of a run.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) run: Option<RunId>,
    pub(crate) summary: Summary,
    /// Events, when somebody wants all of them (a report for CI).
    pub(crate) events: Vec<Event>,
    pub(crate) began: Option<i64>,
    pub(crate) ended: Option<i64>,
    /// Whether the run began in another process.
    pub(crate) is_resumed: bool,
}

impl View {
    /// Begins to show; the sender gets the run's events.
    pub(crate) fn start(out: &Out, mode: Mode, keep: bool) -> (Self, UnboundedSender<Record>) {
        let (sender, receiver) = unbounded_channel();
        let bar = (out.is_terminal && !out.json && !out.quiet).then(moving::hidden);
        let is_over = Arc::new(AtomicBool::new(false));
        let shower = Shower { out: out.clone(), bar: bar.clone(), keep, mode, ..Shower::new(out) };
        let over = is_over.clone();
        let thread = std::thread::spawn(move || shower.show(receiver, &over));
        (Self { thread, is_over, bar }, sender)
    }

    /// Returns the moving line, for questions that must stand above it.
    pub(crate) fn bar(&self) -> Option<ProgressBar> {
        self.bar.clone()
    }

    /// Waits until everything is shown.
    pub(crate) fn finish(self) -> Seen {
        self.is_over.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

struct Shower {
    out: Out,
    bar: Option<ProgressBar>,
    keep: bool,
    mode: Mode,
    lines: Lines,
    seen: Seen,
    /// Whether the reader of standard output is gone.
    is_deaf: bool,
    progress: Progress,
}

impl Shower {
    fn new(out: &Out) -> Self {
        Self {
            out: out.clone(),
            bar: None,
            keep: false,
            mode: Mode::Apply,
            lines: Lines::new(out.data, out.verbose, out.verbose > 0).with_sections(out.sections),
            seen: Seen::default(),
            is_deaf: false,
            progress: Progress::default(),
        }
    }

    fn show(mut self, mut receiver: UnboundedReceiver<Record>, is_over: &AtomicBool) -> Seen {
        let mut batch = Vec::new();
        while receiver.blocking_recv_many(&mut batch, 512) > 0 {
            let mut text = String::new();
            for record in batch.drain(..) {
                if self.out.json {
                    text.push_str(&record_json(&record));
                    text.push('\n');
                } else if !self.out.quiet {
                    self.lines.add(&record, &mut text);
                }
                self.note(record);
            }
            self.print(&text);
            if let Some(bar) = &self.bar {
                bar.set_message(self.progress.line());
            }
            // Many small writes would cost more than the work that they tell about.
            if !is_over.load(Ordering::Acquire) {
                std::thread::park_timeout(FRAME);
                // Not before the run hears Ctrl-C: what that ends at once leaves the line where it is.
                self.bar.iter().for_each(moving::show);
            }
        }
        let mut rest = String::new();
        self.lines.finish(&mut rest);
        self.print(&rest);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.seen
    }

    fn print(&mut self, text: &str) {
        if text.is_empty() || self.is_deaf {
            return;
        }
        let print = || self.out.try_raw(text.as_bytes());
        // A run does not end because nobody watches it any more.
        self.is_deaf = !match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        };
    }

    fn note(&mut self, record: Record) {
        if let Event::Started(_) | Event::Resumed { .. } = &record.event {
            self.seen.run = Some(record.run);
            if let Some(bar) = &self.bar {
                let verb = if self.mode == Mode::Plan { "planning" } else { "running" };
                bar.set_message(format!("{verb} as run {}", record.run));
            }
        }
        self.seen.is_resumed |= matches!(record.event, Event::Resumed { .. });
        self.seen.began.get_or_insert(record.at);
        self.seen.ended = Some(record.at);
        self.seen.run.get_or_insert(record.run);
        self.progress.note(&record.event);
        self.seen.summary.apply(Seq(record.seq.0), &record.event);
        if self.keep {
            self.seen.events.push(record.event);
        }
    }
}

/// What the moving line says: the step, hosts so far, who is running, for how long.
#[derive(Default)]
struct Progress {
    step: Option<String>,
    running: BTreeMap<String, Instant>,
    ended: BTreeMap<&'static str, usize>,
    open: HashMap<String, String>,
}

impl Progress {
    fn note(&mut self, event: &Event) {
        match event {
            Event::StepBegan { branch, name, .. } if branch.is_root() => self.step = Some(name.clone()),
            Event::StepEnded { branch, .. } if branch.is_root() => self.step = None,
            Event::BranchBegan { host, .. } => {
                self.running.insert(host.clone(), Instant::now());
            }
            Event::BranchEnded { host, verdict, .. } => {
                self.running.remove(host);
                *self.ended.entry(verdict.as_str()).or_default() += 1;
            }
            Event::Intent { address, request, .. } if address.label().is_none() => {
                self.open.insert(address.to_string(), format!("{} {}", request.effect, request.target));
            }
            Event::Outcome { address, .. } => {
                self.open.remove(address.as_str());
            }
            _ => {}
        }
    }

    fn line(&self) -> String {
        let mut line = self.step.as_ref().map(|step| format!("{} · ", safe(step))).unwrap_or_default();
        if !self.ended.is_empty() || !self.running.is_empty() {
            let ended: Vec<String> =
                self.ended.iter().map(|(word, count)| format!("{count} {word}")).collect();
            let _ = write!(line, "{}{}", ended.join(", "), if ended.is_empty() { "" } else { " · " });
            let mut slow: Vec<(&String, &Instant)> = self.running.iter().collect();
            slow.sort_by_key(|(_, since)| **since);
            let names: Vec<&str> = slow.iter().take(4).map(|(host, _)| host.as_str()).collect();
            let more = slow.len().saturating_sub(names.len());
            if !names.is_empty() {
                let _ = write!(line, "waiting for {}", names.join(", "));
                if more > 0 {
                    let _ = write!(line, " and {more} more");
                }
            }
        }
        if let Some(what) = self.open.values().next() {
            let _ = write!(line, "{}", safe(what));
        }
        line
    }
}

impl Seen {
    /// Says how the run ended.
    pub(crate) fn conclude(&self, out: &Out, finished: &Finished) {
        if out.json {
            return;
        }
        let ending = &finished.ending;
        if let Some(error) = &ending.error {
            out.diagnostic(error);
        }
        self.hosts(out);
        // One act alone is told by the error itself.
        if ending.in_doubt.len() > 1 {
            out.always(doubts::list(out.words, finished.run, &ending.in_doubt).trim_end());
        }
        for left in &ending.left_behind {
            out.always(&format!("{} {}", out.words.red("left behind:"), safe(left)));
        }
        if let Some(from) = &ending.incomplete {
            out.always(&format!(
                "{} everything after {from} depends on an act",
                out.words.yellow("incomplete:")
            ));
        }
        let counts = &self.summary.counts;
        let (changed, verb) = match self.summary.mode {
            Mode::Plan => ("would change", "planned"),
            Mode::Apply => ("changed", ""),
        };
        let ms = match (self.began, self.ended) {
            (Some(began), Some(ended)) => (ended - began).max(0) / 1000,
            _ => 0,
        };
        let word = match (self.summary.mode, ending.status) {
            (Mode::Plan, Status::Done) => verb.to_owned(),
            (_, status) => status.to_string(),
        };
        let mut line = format!(
            "run {} {}: {} reads, {} ensures, {} acts; {} {changed}",
            finished.run,
            out.words.status(ending.status, &word),
            counts.reads,
            counts.ensures,
            counts.acts,
            counts.changed,
        );
        if counts.failed > 0 {
            let _ = write!(line, ", {} failed", counts.failed);
        }
        let since = if self.is_resumed { " since it was resumed" } else { "" };
        let _ = write!(line, " · {}{since}", seconds(ms));
        out.word(&line);
        let next = match ending.status {
            Status::Interrupted => Some(remedy(finished.run, &self.summary)),
            Status::Failed | Status::Partial => {
                Some(format!("`nlrun show {}` has the details", finished.run))
            }
            _ => None,
        };
        if let Some(next) = next {
            out.word(&out.words.dim(&next));
        }
    }

    /// Says how many hosts ended how, and names those that did not do well.
    fn hosts(&self, out: &Out) {
        if self.summary.hosts.is_empty() {
            return;
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for verdict in self.summary.hosts.values() {
            *counts.entry(verdict.as_str()).or_default() += 1;
        }
        let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
        out.word(&format!("hosts: {}", counts.join(", ")));
        for verdict in [Verdict::Failed, Verdict::Unreachable, Verdict::Skipped] {
            let names: Vec<&str> = self
                .summary
                .hosts
                .iter()
                .filter(|(_, v)| **v == verdict)
                .map(|(name, _)| name.as_str())
                .collect();
            if !names.is_empty() {
                let word = out.words.verdict(verdict, verdict.as_str());
                out.always(&format!("  {word}: {}", names.join(", ")));
            }
        }
    }
}

/// Writes milliseconds as people say them.
pub(crate) fn seconds(ms: i64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1000..=59_999 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => crate::model::duration::text(Duration::from_secs((ms / 1000).unsigned_abs())),
    }
}

/// Returns the diagnostic that a run's last event keeps.
pub(crate) fn error_of(summary: &Summary) -> Option<Diagnostic> {
    summary.error.as_ref().and_then(|error| serde_json::from_value(error.clone()).ok())
}
