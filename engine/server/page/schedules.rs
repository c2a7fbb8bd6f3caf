//! Schedules: the list, one with its cursor, and the calendar of what was and what comes.

use axum::extract::State;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::server::App;
use crate::server::caller::Viewer;
use crate::server::extract::{Path, Query};
use crate::server::page::{Html, render};
use crate::server::problem::Failure;
use crate::service::{Calendar, Desk, Mark};
use crate::world::clock;

/// Instants to come on the page of a schedule.
const UPCOMING: usize = 12;
/// What became of instants on the page of a schedule.
const FATES: usize = 50;

pub(super) async fn list(_: Viewer, State(app): State<App>) -> Html {
    let table = app.look(Desk::timetable).await?;
    let values = json!({ "title": "Schedules", "schedules": table.schedules, "trouble": table.trouble });
    Ok(render::page("schedules.html", values))
}

/// Rows before this one.
#[derive(Debug, Deserialize)]
pub(super) struct Before {
    before: Option<i64>,
}

pub(super) async fn show(
    _: Viewer,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(Before { before }): Query<Before>,
) -> Html {
    let wanted = id.clone();
    let (schedule, fates) = app
        .look(move |desk| {
            let schedule = desk.schedule_of(&wanted, UPCOMING)?;
            let fates = desk.read::<_, crate::service::ServiceError>(|reader| {
                Ok(reader.fates(Some(&wanted), before, FATES)?)
            })?;
            Ok((schedule, fates))
        })
        .await?;
    let next = (fates.len() == FATES).then(|| fates.last().map(|fate| fate.id)).flatten();
    let page =
        json!({ "title": format!("Schedule {id}"), "schedule": schedule, "fates": fates, "next": next });
    Ok(render::page("schedule.html", page))
}

/// Which days.
#[derive(Debug, Deserialize)]
pub(super) struct Days {
    /// Any day of the month or week.
    day: Option<String>,
    /// `week` or `month`.
    #[serde(default)]
    view: String,
    /// A zone, such as the reader's.
    tz: Option<String>,
}

/// A day of a calendar.
#[derive(Debug, Serialize)]
struct Day {
    date: String,
    number: i8,
    weekday: &'static str,
    is_today: bool,
    is_other: bool,
    marks: Vec<Entry>,
    /// How many more there are.
    more: usize,
}

/// A mark with the time on the clock of the reader.
#[derive(Debug, Serialize)]
struct Entry {
    #[serde(flatten)]
    mark: Mark,
    clock: String,
}

pub(super) async fn calendar(_: Viewer, State(app): State<App>, Query(days): Query<Days>) -> Html {
    let name = days.tz.unwrap_or_else(|| "UTC".to_owned());
    let zone =
        TimeZone::get(&name).map_err(|_| Failure::invalid(format!("there is no time zone `{name}`")))?;
    let today = clock::now().to_zoned(zone.clone()).date();
    let day = match days.day.filter(|day| !day.is_empty()) {
        Some(text) => text
            .parse::<Date>()
            .map_err(|_| Failure::invalid(format!("`{text}` is no date such as 2027-01-31")))?,
        None => today,
    };
    let is_week = days.view == "week";
    let span = Frame::of(day, is_week).ok_or_else(|| Failure::invalid("that day is out of reach"))?;
    let begin = |date: Date| date.to_zoned(zone.clone()).map(|zoned| zoned.timestamp());
    let out_of_reach = |_| Failure::invalid("that day is out of reach");
    let mut all: Vec<Day> = Vec::new();
    let mut days: Vec<(Timestamp, Timestamp)> = Vec::new();
    let mut date = span.first;
    while date < span.end {
        let next = date.tomorrow().map_err(out_of_reach)?;
        days.push((begin(date).map_err(out_of_reach)?, begin(next).map_err(out_of_reach)?));
        all.push(Day {
            date: date.to_string(),
            number: date.day(),
            weekday: weekday(date.weekday()),
            is_today: date == today,
            is_other: !is_week && date.month() != day.month(),
            marks: Vec::new(),
            more: 0,
        });
        date = next;
    }
    let most = if is_week { 60 } else { 8 };
    let Calendar { days, frequent } = app.look(move |desk| desk.calendar(&days, most)).await?;
    for (day, marks) in all.iter_mut().zip(days) {
        day.more = marks.len().saturating_sub(most);
        for mark in marks.into_iter().take(most) {
            let Ok(at) = Timestamp::from_microsecond(mark.at) else { continue };
            let clock = at.to_zoned(zone.clone()).strftime("%H:%M").to_string();
            day.marks.push(Entry { mark, clock });
        }
    }
    let weeks: Vec<&[Day]> = all.chunks(7).collect();
    let heading = if is_week { format!("Week of {}", span.first) } else { day.strftime("%B %Y").to_string() };
    let page = json!({ "title": "Calendar", "heading": heading, "weeks": weeks, "frequent": frequent, "zone": name, "is_week": is_week, "day": day.to_string(), "today": today.to_string(), "before": span.before.to_string(), "after": span.after.to_string() });
    Ok(render::page("calendar.html", page))
}

/// The days that a calendar shows: whole weeks from Monday on.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    first: Date,
    end: Date,
    before: Date,
    after: Date,
}

impl Frame {
    fn of(day: Date, is_week: bool) -> Option<Self> {
        let monday = |date: Date| {
            let back = i64::from(date.weekday().to_monday_zero_offset());
            date.checked_sub(Span::new().days(back)).ok()
        };
        if is_week {
            let first = monday(day)?;
            let week = Span::new().days(7);
            return Some(Self {
                first,
                end: first.checked_add(week).ok()?,
                before: day.checked_sub(week).ok()?,
                after: day.checked_add(week).ok()?,
            });
        }
        let first = monday(day.first_of_month())?;
        let last = monday(day.last_of_month())?;
        Some(Self {
            first,
            end: last.checked_add(Span::new().days(7)).ok()?,
            before: day.first_of_month().yesterday().ok()?,
            after: day.last_of_month().tomorrow().ok()?,
        })
    }
}

fn weekday(day: Weekday) -> &'static str {
    ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][day.to_monday_zero_offset() as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_shown_in_whole_weeks() {
        let date = |text: &str| text.parse::<Date>().unwrap();
        let frame = Frame::of(date("2026-02-14"), false).unwrap();
        assert_eq!((frame.first, frame.end), (date("2026-01-26"), date("2026-03-02")));
        assert_eq!((frame.before, frame.after), (date("2026-01-31"), date("2026-03-01")));
        let week = Frame::of(date("2026-11-29"), true).unwrap();
        assert_eq!((week.first, week.end), (date("2026-11-23"), date("2026-11-30")));
    }
}
