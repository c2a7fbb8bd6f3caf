//! Recurrence rules (RFC 5545, 3.3.10) by day, week, month and year: those that calendar programs write.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::{Span, Timestamp};

/// The most occurrences that `COUNT` may name.
const COUNTED: usize = 10_000;

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// Until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// To the end of a day.
    Day(Date),
    /// To a civil time, included.
    Civil(DateTime),
    /// To an instant, included.
    Instant(Timestamp),
}

/// A rule with its first start.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recurrence {
    start: DateTime,
    frequency: Frequency,
    interval: i32,
    until: Option<Until>,
    /// All starts, where the rule counts them.
    counted: Option<Vec<DateTime>>,
    months: Vec<i8>,
    month_days: Vec<i8>,
    days: Vec<(i8, Weekday)>,
    positions: Vec<i32>,
    week_start: Weekday,
    /// Further starts.
    pub(super) more: Vec<DateTime>,
}

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("MO", Weekday::Monday),
    ("TU", Weekday::Tuesday),
    ("WE", Weekday::Wednesday),
    ("TH", Weekday::Thursday),
    ("FR", Weekday::Friday),
    ("SA", Weekday::Saturday),
    ("SU", Weekday::Sunday),
];

impl Recurrence {
    /// Makes what begins once.
    pub(super) fn once(start: DateTime) -> Self {
        Self {
            start,
            frequency: Frequency::Daily,
            interval: 1,
            until: None,
            counted: Some(vec![start]),
            months: Vec::new(),
            month_days: Vec::new(),
            days: Vec::new(),
            positions: Vec::new(),
            week_start: Weekday::Monday,
            more: Vec::new(),
        }
    }

    /// Reads a rule; the error is one sentence.
    pub(super) fn parse(text: &str, start: DateTime) -> Result<Self, String> {
        let mut rule = Self { counted: None, ..Self::once(start) };
        let (mut frequency, mut count) = (None, None);
        for part in text.trim().trim_end_matches(';').split(';') {
            let wrong = || format!("`{part}` in `{text}` is not understood");
            let (key, value) = part.split_once('=').ok_or_else(wrong)?;
            let (key, value) = (key.trim().to_ascii_uppercase(), value.trim().to_ascii_uppercase());
            match key.as_str() {
                "FREQ" => {
                    frequency = Some(match value.as_str() {
                        "DAILY" => Frequency::Daily,
                        "WEEKLY" => Frequency::Weekly,
                        "MONTHLY" => Frequency::Monthly,
                        "YEARLY" => Frequency::Yearly,
                        _ => {
                            return Err(format!(
                                "recurrence by `{value}` is not read; DAILY, WEEKLY, MONTHLY and YEARLY are"
                            ));
                        }
                    });
                }
                "INTERVAL" => {
                    rule.interval =
                        value.parse().ok().filter(|n| (1..=10_000).contains(n)).ok_or_else(wrong)?;
                }
                "COUNT" => {
                    let number: usize = value.parse().map_err(|_| wrong())?;
                    if number > COUNTED {
                        return Err(format!("a COUNT of {number} is more than {COUNTED}"));
                    }
                    count = Some(number);
                }
                "UNTIL" => rule.until = Some(until(&value).ok_or_else(wrong)?),
                "BYMONTH" => {
                    rule.months =
                        numbers(&value, 1, 12).filter(|all| all.iter().all(|n| *n > 0)).ok_or_else(wrong)?;
                }
                "BYMONTHDAY" => rule.month_days = numbers(&value, 1, 31).ok_or_else(wrong)?,
                "BYSETPOS" => {
                    rule.positions = value
                        .split(',')
                        .map(|n| n.parse().ok().filter(|n: &i32| *n != 0))
                        .collect::<Option<_>>()
                        .ok_or_else(wrong)?;
                }
                "BYDAY" => {
                    rule.days = value.split(',').map(weekday).collect::<Option<_>>().ok_or_else(wrong)?;
                }
                "WKST" => rule.week_start = weekday(&value).filter(|(n, _)| *n == 0).ok_or_else(wrong)?.1,
                _ => return Err(format!("`{key}` in a recurrence rule is not read")),
            }
        }
        rule.frequency = frequency.ok_or_else(|| format!("`{text}` has no FREQ"))?;
        let is_ordinal = rule.days.iter().any(|(n, _)| *n != 0);
        match rule.frequency {
            Frequency::Daily | Frequency::Weekly if is_ordinal => {
                return Err("a weekday with a number needs FREQ=MONTHLY or YEARLY".to_owned());
            }
            Frequency::Weekly if !rule.month_days.is_empty() => {
                return Err("BYMONTHDAY does not go with FREQ=WEEKLY".to_owned());
            }
            Frequency::Yearly if is_ordinal && rule.months.is_empty() => {
                return Err("a weekday with a number needs BYMONTH where FREQ=YEARLY".to_owned());
            }
            _ => {}
        }
        if let Some(count) = count {
            rule.counted = Some(rule.count(count));
        }
        Ok(rule)
    }

    /// Returns the starts from one civil time to another, both included, sorted; `UNTIL` is left to the caller.
    pub(super) fn starts(&self, from: DateTime, to: DateTime) -> Vec<DateTime> {
        let mut found: Vec<DateTime> = match &self.counted {
            Some(counted) => counted.clone(),
            None => {
                let periods = self.period_of(from.date())..=self.period_of(to.date());
                // The first start counts whether the rule names it or not.
                let starts = periods.filter(|period| *period >= 0).flat_map(|period| self.period(period));
                starts.chain([self.start]).collect()
            }
        };
        found.extend(&self.more);
        found.retain(|start| *start >= self.start && (from..=to).contains(start));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether a start is not behind `UNTIL`.
    pub(super) fn is_before_end(&self, at: Timestamp, start: DateTime) -> bool {
        start == self.start
            || self.more.contains(&start)
            || match self.until {
                None => true,
                Some(Until::Day(day)) => start.date() <= day,
                Some(Until::Civil(until)) => start <= until,
                Some(Until::Instant(until)) => at <= until,
            }
    }

    /// Lists the first starts.
    fn count(&self, count: usize) -> Vec<DateTime> {
        let mut found = vec![self.start];
        // A rule may name nothing for long, or for ever; who plans for longer than 200 years means no end.
        let end = self.start.date().checked_add(Span::new().years(200)).unwrap_or(Date::MAX);
        let periods = self.period_of(end);
        let mut period = 0;
        while found.len() < count && period <= periods {
            for start in self.period(period) {
                if start > self.start && found.len() < count {
                    found.push(start);
                }
            }
            period += 1;
        }
        found.truncate(count);
        found
    }

    /// Returns the number of the period that holds a day, or the one before it where periods lie apart; the first is 0.
    fn period_of(&self, day: Date) -> i32 {
        let first = self.start.date();
        let passed = match self.frequency {
            Frequency::Yearly => i32::from(day.year()) - i32::from(first.year()),
            Frequency::Monthly => month_number(day) - month_number(first),
            Frequency::Weekly => (self.week(day) - self.week(first)).get_days() / 7,
            Frequency::Daily => (day - first).get_days(),
        };
        passed.div_euclid(self.interval)
    }

    /// Returns the first day of the week of a day.
    fn week(&self, day: Date) -> Date {
        let back = day.weekday().since(self.week_start);
        day.checked_sub(Span::new().days(back)).unwrap_or(day)
    }

    /// Returns the starts of a period, sorted.
    fn period(&self, number: i32) -> Vec<DateTime> {
        let first = self.start.date();
        let Some(passed) = number.checked_mul(self.interval) else { return Vec::new() };
        let after = |from: Date, span: Result<Span, jiff::Error>| from.checked_add(span.ok()?).ok();
        let in_months = |day: &Date| self.months.is_empty() || self.months.contains(&day.month());
        let plain = |day: &Date| {
            self.days.is_empty() || self.days.iter().any(|(_, weekday)| *weekday == day.weekday())
        };
        let mut days: Vec<Date> = match self.frequency {
            Frequency::Daily => {
                let day = after(first, Span::new().try_days(passed)).into_iter();
                day.filter(|day| plain(day) && self.is_month_day(*day)).collect()
            }
            Frequency::Weekly => {
                let Some(monday) = after(self.week(first), Span::new().try_weeks(passed)) else {
                    return Vec::new();
                };
                let week = (0..7).filter_map(|n| monday.checked_add(Span::new().days(n)).ok());
                let fits = |day: &Date| {
                    if self.days.is_empty() { day.weekday() == first.weekday() } else { plain(day) }
                };
                week.filter(fits).collect()
            }
            Frequency::Monthly => {
                let Some(month) = after(first.first_of_month(), Span::new().try_months(passed)) else {
                    return Vec::new();
                };
                self.month(month)
            }
            Frequency::Yearly => {
                let Ok(year) = i16::try_from(i32::from(first.year()) + passed) else { return Vec::new() };
                let months: Vec<i8> = match self.months.is_empty() {
                    true if self.days.is_empty() && self.month_days.is_empty() => vec![first.month()],
                    true => (1..=12).collect(),
                    false => self.months.clone(),
                };
                let months = months.into_iter().filter_map(|month| Date::new(year, month, 1).ok());
                months.flat_map(|month| self.month(month)).collect()
            }
        };
        days.retain(in_months);
        days.sort_unstable();
        days.dedup();
        if !self.positions.is_empty() {
            let length = days.len() as i32;
            let index = |position: &i32| if *position > 0 { position - 1 } else { length + position };
            let mut indices: Vec<i32> = self.positions.iter().map(index).collect();
            indices.sort_unstable();
            indices.dedup();
            days = indices
                .into_iter()
                .filter_map(|index| days.get(usize::try_from(index).ok()?).copied())
                .collect();
        }
        let time: Time = self.start.time();
        days.into_iter().map(|day| day.to_datetime(time)).collect()
    }

    /// Returns the days of a month that the rule names.
    fn month(&self, first: Date) -> Vec<Date> {
        let days =
            (1..=first.days_in_month()).filter_map(|day| Date::new(first.year(), first.month(), day).ok());
        let length = i32::from(first.days_in_month());
        days.filter(|day| {
            let number = i32::from(day.day());
            let weekday = |(n, weekday): &(i8, Weekday)| {
                *weekday == day.weekday()
                    && match i32::from(*n) {
                        0 => true,
                        n if n > 0 => (number - 1) / 7 + 1 == n,
                        n => (length - number) / 7 + 1 == -n,
                    }
            };
            match (self.days.is_empty(), self.month_days.is_empty()) {
                (true, true) => day.day() == self.start.day(),
                (true, false) => self.is_month_day(*day),
                (false, true) => self.days.iter().any(weekday),
                (false, false) => self.is_month_day(*day) && self.days.iter().any(weekday),
            }
        })
        .collect()
    }

    fn is_month_day(&self, day: Date) -> bool {
        let from_end = day.day() - day.days_in_month() - 1;
        self.month_days.is_empty() || self.month_days.iter().any(|n| *n == day.day() || *n == from_end)
    }
}

fn month_number(day: Date) -> i32 {
    i32::from(day.year()) * 12 + i32::from(day.month())
}

fn until(value: &str) -> Option<Until> {
    if let Some(utc) = value.strip_suffix('Z') {
        return Some(Until::Instant(jiff::tz::Offset::UTC.to_timestamp(civil(utc)?).ok()?));
    }
    match value.len() {
        8 => Some(Until::Day(civil(value)?.date())),
        _ => Some(Until::Civil(civil(value)?)),
    }
}

/// Reads `20271220` or `20271220T180000`.
pub(super) fn civil(text: &str) -> Option<DateTime> {
    let (date, time) = text.split_once('T').unwrap_or((text, "000000"));
    let digits =
        |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(date, 8) || !digits(time, 6) {
        return None;
    }
    let date = Date::new(date[..4].parse().ok()?, date[4..6].parse().ok()?, date[6..].parse().ok()?).ok()?;
    // A leap second is the second before it.
    let second: i8 = time[4..].parse().ok()?;
    let time = Time::new(time[..2].parse().ok()?, time[2..4].parse().ok()?, second.min(59), 0).ok()?;
    Some(date.to_datetime(time))
}

/// Reads `MO` or `-1FR`.
fn weekday(text: &str) -> Option<(i8, Weekday)> {
    let text = text.trim();
    let at = text.len().checked_sub(2).filter(|at| text.is_char_boundary(*at))?;
    let (number, name) = text.split_at(at);
    let weekday = WEEKDAYS.iter().find(|(known, _)| *known == name)?.1;
    let number: i8 =
        if number.is_empty() { 0 } else { number.parse().ok().filter(|n| (1..=5).contains(&i8::abs(*n)))? };
    Some((number, weekday))
}

/// Reads numbers whose size is between two bounds, of either sign.
fn numbers(text: &str, least: i8, most: i8) -> Option<Vec<i8>> {
    let number = |text: &str| {
        text.trim().parse::<i8>().ok().filter(|n| *n != i8::MIN && (least..=most).contains(&n.abs()))
    };
    text.split(',').map(number).collect()
}
