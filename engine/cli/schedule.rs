//! `schedule`: when runs are due, and what would become of them.

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::cli::Context;
use crate::cli::check::count;
use crate::cli::problem::Problem;
use crate::cli::standing::{StandingVerb, standing};
use crate::cli::table::{Cell, Table};
use crate::model::diagnostic::Diagnostic;
use crate::model::duration;
use crate::model::nearest::did_you_mean;
use crate::model::schedule::{
    Cron, Definition, Dst, Limits, Recorded, Scenario, Simulation, When, Zone, blocked, lint, simulate, zone,
};
use crate::service::{Project, Schedules, ServiceError};
use crate::world::clock;

/// Show when runs are due and how schedules stand: list, preview, check, simulate, stop them and let them go on
///
/// Schedules are in schedules/*.yaml, calendars in calendars/*.yaml and calendars/*.ics. Nothing is started by any of these.
/// At a server (`--server`) `list` is `status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nlrun schedule list\n  nlrun schedule next certs-sync --count 3\n  \
    nlrun schedule next --cron '30 2 * * *' --tz Europe/Amsterdam --after 2027-03-27\n  nlrun schedule lint --strict\n  \
    nlrun schedule simulate --to +30d\n  nlrun schedule status --stale\n  nlrun schedule pause certs-sync --reason 'the registrar is down'")]
pub(crate) struct ScheduleOptions {
    #[command(subcommand)]
    verb: ScheduleVerb,
}

#[derive(Debug, Subcommand)]
enum ScheduleVerb {
    /// List schedules with their next instant
    ///
    /// With --json, one object a schedule: `id runbook when tz enabled next due blocked last_success stale_after file line`.
    List,
    /// Show the next instants of a schedule, or of an entry that is none yet
    ///
    /// With --json, one object an instant: `schedule scheduled_at due_at local moved blocked`.
    Next(NextOptions),
    /// Check schedules, their runbooks and parameters, and warn of what is probably not meant
    ///
    /// Ends with code 1 when there are errors. With --json, one finding a line, as `check` prints them.
    Lint {
        /// Let warnings count as errors
        #[arg(long)]
        strict: bool,
    },
    /// Show what would run, wait and be left out, from the durations of earlier runs
    ///
    /// Nothing but schedules is simulated, and every run succeeds. With --json, one object a line: `run`, `undelivered`,
    /// `moved` (clocks) and `blackout`, and `summary` at the end.
    Simulate(SimulateOptions),
    #[command(flatten)]
    Standing(StandingVerb),
}

impl ScheduleOptions {
    /// Returns what a server is asked for; `None` for what is worked out from the files here.
    pub(crate) fn at_server(&self) -> Option<&StandingVerb> {
        match &self.verb {
            ScheduleVerb::List => Some(&StandingVerb::Status { stale: false }),
            ScheduleVerb::Standing(verb) => Some(verb),
            ScheduleVerb::Next(_) | ScheduleVerb::Lint { .. } | ScheduleVerb::Simulate(_) => None,
        }
    }
}

#[derive(Debug, Args)]
struct NextOptions {
    /// The schedule
    #[arg(required_unless_present_any = ["cron", "every"], conflicts_with_all = ["cron", "every", "tz", "dst"])]
    schedule: Option<String>,
    /// A cron entry of five or six fields, instead of a schedule
    #[arg(long, value_name = "ENTRY", requires = "tz", conflicts_with = "every")]
    cron: Option<String>,
    /// A length of time, instead of a schedule
    #[arg(long, value_name = "LENGTH", requires = "tz")]
    every: Option<String>,
    /// The time zone of the entry
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// What the entry means on days on which the clock is moved: `wall` or `elapsed`
    #[arg(long, value_name = "MEANING", requires = "cron")]
    dst: Option<String>,
    /// The instant after which they are: a date with or without time in the zone, RFC 3339, or `+2d` [default: now]
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
    /// How many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
}

#[derive(Debug, Args)]
struct SimulateOptions {
    /// From when: a date with or without time in the zone, RFC 3339, or `+2d` from now [default: now]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until when
    #[arg(long, value_name = "TIME", default_value = "+7d")]
    to: String,
    /// The zone in which times are read and shown
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    /// How long a run takes of which the log knows nothing
    #[arg(long, value_name = "LENGTH", default_value = "1m")]
    assume: String,
    /// How many runs a queue has room for
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slots: u32,
}

pub(crate) fn schedule(context: &Context, options: &ScheduleOptions) -> Result<u8, Problem> {
    match &options.verb {
        ScheduleVerb::List => list(context),
        ScheduleVerb::Next(options) => next(context, options),
        ScheduleVerb::Lint { strict } => check(context, *strict),
        ScheduleVerb::Simulate(options) => play(context, options),
        ScheduleVerb::Standing(verb) => standing(context, verb),
    }
}

fn list(context: &Context) -> Result<u8, Problem> {
    let (out, now) = (&context.out, clock::now());
    let project = context.project()?;
    let Schedules { definitions, calendars, .. } = project.schedules()?;
    let mut table = Table::new(out, &["schedule", "runbook", "when", "zone", "next", "in"], &[]);
    for Definition { schedule, origin } in &definitions {
        let coming = schedule.upcoming(now).next();
        let block = coming.and_then(|(instant, _)| blocked(schedule, instant, &calendars));
        let block = block.map(|(reason, _)| reason.to_string());
        if out.json {
            out.json(&json!({
                "id": schedule.id, "runbook": schedule.runbook, "when": schedule.when, "tz": schedule.tz,
                "enabled": schedule.enabled, "next": coming.map(|(instant, _)| instant), "due": coming.map(|(_, due)| due),
                "blocked": block, "last_success": null, "stale_after": schedule.stale_after.map(duration::text),
                "file": origin.file, "line": origin.line(),
            }));
            continue;
        }
        let (at, distance) = match coming {
            Some((_, due)) => (Cell::new(local(&schedule.tz, due)), wait(now, due)),
            None if !schedule.enabled => (Cell::odd("off"), String::new()),
            None => (Cell::odd("over"), String::new()),
        };
        let distance = match block {
            Some(reason) => Cell::odd(format!("blocked: {reason}")),
            None => Cell::new(distance),
        };
        let cells = [&schedule.id, &schedule.runbook, &described(&schedule.when), schedule.tz.name()];
        table.row(cells.map(Cell::new).into_iter().chain([at, distance]));
    }
    if !out.json {
        if definitions.is_empty() {
            out.word("there are no schedules: write one in schedules/NAME.yaml");
        } else {
            out.raw(table.text().as_bytes());
        }
        let without = unscheduled(&project, &definitions);
        if !definitions.is_empty() && !without.is_empty() {
            out.word(&format!("runbooks without a schedule: {}", without.join(", ")));
        }
        out.word(&count(definitions.len(), "schedule"));
    }
    Ok(0)
}

/// Returns the names of the runbooks that no schedule runs.
fn unscheduled(project: &Project, definitions: &[Definition]) -> Vec<String> {
    let entry = |definition: &Definition| project.runbook(&definition.schedule.runbook, project.root()).ok();
    let scheduled: std::collections::BTreeSet<String> = definitions.iter().filter_map(entry).collect();
    let name = |path: &String| path.trim_start_matches("runbooks/").trim_end_matches(".rhai").to_owned();
    project.runbooks().iter().filter(|path| !scheduled.contains(*path)).map(name).collect()
}

/// Writes when a schedule fires as its file does.
fn described(when: &When) -> String {
    match when {
        When::Cron { cron, .. } => cron.to_string(),
        When::Every { every, .. } => format!("every {}", duration::text(*every)),
        When::At { at } if at.len() == 1 => "once".to_owned(),
        When::At { at } => format!("{} times", at.len()),
    }
}

fn local(tz: &Zone, at: Timestamp) -> String {
    at.to_zoned(tz.time_zone().clone()).strftime("%a %Y-%m-%d %H:%M:%S %:z").to_string()
}

/// Writes how far off an instant is, in one or two units.
fn wait(now: Timestamp, at: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs().max(0).unsigned_abs();
    let round = match seconds {
        0..=3_599 => seconds,
        3_600..=86_399 => seconds / 60 * 60,
        _ => seconds / 3_600 * 3_600,
    };
    duration::text(std::time::Duration::from_secs(round))
}

fn next(context: &Context, options: &NextOptions) -> Result<u8, Problem> {
    let out = &context.out;
    let read;
    let (definition, when, tz) = match &options.schedule {
        Some(name) => {
            read = context.project()?.schedules()?;
            let found = read.find(name);
            let definition = found.ok_or_else(|| {
                let names = read.definitions.iter().map(|definition| definition.schedule.id.as_str());
                let hint = did_you_mean(name, names)
                    .unwrap_or_else(|| "`nlrun schedule list` lists them".to_owned());
                Problem::usage(format!("there is no schedule `{name}`"), hint)
            })?;
            (Some((definition, &read.calendars)), None, definition.schedule.tz.clone())
        }
        None => {
            let tz = zone_of(options.tz.as_deref().unwrap_or_default())?;
            (None, Some(given(options, &tz)?), tz)
        }
    };
    let after = match &options.after {
        Some(text) => instant(text, &tz)?,
        None => clock::now(),
    };
    let mut at = after;
    let mut table = Table::new(out, &["local", "UTC", "note"], &[]);
    let mut shown = 0;
    for _ in 0..options.count {
        let instant = match (&definition, &when) {
            // What is switched off is shown as it would be.
            (Some((definition, _)), _) => definition.schedule.next(at),
            (None, Some(when)) => when.next(at),
            (None, None) => None,
        };
        let Some(instant) = instant else { break };
        at = instant;
        shown += 1;
        let due = definition.map_or(instant, |(definition, _)| definition.schedule.due(instant));
        let moved = moved(&tz, instant);
        let block =
            definition.and_then(|(definition, calendars)| blocked(&definition.schedule, instant, calendars));
        let block = block.map(|(reason, _)| reason.to_string());
        if out.json {
            out.json(&json!({
                "schedule": options.schedule, "scheduled_at": instant, "due_at": due,
                "local": due.to_zoned(tz.time_zone().clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
                "moved": moved, "blocked": block,
            }));
            continue;
        }
        let jitter = (due != instant).then(|| format!("jitter of {}", text_of(due.duration_since(instant))));
        let notes: Vec<String> =
            [block.map(|reason| format!("blocked: {reason}")), moved, jitter].into_iter().flatten().collect();
        table.row([Cell::new(local(&tz, due)), Cell::new(utc(due)), Cell::odd(notes.join(", "))]);
    }
    if !out.json && shown > 0 {
        out.raw(table.text().as_bytes());
    }
    if let Some((definition, _)) = definition.filter(|(definition, _)| !definition.schedule.enabled) {
        out.word(&format!("schedule `{}` is off: none of these will fire", definition.schedule.id));
    }
    if shown == 0 {
        out.word(&format!("nothing is due after {after}"));
    }
    Ok(0)
}

/// Reads what is to be previewed from the command line.
fn given(options: &NextOptions, tz: &Zone) -> Result<When, Problem> {
    if let Some(every) = &options.every {
        let every = length(every)?;
        if every < std::time::Duration::from_secs(1) {
            return Err(Problem::usage("`--every` is at least a second", None));
        }
        return Ok(When::Every { every, anchor: Timestamp::UNIX_EPOCH });
    }
    let text = options.cron.as_deref().unwrap_or_default();
    let dst = match options.dst.as_deref() {
        None => None,
        Some("wall") => Some(Dst::Wall),
        Some("elapsed") => Some(Dst::Elapsed),
        Some(other) => {
            return Err(Problem::usage(format!("`--dst` is `wall` or `elapsed`, not `{other}`"), None));
        }
    };
    let cron: Cron = text.parse().map_err(|error: crate::model::schedule::CronError| {
        let finding = Diagnostic::error("cron", error.to_string());
        let finding = finding.at("--cron", text, 1, error.column, error.length).maybe_hint(error.hint);
        Problem::Service(ServiceError::Check(vec![finding]))
    })?;
    Ok(When::cron(cron, tz.clone(), dst))
}

fn zone_of(name: &str) -> Result<Zone, Problem> {
    name.parse().map_err(|error: zone::ZoneError| {
        let hint = error.near.as_ref().map(|near| format!("did you mean `{near}`?"));
        Problem::usage(
            error.to_string(),
            hint.unwrap_or_else(|| "write a name such as `Europe/Amsterdam` or `UTC`".to_owned()),
        )
    })
}

fn length(text: &str) -> Result<std::time::Duration, Problem> {
    duration::parse(text).map_err(|error| Problem::usage(error.to_string(), None))
}

/// Reads an instant: of a zone, RFC 3339, `now`, or a length of time from now.
fn instant(text: &str, tz: &Zone) -> Result<Timestamp, Problem> {
    if text == "now" {
        return Ok(clock::now());
    }
    if let Some(ahead) = text.strip_prefix('+') {
        let ahead = SignedDuration::try_from(length(ahead)?).unwrap_or(SignedDuration::MAX);
        return clock::now().checked_add(ahead).map_err(|error| Problem::usage(error.to_string(), None));
    }
    tz.parse(text).ok_or_else(|| {
        let hint = "write `2027-03-27`, `2027-03-27 18:00`, RFC 3339 (`2027-03-27T17:00:00Z`) or `+2d`";
        Problem::usage(format!("`{text}` is no instant"), hint.to_owned())
    })
}

fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Writes a length of time to the second.
fn text_of(length: SignedDuration) -> String {
    duration::text(std::time::Duration::from_secs(length.as_secs().unsigned_abs()))
}

/// Says how the clock is moved on the day of an instant, when it is.
fn moved(tz: &Zone, at: Timestamp) -> Option<String> {
    let midnight = |day: jiff::civil::Date| tz.instant(day.to_datetime(jiff::civil::Time::midnight()));
    let day = tz.civil(at).date();
    let (from, until) = (midnight(day)?, midnight(day.tomorrow().ok()?)?);
    let (at, seconds) = tz.moves(from, until).first().copied()?;
    Some(shift(seconds, &tz.civil(at).strftime("%H:%M").to_string()))
}

/// Says how a clock is moved.
fn shift(seconds: i64, until: &str) -> String {
    let by = duration::text(std::time::Duration::from_secs(seconds.unsigned_abs()));
    format!("clock goes {} by {by} to {until}", if seconds > 0 { "forward" } else { "back" })
}

fn check(context: &Context, strict: bool) -> Result<u8, Problem> {
    let (project, out) = (context.project()?, &context.out);
    let (mut found, mut number) = (Vec::new(), 0);
    match project.schedules() {
        // A file that cannot be read is what this looks for.
        Err(ServiceError::Check(errors)) => found.extend(errors),
        Err(error) => return Err(error.into()),
        Ok(schedules) => {
            number = schedules.definitions.len();
            found.extend(project.look_at_schedules(&context.place, &schedules)?.findings);
            let recorded = recorded(context, &project, &schedules)?;
            found.extend(lint(&schedules.definitions, clock::now(), &schedules.calendars, &recorded));
        }
    }
    for diagnostic in &found {
        if out.json {
            out.json(diagnostic);
        } else if diagnostic.is_error() || strict || !out.quiet {
            out.diagnostic(diagnostic);
        }
    }
    let errors = found.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let warnings = found.len() - errors;
    if !out.json {
        out.word(&format!(
            "{}: {}, {}",
            count(number, "schedule"),
            count(errors, "error"),
            count(warnings, "warning")
        ));
    }
    Ok(u8::from(errors > 0 || (strict && warnings > 0)))
}

/// How long the runs of schedules take, by schedule.
type Durations = std::collections::BTreeMap<String, Recorded>;

/// Asks the run log how long runs take; where there is none yet, nothing is known and none is made.
fn recorded(context: &Context, project: &Project, schedules: &Schedules) -> Result<Durations, Problem> {
    if !project.state(context.common.state.as_deref(), &context.place.cwd).is_dir() {
        return Ok(Durations::new());
    }
    Ok(project.recorded(&context.store(project)?, schedules)?)
}

fn play(context: &Context, options: &SimulateOptions) -> Result<u8, Problem> {
    let (project, out) = (context.project()?, &context.out);
    let tz = zone_of(&options.tz)?;
    let from = options.from.as_ref().map_or_else(|| Ok(clock::now()), |text| instant(text, &tz))?;
    let until = instant(&options.to, &tz)?;
    if until <= from {
        return Err(Problem::usage(
            "a simulation ends after it begins",
            "`--to` is later than `--from`".to_owned(),
        ));
    }
    let schedules = project.schedules()?;
    let looked = project.look_at_schedules(&context.place, &schedules)?;
    for finding in &looked.findings {
        out.diagnostic(finding);
    }
    let recorded = recorded(context, &project, &schedules)?;
    let scenario = Scenario {
        schedules: schedules.definitions.iter().map(|definition| definition.schedule.clone()).collect(),
        durations: recorded.iter().map(|(id, recorded)| (id.clone(), recorded.typical)).collect(),
        assumed: length(&options.assume)?,
        locks: looked.locks,
        limits: Limits { default_slots: options.slots as usize, ..Limits::default() },
        calendars: schedules.calendars,
    };
    let simulation = simulate(&scenario, from, until);
    if out.json {
        print_json(context, &scenario, &simulation);
    } else {
        show(context, &scenario, &tz, &simulation);
    }
    Ok(0)
}

fn print_json(context: &Context, scenario: &Scenario, simulation: &Simulation) {
    let out = &context.out;
    for run in &simulation.runs {
        let mut value = json!(run);
        value["known"] = scenario.durations.contains_key(&run.schedule).into();
        out.json(&json!({ "run": value }));
    }
    for (schedule, row) in &simulation.undelivered {
        let mut value = json!(row);
        value["schedule"] = schedule.as_str().into();
        value["text"] = row.reason.to_string().into();
        out.json(&json!({ "undelivered": value }));
    }
    for moved in &simulation.moved {
        out.json(&json!({ "moved": moved }));
    }
    for blackout in &simulation.blackouts {
        out.json(&json!({ "blackout": blackout }));
    }
    out.json(&json!({ "summary": {
        "runs": simulation.runs.len(), "undelivered": simulation.undelivered.len(), "tzdata": zone::version(),
        "is_cut": simulation.is_cut,
    }}));
}

/// Shows everything in the order in which it happens.
fn show(context: &Context, scenario: &Scenario, tz: &Zone, simulation: &Simulation) {
    let out = &context.out;
    let mut rows: Vec<(Timestamp, [Cell; 4])> = Vec::new();
    for run in &simulation.runs {
        let length = text_of(run.ended_at.duration_since(run.started_at));
        let guess = if scenario.durations.contains_key(&run.schedule) { "" } else { "about " };
        let beside = (run.beside > 0).then(|| format!("beside {}", count(run.beside, "other")));
        let ended = run.is_cancelled.then(|| "ended by the next".to_owned());
        let waits = run.waiting().map(|wait| format!("after waiting {wait}"));
        let notes: Vec<String> = [waits, beside, ended].into_iter().flatten().collect();
        let cells = [
            Cell::new(local(tz, run.started_at)),
            Cell::new(&run.schedule),
            Cell::good(format!("runs {guess}{length}")),
            Cell::new(notes.join(", ")),
        ];
        rows.push((run.started_at, cells));
    }
    for (schedule, row) in &simulation.undelivered {
        let many = if row.count > 1 { format!(" {} times", row.count) } else { String::new() };
        let cells = [
            Cell::new(local(tz, row.first)),
            Cell::new(schedule),
            Cell::odd(format!("{}{many}", row.state)),
            Cell::new(row.reason.to_string()),
        ];
        rows.push((row.first, cells));
    }
    for moved in &simulation.moved {
        let there = moved.tz.parse::<Zone>().map(|zone| zone.civil(moved.at).strftime("%H:%M").to_string());
        let cells = [
            Cell::new(local(tz, moved.at)),
            Cell::new(""),
            Cell::odd("clock"),
            Cell::new(format!("{}: {}", moved.tz, shift(moved.seconds, &there.unwrap_or_default()))),
        ];
        rows.push((moved.at, cells));
    }
    for blackout in &simulation.blackouts {
        let what = if blackout.what.is_empty() { String::new() } else { format!(" ({})", blackout.what) };
        let cells = [
            Cell::new(local(tz, blackout.from)),
            Cell::new(""),
            Cell::odd("calendar"),
            Cell::new(format!("`{}`{what} until {}", blackout.calendar, local(tz, blackout.until))),
        ];
        rows.push((blackout.from, cells));
    }
    rows.sort_by_key(|(at, _)| *at);
    if !rows.is_empty() {
        let mut table = Table::new(out, &["at", "schedule", "what", "why"], &[]);
        for (_, cells) in rows {
            table.row(cells);
        }
        out.raw(table.text().as_bytes());
    }
    if simulation.is_cut {
        out.word("there is more: the simulation ends here");
    }
    let unknown = simulation.runs.iter().any(|run| !scenario.durations.contains_key(&run.schedule));
    if unknown {
        out.word(&format!(
            "`about`: no run is recorded, {} is assumed (`--assume`)",
            duration::text(scenario.assumed)
        ));
    }
    out.word(&format!(
        "{}, {} without",
        count(simulation.runs.len(), "run"),
        count(simulation.undelivered.iter().map(|(_, row)| row.count as usize).sum(), "instant")
    ));
}
