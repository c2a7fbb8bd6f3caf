//! The list of runs: what goes on and waits on top, then what was, filtered and in pages.

use axum::extract::State;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::model::run::{RunId, Status};
use crate::server::App;
use crate::server::caller::Viewer;
use crate::server::extract::Query;
use crate::server::page::{Html, render};
use crate::server::problem::Failure;
use crate::store::{Filter, Hit};
use crate::world::clock;

/// Runs on one page.
const PAGE: usize = 50;
/// The most pieces of output that a search looks through.
const HITS: usize = 300;

/// What the form above the list says.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Asked {
    runbook: String,
    host: String,
    status: String,
    since: String,
    until: String,
    q: String,
    before: Option<i64>,
}

impl Asked {
    fn is_plain(&self) -> bool {
        [&self.runbook, &self.host, &self.status, &self.since, &self.until, &self.q]
            .iter()
            .all(|text| text.is_empty())
    }

    fn filter(&self) -> Result<Filter, Failure> {
        let given = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let status = match self.status.as_str() {
            "" => Vec::new(),
            // One word for everything that somebody should look at.
            "bad" => vec![
                Status::Failed,
                Status::Partial,
                Status::Stopped,
                Status::TimedOut,
                Status::InDoubt,
                Status::Interrupted,
            ],
            word => vec![
                Status::parse(word)
                    .ok_or_else(|| Failure::invalid(format!("`{word}` is no status of a run")))?,
            ],
        };
        Ok(Filter {
            runbook: given(&self.runbook),
            host: given(&self.host),
            status,
            since: time(&self.since)?,
            until: time(&self.until)?,
            before: self.before.map(RunId),
            limit: PAGE,
        })
    }

    /// Returns the address of the next page.
    fn next(&self, before: RunId) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("runbook", &self.runbook),
            ("host", &self.host),
            ("status", &self.status),
            ("since", &self.since),
            ("until", &self.until),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.append_pair("before", &before.to_string());
        format!("/runs?{}", query.finish())
    }
}

/// Reads a time as people write it: `2h`, `3d`, a date, a date with a time of day in UTC, or RFC 3339.
fn time(text: &str) -> Result<Option<i64>, Failure> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(ago) = crate::model::duration::parse(text) {
        let ago = SignedDuration::try_from(ago).unwrap_or(SignedDuration::ZERO);
        return Ok(clock::now().checked_sub(ago).ok().map(Timestamp::as_microsecond));
    }
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let civil: DateTime = text.replace(' ', "T").parse().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    });
    let wrong = || {
        Failure::invalid(format!(
            "`{text}` is no time such as `2h`, `3d`, `2027-01-31` or `2027-01-31 03:00`"
        ))
    };
    at.map(|at| Some(at.as_microsecond())).ok_or_else(wrong)
}

pub(super) async fn list(_: Viewer, State(app): State<App>, Query(asked): Query<Asked>) -> Html {
    let filter = asked.filter()?;
    let is_first = asked.before.is_none() && asked.is_plain();
    let words = asked.q.trim().to_owned();
    let (present, lines, hits) = app
        .look(move |desk| {
            let present = if is_first { Some(desk.present()?) } else { None };
            if words.is_empty() {
                return Ok((present, desk.lines(&filter)?, Vec::new()));
            }
            let hits = desk.store().search(&words, None, HITS)?;
            let mut runs: Vec<RunId> = hits.iter().map(|hit| hit.run).collect();
            runs.dedup();
            let fits = |run: &RunId| -> Result<bool, crate::service::ServiceError> {
                // The other conditions count as well: one run at a time, as few were found.
                let one = Filter { before: Some(RunId(run.0 + 1)), limit: 1, ..filter.clone() };
                Ok(desk.lines(&one)?.first().is_some_and(|line| line.run == *run))
            };
            let mut lines = Vec::new();
            for run in runs.into_iter().take(PAGE) {
                if fits(&run)? {
                    lines.push(desk.line_of(run)?);
                }
            }
            Ok((present, lines, hits))
        })
        .await?;
    let next = match lines.last() {
        Some(last) if lines.len() == PAGE && asked.q.trim().is_empty() => Some(asked.next(last.run)),
        _ => None,
    };
    let shown: Vec<Found> = lines
        .into_iter()
        .map(|line| {
            let of_run = hits.iter().filter(|hit: &&Hit| hit.run == line.run);
            let lines = of_run.flat_map(|hit| hit.lines.iter().cloned()).take(3).collect();
            Found { line, lines }
        })
        .collect();
    let statuses: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
    let page = json!({ "title": "Runs", "present": present, "runs": shown, "next": next, "asked": asked, "statuses": statuses, "is_first": is_first });
    Ok(render::page("runs.html", page))
}

/// A run with the lines of output that a search has found in it.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    line: crate::service::Line,
    lines: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(time("").unwrap(), None);
        let at = "2027-01-31T00:00:00Z".parse::<Timestamp>().unwrap().as_microsecond();
        for text in ["2027-01-31", "2027-01-31 00:00", "2027-01-31T00:00:00Z", " 2027-01-31T01:00:00+01:00 "]
        {
            assert_eq!(time(text).unwrap(), Some(at), "{text}");
        }
        let ago = time("2h").unwrap().unwrap();
        assert!((clock::now().as_microsecond() - ago - 7_200_000_000).abs() < 60_000_000);
        assert!(time("soon").is_err());
    }
}
