//! `--junit`: a run as a test report for CI, one case an effect, a check or a host.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::cli::view::Seen;
use crate::model::event::{Event, Level, Request, Verdict};
use crate::service::Finished;

/// Writes the report.
pub(crate) fn report(seen: &Seen, finished: &Finished) -> String {
    let mut requests: HashMap<&str, &Request> = HashMap::new();
    let mut cases = String::new();
    let (mut count, mut failures, mut skipped) = (0, 0, 0);
    for event in &seen.events {
        match event {
            Event::Intent { address, request, .. } => {
                requests.insert(address.as_str(), request);
            }
            Event::Outcome { address, verdict, failure, ms, .. } => {
                let Some(request) = requests.remove(address.as_str()) else { continue };
                let name = format!("{address} {} {}", request.effect, request.target);
                count += 1;
                let inner = failure.as_ref().map(|failure| {
                    failures += 1;
                    let place = failure.site.as_ref().map(ToString::to_string).unwrap_or_default();
                    format!(
                        "<failure type=\"{}\" message=\"{}\">{}</failure>",
                        escape(&failure.kind),
                        escape(&failure.message),
                        escape(&place)
                    )
                });
                case(&mut cases, &seen.summary.runbook, &name, *ms, inner.as_deref());
                let _ = verdict;
            }
            Event::BranchEnded { host, verdict: Verdict::Skipped, reason, .. } => {
                count += 1;
                skipped += 1;
                let inner =
                    format!("<skipped message=\"{}\"/>", escape(reason.as_deref().unwrap_or_default()));
                case(&mut cases, &seen.summary.runbook, host, 0, Some(&inner));
            }
            Event::Message { level: Level::Fail, text, .. } => {
                count += 1;
                failures += 1;
                let inner = format!("<failure type=\"check\" message=\"{}\"/>", escape(text));
                case(&mut cases, &seen.summary.runbook, text, 0, Some(&inner));
            }
            _ => {}
        }
    }
    let error = finished.ending.error.as_ref().filter(|_| failures == 0);
    if let Some(error) = error {
        count += 1;
        failures += 1;
        let place = format!("{}:{}:{}", error.file, error.line, error.column);
        let inner = format!(
            "<failure type=\"{}\" message=\"{}\">{}</failure>",
            escape(error.code.as_ref()),
            escape(&error.message),
            escape(&place)
        );
        case(&mut cases, &seen.summary.runbook, "the run", 0, Some(&inner));
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"{}\" tests=\"{count}\" \
         failures=\"{failures}\" skipped=\"{skipped}\" id=\"{}\">\n{cases}</testsuite>\n</testsuites>\n",
        escape(&seen.summary.runbook),
        finished.run,
    )
}

fn case(cases: &mut String, runbook: &str, name: &str, ms: u64, inner: Option<&str>) {
    let time = ms as f64 / 1000.0;
    let head =
        format!("<testcase classname=\"{}\" name=\"{}\" time=\"{time:.3}\"", escape(runbook), escape(name));
    let _ = match inner {
        Some(inner) => writeln!(cases, "{head}>{inner}</testcase>"),
        None => writeln!(cases, "{head}/>"),
    };
}

/// Escapes text for XML 1.0, which cannot hold most control characters at all.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push(c),
            c if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_break_out_of_the_report() {
        assert_eq!(escape("a<b>&\"\u{1b}[31m\n"), "a&lt;b&gt;&amp;&quot;\u{fffd}[31m&#10;");
    }
}
