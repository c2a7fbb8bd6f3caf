//! An oracle for cron entries: it looks at the clock on the wall at every minute, and knows nothing of the engine.

use std::collections::BTreeSet;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::dice::Dice;

/// A field as text and as what it means.
#[derive(Debug, Clone)]
struct Field {
    text: String,
    values: BTreeSet<i64>,
}

/// What a day field means beyond numbers.
#[derive(Debug, Clone, PartialEq)]
enum Special {
    None,
    Last(i64),
    LastWeekday,
    Nearest(i64),
    Nth(i64, i64),
    LastOf(i64),
}

/// A cron entry of five fields.
#[derive(Debug, Clone)]
pub struct Entry {
    minute: Field,
    hour: Field,
    day: Field,
    day_special: Special,
    month: Field,
    weekday: Field,
    weekday_special: Special,
}

/// Makes a field of numbers.
fn field(dice: &mut Dice, least: i64, most: i64, stars: i64) -> Field {
    if dice.from(1, 10) <= stars {
        return Field { text: "*".to_owned(), values: (least..=most).collect() };
    }
    let (mut texts, mut values) = (Vec::new(), BTreeSet::new());
    for _ in 0..dice.from(1, 2) {
        match dice.from(1, 4) {
            1 => {
                let step = dice.from(1, (most - least) / 2);
                texts.push(format!("*/{step}"));
                values.extend((least..=most).step_by(step as usize));
            }
            2 => {
                let first = dice.from(least, most);
                let last = dice.from(first, most);
                let step = dice.from(1, (last - first).max(1));
                let text = format!("{first}-{last}");
                texts.push(if last > first && dice.once_in(2) { format!("{text}/{step}") } else { text });
                let step = if texts.last().is_some_and(|text| text.contains('/')) { step } else { 1 };
                values.extend((first..=last).step_by(step as usize));
            }
            _ => {
                let value = dice.from(least, most);
                texts.push(value.to_string());
                values.insert(value);
            }
        }
    }
    Field { text: texts.join(","), values }
}

impl Entry {
    /// Makes an entry, more often than not one for the small hours, in which clocks are moved.
    pub fn random(dice: &mut Dice) -> Self {
        let minute = field(dice, 0, 59, 2);
        let hour = if dice.once_in(2) {
            let hours: BTreeSet<i64> = (0..dice.from(1, 2)).map(|_| *dice.one(&[0, 1, 2, 3, 23])).collect();
            let texts: Vec<String> = hours.iter().map(ToString::to_string).collect();
            Field { text: texts.join(","), values: hours }
        } else {
            field(dice, 0, 23, 5)
        };
        let (mut day, mut day_special) = (field(dice, 1, 31, 7), Special::None);
        let (mut weekday, mut weekday_special) = (field(dice, 0, 6, 7), Special::None);
        let kind = dice.from(1, 10);
        if kind <= 2 {
            day_special = match dice.from(1, 4) {
                1 => Special::Last(0),
                2 => Special::Last(dice.from(1, 9)),
                3 => Special::LastWeekday,
                _ => Special::Nearest(dice.from(1, 31)),
            };
            let text = match &day_special {
                Special::Last(0) => "L".to_owned(),
                Special::Last(n) => format!("L-{n}"),
                Special::LastWeekday => "LW".to_owned(),
                Special::Nearest(n) => format!("{n}W"),
                other => unreachable!("{other:?} is no day of the month"),
            };
            day = Field { text, values: BTreeSet::new() };
        } else if kind == 3 {
            let day = dice.from(0, 7);
            let name = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "7"][day as usize];
            let (text, special) = if dice.once_in(2) {
                (format!("{name}L"), Special::LastOf(day % 7))
            } else {
                let n = dice.from(1, 4);
                (format!("{name}#{n}"), Special::Nth(day % 7, n))
            };
            (weekday, weekday_special) = (Field { text, values: BTreeSet::new() }, special);
        }
        Self { minute, hour, day, day_special, month: field(dice, 1, 12, 9), weekday, weekday_special }
    }

    /// An entry once a day.
    pub fn daily(hour: i64, minute: i64) -> String {
        format!("{minute} {hour} * * *")
    }

    pub fn text(&self) -> String {
        let Self { minute, hour, day, month, weekday, .. } = self;
        format!("{} {} {} {} {}", minute.text, hour.text, day.text, month.text, weekday.text)
    }

    fn is_interval_like(&self) -> bool {
        self.minute.text.starts_with('*') || self.hour.text.starts_with('*')
    }

    /// Whether the entry names this minute of the clock on the wall.
    fn names(&self, at: DateTime) -> bool {
        at.second() == 0
            && self.minute.values.contains(&i64::from(at.minute()))
            && self.hour.values.contains(&i64::from(at.hour()))
            && self.month.values.contains(&i64::from(at.month()))
            && self.names_day(at)
    }

    fn names_day(&self, at: DateTime) -> bool {
        let (day, length) = (i64::from(at.day()), i64::from(at.date().days_in_month()));
        let weekday_of = |day: i64| {
            let first = at.date().first_of_month();
            i64::from((first + SignedDuration::from_hours(24 * (day - 1))).weekday().to_sunday_zero_offset())
        };
        let weekday = weekday_of(day);
        let is_work_day = |day: i64| (1..=length).contains(&day) && (1..=5).contains(&weekday_of(day));
        let by_day = match self.day_special {
            Special::None => self.day.values.contains(&day),
            Special::Last(back) => day == length - back,
            Special::LastWeekday => (1..=length).rev().find(|day| is_work_day(*day)) == Some(day),
            // The nearest work day of the month; only a Saturday or Sunday has to look, one day away, or two at its ends.
            Special::Nearest(n) if n > length => false,
            Special::Nearest(n) => {
                [n, n - 1, n + 1, n + 2, n - 2].into_iter().find(|day| is_work_day(*day)) == Some(day)
            }
            _ => false,
        };
        let by_weekday = match self.weekday_special {
            Special::None => self.weekday.values.contains(&weekday),
            Special::Nth(which, n) => weekday == which && (day + 6) / 7 == n,
            Special::LastOf(which) => weekday == which && day + 7 > length,
            _ => false,
        };
        if self.day.text.starts_with('*') || self.weekday.text.starts_with('*') {
            by_day && by_weekday
        } else {
            by_day || by_weekday
        }
    }

    /// Returns when the entry fires after one instant and up to another, by looking at the clock every `step` seconds.
    pub fn fires(&self, zone: &TimeZone, after: Timestamp, until: Timestamp, step: i64) -> Vec<Timestamp> {
        let is_interval_like = self.is_interval_like();
        let step = SignedDuration::from_secs(step);
        let mut found = Vec::new();
        // The clock has shown everything up to here; two days before are enough to know what it has shown.
        let mut at = after - SignedDuration::from_hours(50);
        let mut shown = zone.to_datetime(at);
        while at < until {
            at += step;
            let now = zone.to_datetime(at);
            let jumped_over = |from: DateTime, to: DateTime| {
                let mut civil = from + step;
                while civil < to {
                    if self.names(civil) {
                        return true;
                    }
                    civil += step;
                }
                false
            };
            let fires = if is_interval_like {
                self.names(now)
            } else {
                now > shown && (self.names(now) || jumped_over(shown, now))
            };
            if fires && at > after && at <= until {
                found.push(at);
            }
            shown = shown.max(now);
        }
        found
    }
}
