//! Runbooks: the list, and one with its form, its needs and how it went before.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::duration;
use crate::model::role::Caller;
use crate::model::run::RunId;
use crate::model::runbook::{Parameter, ParameterType};
use crate::server::App;
use crate::server::caller::{AtLeast, Viewer};
use crate::server::extract::{Path, Query};
use crate::server::page::{Html, render};
use crate::service::{Choices, Desk, Listed, ServiceError, Took, Went};

/// Runs that the trend shows.
const TREND: usize = 60;
/// Runs in the list of a runbook.
const LAST: usize = 15;

/// A runbook in the list.
#[derive(Debug, Serialize)]
struct Entry {
    runbook: String,
    doc: String,
    broken: Option<String>,
    schedules: Vec<String>,
    #[serde(flatten)]
    went: Went,
}

pub(super) async fn list(_: Viewer, State(app): State<App>) -> Html {
    let entries = app.look(|desk| {
        let entry = |listed: Listed| {
            Ok(Entry {
                doc: listed.header.summary().to_owned(),
                broken: broken(&listed),
                went: desk.went(&listed.path)?,
                schedules: listed.schedules,
                runbook: listed.path,
            })
        };
        desk.runbooks()?.into_iter().map(entry).collect::<Result<Vec<_>, ServiceError>>()
    });
    let entries = entries.await?;
    Ok(render::page("runbooks.html", json!({ "title": "Runbooks", "entries": entries })))
}

/// A run whose parameters the form begins with.
#[derive(Debug, Deserialize)]
pub(super) struct From {
    from: Option<i64>,
}

pub(super) async fn show(
    AtLeast(caller): Viewer,
    State(app): State<App>,
    Path(path): Path<String>,
    Query(From { from }): Query<From>,
) -> Html {
    let page = app.look(move |desk| look(desk, &caller, &path, from)).await?;
    Ok(render::page("runbook.html", page))
}

/// Says why the header of a runbook cannot be read, if it cannot.
fn broken(listed: &Listed) -> Option<String> {
    listed.findings.iter().find(|one| one.is_error()).map(|one| match one.line {
        0 => one.message.clone(),
        line => format!("line {line}: {}", one.message),
    })
}

fn look(desk: &Desk, caller: &Caller, name: &str, from: Option<i64>) -> Result<Value, ServiceError> {
    let listed = desk.runbook(name)?;
    let broken = broken(&listed);
    let Listed { path: runbook, header, schedules, .. } = listed;
    let refused = desk.may_run(&runbook, caller).err().map(|error| error.to_string());
    let given = match from {
        Some(run) => desk.params_of(RunId(run))?,
        None => Value::Null,
    };
    let runs = desk.runs_of(&runbook, LAST)?;
    let trend = Trend::of(&desk.lengths(&runbook, TREND)?);
    let choices = desk.choices()?;
    let fields: Vec<Field> = header.params.iter().map(|one| Field::new(one, &given, &choices)).collect();
    Ok(
        json!({ "title": runbook, "refused": refused, "runbook": runbook, "broken": broken, "doc": header.doc, "fields": fields, "from": from, "runs": runs, "trend": trend, "schedules": schedules, "needs": header.needs.as_ref().map(|needs| needs.iter().map(ToString::to_string).collect::<Vec<_>>()), "limits": json!({ "timeout": duration::text(header.limits.timeout), "locks": header.limits.locks, "max_hosts": header.limits.max_hosts }), "can_edit_here": runbook.starts_with("runbooks/") }),
    )
}

/// One field of the form.
#[derive(Debug, Serialize)]
struct Field {
    name: String,
    #[serde(rename = "type")]
    ty: ParameterType,
    doc: String,
    required: bool,
    /// What stands in it at first, as text.
    value: String,
    /// What it is when nothing is given.
    default: Option<String>,
    options: Vec<String>,
    pattern: Option<String>,
    min: Option<f64>,
    max: Option<f64>,
    group: Option<String>,
}

impl Field {
    fn new(parameter: &Parameter, given: &Value, choices: &Choices) -> Self {
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            // Bound hosts are an array of names, which is a pattern with commas.
            Value::Array(all) if parameter.ty == ParameterType::Hosts => {
                all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        let in_group = |groups: &[String]| {
            parameter.group.as_ref().is_none_or(|wanted| groups.iter().any(|group| group == wanted))
        };
        let hosts =
            || choices.hosts.iter().filter(|(_, groups)| in_group(groups)).map(|(host, _)| host.clone());
        let options = match parameter.ty {
            ParameterType::Choice => parameter.choices.clone(),
            _ if !parameter.choices.is_empty() => parameter.choices.clone(),
            ParameterType::Host => hosts().collect(),
            ParameterType::Hosts => {
                choices.groups.iter().map(|group| format!("@{group}")).chain(hosts()).collect()
            }
            ParameterType::Group => choices.groups.clone(),
            ParameterType::Secret => choices.secrets.clone(),
            ParameterType::String
            | ParameterType::Int
            | ParameterType::Number
            | ParameterType::Bool
            | ParameterType::Json
            | ParameterType::Duration => Vec::new(),
        };
        let default = parameter.default.as_ref().map(text);
        Self {
            name: parameter.name.clone(),
            ty: parameter.ty,
            doc: parameter.doc.clone(),
            required: parameter.required,
            value: given.get(&parameter.name).map(text).or_else(|| default.clone()).unwrap_or_default(),
            default,
            options,
            pattern: parameter.pattern.clone(),
            min: parameter.min,
            max: parameter.max,
            group: parameter.group.clone(),
        }
    }
}

/// How long runs took, as a plot: everything is in its own units, 0 to 600 across and 0 to 160 down.
#[derive(Debug, Serialize)]
struct Trend {
    points: Vec<Point>,
    line: String,
    /// Lines across with their words: height and text.
    ticks: Vec<(f64, String)>,
    first: i64,
    last: i64,
    typical: String,
}

#[derive(Debug, Serialize)]
struct Point {
    x: f64,
    y: f64,
    run: i64,
    status: String,
    took: i64,
    at: i64,
}

impl Trend {
    const LEFT: f64 = 56.0;
    const RIGHT: f64 = 590.0;
    const TOP: f64 = 12.0;
    const BOTTOM: f64 = 136.0;

    /// Places the runs; fewer than two make no trend.
    fn of(took: &[Took]) -> Option<Self> {
        let (first, last) = (took.first()?, took.last()?);
        if took.len() < 2 {
            return None;
        }
        let step = step(took.iter().map(|one| one.ms).max().unwrap_or(1));
        let most = took.iter().map(|one| one.ms).max().unwrap_or(1);
        let top = ((most + step - 1) / step * step).max(step);
        let height = |ms: i64| Self::BOTTOM - (Self::BOTTOM - Self::TOP) * ms as f64 / top as f64;
        let across = |index: usize| {
            let share = index as f64 / (took.len() - 1) as f64;
            Self::LEFT + 8.0 + (Self::RIGHT - Self::LEFT - 16.0) * share
        };
        let round = |number: f64| (number * 10.0).round() / 10.0;
        let points: Vec<Point> = took
            .iter()
            .enumerate()
            .map(|(index, one)| Point {
                x: round(across(index)),
                y: round(height(one.ms)),
                run: one.run.0,
                status: one.status.as_str().to_owned(),
                took: one.ms,
                at: one.at,
            })
            .collect();
        let line: Vec<String> = points.iter().map(|point| format!("{},{}", point.x, point.y)).collect();
        let text = |ms: i64| {
            if ms < 1000 && ms > 0 {
                format!("{ms} ms")
            } else {
                duration::text(std::time::Duration::from_millis(ms.unsigned_abs()))
            }
        };
        let ticks =
            (0..=top / step).map(|number| (round(height(number * step)), text(number * step))).collect();
        let mut sorted: Vec<i64> = took.iter().map(|one| one.ms).collect();
        sorted.sort_unstable();
        let typical = text(sorted[sorted.len() / 2]);
        Some(Self { line: line.join(" "), points, ticks, first: first.at, last: last.at, typical })
    }
}

/// Returns a round distance between the lines of a plot, in milliseconds, so that there are two to five of them.
fn step(most: i64) -> i64 {
    const STEPS: [i64; 26] = [
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000,
        300_000, 600_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 43_200_000, 86_400_000,
    ];
    STEPS.into_iter().find(|step| most <= step * 4).unwrap_or(most / 4 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::Status;

    #[test]
    fn a_trend_lies_within_its_frame_and_its_lines_are_round() {
        let took = |ms: i64| Took { run: RunId(ms), status: Status::Done, at: ms, ms };
        assert!(Trend::of(&[took(1)]).is_none());
        for lengths in [vec![0, 0], vec![850, 1200, 3], vec![90_000, 400_000, 200_000]] {
            let trend = Trend::of(&lengths.iter().map(|ms| took(*ms)).collect::<Vec<_>>()).unwrap();
            assert!((2..=6).contains(&trend.ticks.len()), "{:?}", trend.ticks);
            for point in &trend.points {
                assert!((Trend::LEFT..=Trend::RIGHT).contains(&point.x), "{point:?}");
                assert!((Trend::TOP..=Trend::BOTTOM).contains(&point.y), "{point:?}");
            }
        }
        let trend = Trend::of(&[took(90_000), took(400_000)]).unwrap();
        assert_eq!(trend.ticks.last().unwrap().1, "8m");
        assert_eq!(trend.typical, "6m40s");
    }
}
