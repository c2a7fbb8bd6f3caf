//! Events as lines: one an effect when it ends, one a line of output, one a message. `log` prints the same lines.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::diagnostic::safe;
use crate::cli::style::Style;
use crate::model::address::Address;
use crate::model::effect::Kind;
use crate::model::event::{Event, Level, Request, Verdict};
use crate::store::Record;

/// Turns events into lines; remembers what an outcome belongs to, and lines of output that have not ended.
pub(crate) struct Lines {
    style: Style,
    verbose: u8,
    shows_reads: bool,
    /// Whether steps are sections of a log that GitLab shows.
    sections: bool,
    /// The sections that are open, by the name of their step, and how many there were.
    open: (Vec<(String, u64)>, u64),
    requests: HashMap<Address, Request>,
    partial: HashMap<(Address, String), Vec<u8>>,
}

/// A line of output longer than this is shown in pieces: the screen is not the place for 10 MB.
const LONGEST: usize = 64 * 1024;

impl Lines {
    /// `shows_reads` is for output of commands that only look: the log has it, but a run that is watched is about
    /// what the script says and what it changes.
    pub(crate) fn new(style: Style, verbose: u8, shows_reads: bool) -> Self {
        Self {
            style,
            verbose,
            shows_reads,
            sections: false,
            open: (Vec::new(), 0),
            requests: HashMap::new(),
            partial: HashMap::new(),
        }
    }

    /// Lets steps be sections of a log that GitLab shows.
    pub(crate) fn with_sections(self, sections: bool) -> Self {
        Self { sections, ..self }
    }

    /// Appends the lines of one event.
    pub(crate) fn add(&mut self, record: &Record, text: &mut String) {
        let style = self.style;
        match &record.event {
            Event::Intent { address, request, .. } => {
                self.requests.insert(address.clone(), request.as_ref().clone());
            }
            Event::Outcome { address, verdict, failure, ms, diff, .. } => {
                self.flush(address, text);
                let Some(request) = self.requests.remove(address) else { return };
                // A read that went well says nothing by itself; its output does.
                if request.kind == Kind::Read && failure.is_none() && self.verbose == 0 {
                    return;
                }
                let word = style.verdict(*verdict, &format!("{:<11}", verdict.as_str()));
                let _ = write!(text, "{word} {} {}", request.effect, safe(&request.target.to_string()));
                if let Some(about) = request.about() {
                    let _ = write!(text, " {}", style.dim(&safe(&about)));
                }
                if *ms >= 1000 || self.verbose > 0 {
                    let _ = write!(text, " {}", style.dim(&crate::cli::view::seconds(*ms as i64)));
                }
                text.push('\n');
                if let Some(failure) = failure {
                    let _ = writeln!(text, "            {}", style.red(&safe(&failure.message)));
                }
                if let Some(diff) = diff {
                    text.push_str(&style.diff(diff));
                }
            }
            Event::Forecast { address, request, changes, diff, .. } => {
                let verdict = if *changes { Verdict::Changed } else { Verdict::Ok };
                let word = match (request.kind, changes) {
                    (Kind::Act, _) => "act",
                    (_, true) => "ensure",
                    (_, false) => "unchanged",
                };
                let word = style.verdict(verdict, &format!("{word:<11}"));
                let _ = write!(
                    text,
                    "{word} {address:<6} {} {}",
                    request.effect,
                    safe(&request.target.to_string())
                );
                if let Some(about) = request.about() {
                    let _ = write!(text, " {}", style.dim(&safe(&about)));
                }
                text.push('\n');
                if let Some(diff) = diff {
                    text.push_str(&style.diff(diff));
                }
            }
            Event::Output { address, stream, .. } => {
                let is_read = self.requests.get(address).is_some_and(|request| request.kind == Kind::Read);
                if let Some(passing) = &record.passing
                    && (self.shows_reads || !is_read)
                {
                    self.output(address, stream, &passing.bytes(), text);
                }
            }
            Event::StepBegan { name, branch, .. } if self.sections && branch.is_root() => {
                self.open.1 += 1;
                let number = self.open.1;
                self.open.0.push((name.clone(), number));
                // Two at once would end in each other: those of a fan-out are lines.
                let _ = writeln!(
                    text,
                    "\u{1b}[0Ksection_start:{}:nlrun_{number}\r\u{1b}[0K{}",
                    record.at / 1_000_000,
                    style.bold(&format!("step {}", safe(name)))
                );
            }
            Event::StepEnded { name, branch, .. } if self.sections && branch.is_root() => {
                let place = self.open.0.iter().rposition(|(open, _)| open == name);
                for (_, number) in place.map(|place| self.open.0.split_off(place)).into_iter().flatten().rev()
                {
                    let _ = writeln!(
                        text,
                        "\u{1b}[0Ksection_end:{}:nlrun_{number}\r\u{1b}[0K",
                        record.at / 1_000_000
                    );
                }
            }
            Event::StepBegan { name, branch, .. } => {
                let place = if branch.is_root() { String::new() } else { format!(" {branch}") };
                let _ =
                    writeln!(text, "{}{}", style.bold(&format!("step {}", safe(name))), style.dim(&place));
            }
            Event::Message { level, text: message, branch, .. } => {
                let host = Address::parse(branch.as_str());
                let host = host.label().map(|host| format!("{host} | ")).unwrap_or_default();
                let word = match level {
                    Level::Info => String::new(),
                    Level::Warn => style.yellow("warning: "),
                    Level::Fail => style.red("check failed: "),
                };
                for line in message.lines() {
                    let _ = writeln!(text, "{}{word}{}", style.dim(&host), safe(line));
                }
            }
            Event::BranchEnded { host, verdict, reason, .. } => {
                // What went well was already shown, effect by effect.
                if !matches!(verdict, Verdict::Ok | Verdict::Changed) || self.verbose > 0 {
                    let word = style.verdict(*verdict, &format!("{:<11}", verdict.as_str()));
                    let reason =
                        reason.as_ref().map(|reason| format!(": {}", safe(reason))).unwrap_or_default();
                    let _ = writeln!(text, "{word} {host}{reason}");
                }
            }
            Event::CleanedUp { failure, site, .. } => {
                let place = site.as_ref().map(ToString::to_string).unwrap_or_default();
                let _ = match failure {
                    None => writeln!(text, "{}", style.dim(&format!("cleaned up ({place})"))),
                    Some(failure) => {
                        writeln!(text, "{} ({place}): {}", style.red("clean-up failed"), safe(failure))
                    }
                };
            }
            Event::CancelAsked { by, now } => {
                let how = if *now { "now" } else { "after its clean-up" };
                let _ = writeln!(text, "{}", style.yellow(&format!("{} ends the run {how}", safe(by))));
            }
            Event::Resumed { by, .. } => {
                let _ = writeln!(text, "{}", style.cyan(&format!("resumed by {}", safe(by))));
            }
            Event::Interrupted { reason } => {
                let _ = writeln!(text, "{}", style.yellow(&format!("interrupted: {}", safe(reason))));
            }
            Event::Artifact { name, chunk, .. } => {
                let _ =
                    writeln!(text, "{}", style.dim(&format!("kept {} ({} bytes)", safe(name), chunk.bytes)));
            }
            Event::Queued(_)
            | Event::Started(_)
            | Event::StepEnded { .. }
            | Event::BranchBegan { .. }
            | Event::Deferred { .. }
            | Event::Lock { .. }
            | Event::Ended { .. } => {}
        }
    }

    /// Appends the whole lines of a piece of output and keeps the rest.
    pub(crate) fn output(&mut self, address: &Address, stream: &str, bytes: &[u8], text: &mut String) {
        let key = (address.clone(), stream.to_owned());
        let mut pending = self.partial.remove(&key).unwrap_or_default();
        pending.extend_from_slice(bytes);
        let mut rest = pending.as_slice();
        while let Some(end) =
            rest.iter().position(|byte| *byte == b'\n').or((rest.len() > LONGEST).then_some(LONGEST))
        {
            self.line(address, stream, &rest[..end], text);
            rest = &rest[end + usize::from(rest[end] == b'\n')..];
        }
        if !rest.is_empty() {
            self.partial.insert(key, rest.to_vec());
        }
    }

    fn line(&self, address: &Address, stream: &str, line: &[u8], text: &mut String) {
        let request = self.requests.get(address);
        let host = request.and_then(|request| request.target.host()).or(address.label()).unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let line = safe(line.trim_end_matches('\r'));
        let mark = if stream == "err" { "!" } else { "|" };
        let _ = writeln!(text, "{} {line}", self.style.dim(&format!("{host} {mark}")));
    }

    fn flush(&mut self, address: &Address, text: &mut String) {
        for stream in ["out", "err"] {
            if let Some(line) = self.partial.remove(&(address.clone(), stream.to_owned())) {
                self.line(address, stream, &line, text);
            }
        }
    }

    /// Forgets an effect that was not shown.
    pub(crate) fn forget(&mut self, address: &Address) {
        self.requests.remove(address);
    }

    /// Appends lines that never ended.
    pub(crate) fn finish(&mut self, text: &mut String) {
        let mut open: Vec<(Address, String)> = self.partial.keys().cloned().collect();
        open.sort();
        for (address, stream) in open {
            let line = self.partial.remove(&(address.clone(), stream.clone())).unwrap_or_default();
            self.line(&address, &stream, &line, text);
        }
    }
}

/// Writes a record as one JSON object; output is part of it.
pub(crate) fn record_json(record: &Record) -> String {
    let at = jiff::Timestamp::from_microsecond(record.at).map(|at| at.to_string()).unwrap_or_default();
    let body = record.body.strip_prefix('{').unwrap_or_default();
    let mut line = format!("{{\"run\":{},\"seq\":{},\"at\":\"{at}\",{body}", record.run, record.seq.0);
    if let (Event::Output { .. }, Some(passing)) = (&record.event, &record.passing) {
        line.pop();
        let bytes = passing.bytes();
        match std::str::from_utf8(&bytes) {
            Ok(text) => {
                let _ = write!(line, ",\"text\":{}}}", Value::String(text.to_owned()));
            }
            Err(_) => {
                use base64::Engine as _;
                let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
                let _ = write!(line, ",\"base64\":\"{encoded}\"}}");
            }
        }
    }
    line
}
