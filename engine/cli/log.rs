//! `log`: the lines of a run from the run log, while it goes on or afterwards.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use regex::Regex;

use crate::cli::Context;
use crate::cli::lines::{Lines, record_json};
use crate::cli::out::Out;
use crate::cli::past::Past;
use crate::cli::problem::Problem;
use crate::cli::view::{Seen, error_of};
use crate::cli::when;
use crate::cli::which::Which;
use crate::model::address::Address;
use crate::model::effect::Kind;
use crate::model::event::{Event, Level, Verdict};
use crate::model::run::{RunId, Seq};
use crate::runner::executor::Ending;
use crate::service::{Finished, sweep};
use crate::store::{Reader, Record, RunRow, Store, StoreError};

/// Print the lines of a run, as they were when it ran
///
/// With --json, one event a line, in the same shape as `nlrun run --json`: `run seq at event …`; output has `text`, or
/// `base64` when it is not UTF-8.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nlrun log last -f\n  nlrun log 12 --host edge-3 --timestamps\n  \
    nlrun log 12 --failed\n  nlrun log 12 --json | jq 'select(.event == \"outcome\")'")]
pub(crate) struct LogOptions {
    /// The run's number, or `last`
    pub(crate) run: Which,
    /// Go on until the run has ended
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only what concerns this host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only the effect at this address, or everything below it
    #[arg(long, value_name = "ADDRESS", value_parser = |text: &str| Ok::<_, std::convert::Infallible>(Address::parse(text)))]
    address: Option<Address>,
    /// Only effects of this kind
    #[arg(long, value_enum, value_name = "KIND")]
    kind: Option<KindWord>,
    /// Only what failed, with its output
    #[arg(long)]
    failed: bool,
    /// Only lines that match a regular expression
    #[arg(long, value_name = "REGEX")]
    grep: Option<Regex>,
    /// Only what happened at or after this: `10m ago`, a time
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    since: Option<i64>,
    /// Begin each line with its local time
    #[arg(long, short)]
    timestamps: bool,
}

/// A kind of effects as a word.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindWord {
    Read,
    Ensure,
    Act,
}

/// How often another process is asked for news.
const POLL: Duration = Duration::from_millis(100);
/// Text is written when this much of it is ready.
const WRITE: usize = 64 * 1024;

pub(crate) fn log(context: &Context, options: &LogOptions) -> Result<u8, Problem> {
    let store = context.history()?;
    let run = options.run.find(&store)?;
    let reader = store.reader()?;
    reader.run(run)?;
    let past = Past::Here(&reader);
    let mut printer = Printer::new(&context.out, &past, options);
    let mut after = Seq(0);
    loop {
        // Asked before reading: what is committed in between changes the number again.
        let version = reader.version()?;
        after = past.walk(run, after, |record| printer.add(record))?;
        printer.write();
        let row = reader.run(run)?;
        if row.last_seq > after {
            continue;
        }
        if !row.summary.status.is_over() && options.follow {
            wait(&store, &reader, run, version)?;
            continue;
        }
        break;
    }
    printer.finish();
    conclude(context, &past, run, options)?;
    Ok(0)
}

/// Waits for news, or for the end of the process that runs it.
fn wait(store: &Store, reader: &Reader, run: RunId, version: i64) -> Result<(), StoreError> {
    let begun = Instant::now();
    while reader.version()? == version {
        if begun.elapsed() > Duration::from_secs(1) && !store.is_held(run) {
            sweep(store)?;
            return Ok(());
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "SQLite has no news for other processes but by asking"
        )]
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Says how the run ended, where that is part of what was asked for.
pub(crate) fn conclude(
    context: &Context,
    past: &Past<'_>,
    run: RunId,
    options: &LogOptions,
) -> Result<(), Problem> {
    let is_filtered = options.host.is_some() || options.address.is_some() || options.kind.is_some();
    if !options.follow && (is_filtered || options.failed || options.grep.is_some()) {
        return Ok(());
    }
    let (row, _) = past.run(run)?;
    if !row.summary.status.is_over() {
        context.out.word(&format!("run {run} goes on; `nlrun log {run} -f` follows it"));
        return Ok(());
    }
    let (seen, finished) = over(row);
    seen.conclude(&context.out, &finished);
    Ok(())
}

/// Turns the row of a run that is over into what the view of a live one has seen.
pub(crate) fn over(row: RunRow) -> (Seen, Finished) {
    let run = row.id;
    let ending = Ending {
        status: row.summary.status,
        error: error_of(&row.summary).map(Box::new),
        left_behind: row.summary.left_behind.clone(),
        in_doubt: row.summary.in_doubt.clone(),
        incomplete: row.summary.incomplete.clone(),
        result: row.summary.result.clone(),
    };
    let seen = Seen {
        run: Some(run),
        summary: row.summary,
        events: Vec::new(),
        began: Some(row.started_at),
        ended: row.ended_at,
        is_resumed: false,
    };
    (seen, Finished { run, ending, allowed: Vec::new() })
}

/// An effect that has begun.
struct Open {
    is_wanted: bool,
    /// Its first event, kept only where it may have to be printed later.
    intent: Option<Record>,
}

pub(crate) struct Printer<'a> {
    out: &'a Out,
    past: &'a Past<'a>,
    options: &'a LogOptions,
    lines: Lines,
    open: HashMap<Address, Open>,
    text: String,
    lost: bool,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(out: &'a Out, past: &'a Past<'a>, options: &'a LogOptions) -> Self {
        let lines = Lines::new(out.data, out.verbose, true);
        Self { out, past, options, lines, open: HashMap::new(), text: String::new(), lost: false }
    }

    pub(crate) fn add(&mut self, mut record: Record) -> Result<(), Problem> {
        let is_wanted = self.is_wanted(&record) && self.options.since.is_none_or(|since| record.at >= since);
        if !is_wanted {
            // The lines must know what a later outcome belongs to.
            if let Event::Intent { .. } = &record.event
                && !self.out.json
            {
                self.lines.add(&record, &mut String::new());
            }
            if let Event::Outcome { address, .. } = &record.event {
                self.lines.forget(address);
            }
            return Ok(());
        }
        if let Event::Output { .. } = &record.event {
            match self.past.attach(&mut record) {
                Ok(()) => {}
                Err(StoreError::Lost(what)) => self.say_lost(&what),
                Err(error) => return Err(error.into()),
            }
        }
        if self.options.failed
            && let Event::Outcome { address, .. } = &record.event
        {
            self.bring_back(address, record.seq)?;
        }
        self.print(&record);
        Ok(())
    }

    fn print(&mut self, record: &Record) {
        let mut text = String::new();
        if self.out.json {
            text = record_json(record);
            text.push('\n');
        } else {
            self.lines.add(record, &mut text);
        }
        self.take(&text, Some(record.at));
        if self.text.len() > WRITE {
            self.write();
        }
    }

    /// Prints what was held back of an effect until it failed: its intent for programs, its output for people.
    fn bring_back(&mut self, address: &Address, until: Seq) -> Result<(), Problem> {
        let Some(intent) = self.open.remove(address).and_then(|open| open.intent) else { return Ok(()) };
        if self.out.json {
            self.print(&intent);
            return Ok(());
        }
        for stream in ["out", "err"] {
            let mut text = String::new();
            self.past.pour(intent.run, (intent.seq, until), address, stream, |bytes| {
                self.lines.output(address, stream, bytes, &mut text);
            })?;
            self.take(&text, Some(intent.at));
        }
        Ok(())
    }

    /// Whether the filters let an event through; remembers effects that have begun.
    fn is_wanted(&mut self, record: &Record) -> bool {
        let LogOptions { host, address: below, kind, failed, .. } = self.options;
        let concerns_effects = below.is_some() || kind.is_some();
        let is_host =
            |name: Option<&str>| host.as_deref().is_none_or(|host| name.is_some_and(|name| name == host));
        match &record.event {
            Event::Intent { address, request, .. } | Event::Forecast { address, request, .. } => {
                let is_kind = kind.is_none_or(|kind| {
                    request.kind
                        == match kind {
                            KindWord::Read => Kind::Read,
                            KindWord::Ensure => Kind::Ensure,
                            KindWord::Act => Kind::Act,
                        }
                });
                let is_below = below.as_ref().is_none_or(|below| is_below(address, below));
                let is_wanted =
                    is_kind && is_below && is_host(request.target.host().or_else(|| address.label()));
                if let Event::Intent { .. } = &record.event {
                    let intent = (*failed && is_wanted).then(|| record.clone());
                    self.open.insert(address.clone(), Open { is_wanted, intent });
                }
                is_wanted && !failed
            }
            Event::Output { address, .. } => {
                !failed && self.open.get(address).is_some_and(|open| open.is_wanted)
            }
            Event::Outcome { address, verdict, .. } => {
                let has_failed = matches!(verdict, Verdict::Failed | Verdict::Unreachable);
                if *failed && has_failed {
                    // Taken out of the list when its beginning is printed.
                    return self.open.get(address).is_some_and(|open| open.is_wanted);
                }
                self.open.remove(address).is_some_and(|open| open.is_wanted) && !failed
            }
            Event::BranchBegan { host, .. } => !concerns_effects && !failed && is_host(Some(host)),
            Event::BranchEnded { host, verdict, .. } => {
                let has_failed = matches!(verdict, Verdict::Failed | Verdict::Unreachable);
                !concerns_effects && (has_failed || !failed) && is_host(Some(host))
            }
            Event::Message { level, branch, .. } => {
                let place = Address::parse(branch.as_str());
                !concerns_effects && (!failed || *level == Level::Fail) && is_host(place.label())
            }
            Event::CleanedUp { failure, branch, .. } => {
                let place = Address::parse(branch.as_str());
                !concerns_effects && (!failed || failure.is_some()) && is_host(place.label())
            }
            Event::Ended { .. } | Event::Interrupted { .. } => !concerns_effects && host.is_none(),
            Event::Queued(_)
            | Event::Started(_)
            | Event::Resumed { .. }
            | Event::StepBegan { .. }
            | Event::StepEnded { .. }
            | Event::Deferred { .. }
            | Event::Lock { .. }
            | Event::Artifact { .. }
            | Event::CancelAsked { .. } => !concerns_effects && !failed && host.is_none(),
        }
    }

    /// Takes ready lines: those that match, with their time.
    fn take(&mut self, text: &str, at: Option<i64>) {
        let stamp = match at {
            Some(at) if self.options.timestamps && !self.out.json => {
                format!("{} ", self.out.data.dim(&when::local(at)))
            }
            Some(_) | None => String::new(),
        };
        if stamp.is_empty() && self.options.grep.is_none() {
            self.text.push_str(text);
            return;
        }
        for line in text.lines() {
            if self.options.grep.as_ref().is_none_or(|regex| regex.is_match(&plain(line))) {
                self.text.push_str(&stamp);
                self.text.push_str(line);
                self.text.push('\n');
            }
        }
    }

    fn say_lost(&mut self, what: &str) {
        if !self.lost {
            self.lost = true;
            self.out
                .always(&format!("{}: output is damaged or missing ({what})", self.out.words.red("error")));
        }
    }

    pub(crate) fn write(&mut self) {
        if !self.text.is_empty() {
            self.out.raw(self.text.as_bytes());
            self.text.clear();
        }
    }

    pub(crate) fn finish(&mut self) {
        let mut rest = String::new();
        self.lines.finish(&mut rest);
        self.take(&rest, None);
        self.write();
    }
}

/// Whether an address is the given one or stands below it: `4` holds `4[edge-2]/1`.
fn is_below(address: &Address, above: &Address) -> bool {
    let rest = address.as_str().strip_prefix(above.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '[']))
}

/// Takes colours off a line; every other escape was written out before.
fn plain(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut text, part| {
        text.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stand_below_each_other() {
        for (address, above, expected) in [
            ("4", "4", true),
            ("4[edge-2]/1", "4", true),
            ("4[edge-2]/1", "4[edge-2]", true),
            ("41", "4", false),
            ("4", "4[edge-2]", false),
        ] {
            assert_eq!(is_below(&Address::parse(address), &Address::parse(above)), expected, "{address}");
        }
    }

    #[test]
    fn colours_do_not_hide_words() {
        assert_eq!(plain("\u{1b}[2mlocalhost |\u{1b}[0m hello"), "localhost | hello");
    }
}
