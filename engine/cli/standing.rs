//! `schedule status|pause|resume|fates`: how schedules stand, here and at a server.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::cli::remote::Remote;
use crate::cli::table::{Cell, Table};
use crate::model::schedule::Cursor;
use crate::service::{ServiceError, stands};
use crate::store::StoreError;
use crate::world::clock;

/// What is asked about how schedules stand.
#[derive(Debug, Subcommand)]
pub(crate) enum StandingVerb {
    /// Show how schedules stand: next instant, last run and success, which are stale or stopped
    ///
    /// With --json, one object a schedule, as the API shows it.
    Status {
        /// Only those that are stale
        #[arg(long)]
        stale: bool,
    },
    /// Stop a schedule until somebody lets it go on
    Pause(Because),
    /// Let a schedule go on; nothing fires for the time in between
    Resume(Because),
    /// List what became of the instants of a schedule, the newest first
    ///
    /// With --json, one object a fate: `fate schedule at until count state reason run`.
    Fates {
        /// The schedule [default: all]
        schedule: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 50, value_name = "COUNT")]
        limit: usize,
    },
}

/// Which schedule, and why.
#[derive(Debug, Args)]
pub(crate) struct Because {
    /// The schedule
    schedule: String,
    /// Why, for those who come later
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(crate) fn standing(context: &Context, verb: &StandingVerb) -> Result<u8, Problem> {
    let project = context.project()?;
    let store = context.store(&project)?;
    let reader = store.reader()?;
    let schedules = project.schedules()?;
    match verb {
        StandingVerb::Status { stale } => {
            let all = stands(&reader, &schedules, None, 1, clock::now())?;
            let rows: Vec<Value> = all.into_iter().map(crate::server::schedule_json).collect();
            list(context, rows, *stale);
        }
        StandingVerb::Pause(because) | StandingVerb::Resume(because) => {
            let name = &because.schedule;
            let found = schedules.find(name);
            let found = found.ok_or_else(|| ServiceError::NoSchedule { name: name.clone() })?;
            let before = reader.cursor(name)?.map(|moved| moved.cursor);
            let now = clock::now();
            let cursor = before.clone().unwrap_or_else(|| Cursor::new(&found.schedule, now));
            let user = &context.place.person.user;
            let is_pause = matches!(verb, StandingVerb::Pause(_));
            let after = if is_pause {
                cursor.pause(now, format!("{user}: {}", because.reason))
            } else {
                cursor.resume(now)
            };
            if !store.move_cursor(name, before.as_ref(), &after, user, &because.reason)? {
                return Err(StoreError::Overtaken.into());
            }
            done(context, name, is_pause);
        }
        StandingVerb::Fates { schedule, limit } => {
            let found = reader.fates(schedule.as_deref(), None, *limit)?;
            let rows = found.into_iter().map(|fate| {
                json!({
                    "fate": fate.id, "schedule": fate.schedule, "at": crate::cli::when::utc(fate.instant),
                    "until": crate::cli::when::utc(fate.until), "count": fate.count, "state": fate.state,
                    "reason": fate.reason, "run": fate.run,
                })
            });
            fates(context, rows.collect());
        }
    }
    Ok(0)
}

/// Does the same at a server.
pub(crate) fn remotely(context: &Context, remote: &Remote, verb: &StandingVerb) -> Result<u8, Problem> {
    match verb {
        StandingVerb::Status { stale } => {
            list(context, crate::cli::remote::all(remote, "schedules", &[])?, *stale);
        }
        StandingVerb::Pause(because) | StandingVerb::Resume(because) => {
            let is_pause = matches!(verb, StandingVerb::Pause(_));
            let action = if is_pause { "pause" } else { "resume" };
            let body = json!({ "reason": because.reason });
            remote.send("POST", &["schedules", &because.schedule, action], &[], &body)?;
            done(context, &because.schedule, is_pause);
        }
        StandingVerb::Fates { schedule, limit } => {
            let limit = limit.to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(schedule.as_deref().map(|name| ("schedule", name)));
            let page: Value = remote.get(&["fates"], &query)?;
            fates(context, page["items"].as_array().cloned().unwrap_or_default());
        }
    }
    Ok(0)
}

fn done(context: &Context, name: &str, is_pause: bool) {
    let words = if is_pause { "stands still" } else { "goes on" };
    context.out.word(&format!("schedule `{name}` {words}"));
}

fn list(context: &Context, mut rows: Vec<Value>, stale: bool) {
    rows.retain(|row| !stale || !row["stale_since"].is_null());
    let out = &context.out;
    let mut table = Table::new(
        out,
        &["schedule", "runbook", "when", "zone", "next", "last", "last success", "state"],
        &[],
    );
    for row in &rows {
        if out.json {
            out.json(row);
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let minute = |value: &Value| {
            let at: Option<jiff::Timestamp> = value.as_str().and_then(|text| text.parse().ok());
            at.map(|at| crate::cli::when::minute(at.as_microsecond())).unwrap_or_default()
        };
        let state = if !row["stale_since"].is_null() {
            Cell::bad(format!("stale since {}", minute(&row["stale_since"])))
        } else if !row["paused"].is_null() {
            Cell::odd(format!("stands still: {}", text(&row["paused"]["why"])))
        } else if row["enabled"] == false {
            Cell::odd("off")
        } else if row["failures"].as_i64().is_some_and(|failures| failures > 0) {
            Cell::bad(format!("failed {} in a row", row["failures"]))
        } else {
            Cell::good("ok")
        };
        let last = match row["last"]["run"].as_i64() {
            Some(run) => format!("{run} {}", text(&row["last"]["status"])),
            None => String::new(),
        };
        table.row([
            Cell::new(text(&row["schedule"])),
            Cell::new(text(&row["runbook"])),
            Cell::new(text(&row["when"])),
            Cell::new(text(&row["tz"])),
            Cell::new(text(&row["next"][0]["local"])),
            Cell::new(last),
            Cell::new(minute(&row["last_success"]["at"])),
            state,
        ]);
    }
    if rows.is_empty() {
        out.word(if stale { "no schedule is stale" } else { "there are no schedules" });
    } else if !out.json {
        out.raw(table.text().as_bytes());
    }
}

fn fates(context: &Context, rows: Vec<Value>) {
    let out = &context.out;
    let mut table = Table::new(out, &["at", "schedule", "state", "count", "run", "reason"], &[3]);
    for row in &rows {
        if out.json {
            out.json(row);
            continue;
        }
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let state = text("state").replace('_', " ");
        table.row([
            Cell::new(text("at")),
            Cell::new(text("schedule")),
            if state == "run" { Cell::good(state) } else { Cell::odd(state) },
            Cell::new(row["count"].to_string()),
            Cell::new(row["run"].as_i64().map(|run| run.to_string()).unwrap_or_default()),
            Cell::new(text("reason")),
        ]);
    }
    if rows.is_empty() {
        out.word("there are none");
    } else if !out.json {
        out.raw(table.text().as_bytes());
    }
}
