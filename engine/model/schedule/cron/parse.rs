//! Reads a cron entry; what is wrong comes back with its field, its place and what was probably meant.

use super::error::CronError;
use super::field::Field;
use super::{Cron, Days, Weekdays};
use crate::model::nearest::did_you_mean;

/// A part of the entry, in capitals, and where it begins in characters from 1.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    column: usize,
}

impl<'a> Part<'a> {
    /// Splits at a character.
    fn split(self, at: char) -> impl Iterator<Item = Part<'a>> {
        let mut column = self.column;
        self.text.split(at).map(move |text| {
            let part = Part { text, column };
            column += text.chars().count() + 1;
            part
        })
    }

    /// Splits at the first of a character, when there is one.
    fn split_once(self, at: char) -> Option<(Part<'a>, Part<'a>)> {
        let (before, after) = self.text.split_once(at)?;
        let column = self.column + before.chars().count() + 1;
        Some((Part { text: before, ..self }, Part { text: after, column }))
    }

    fn error(self, field: Field, message: impl Into<String>, hint: impl Into<Option<String>>) -> CronError {
        CronError {
            field: Some(field),
            column: self.column,
            length: self.text.chars().count().max(1),
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// What the nicknames of other programs mean.
const NICKNAMES: [(&str, &str); 8] = [
    ("@YEARLY", "0 0 1 1 *"),
    ("@ANNUALLY", "0 0 1 1 *"),
    ("@MONTHLY", "0 0 1 * *"),
    ("@WEEKLY", "0 0 * * 0"),
    ("@DAILY", "0 0 * * *"),
    ("@MIDNIGHT", "0 0 * * *"),
    ("@HOURLY", "0 * * * *"),
    ("@EVERY", ""),
];

pub(super) fn parse(text: &str) -> Result<Cron, CronError> {
    let capitals = text.to_ascii_uppercase();
    let mut parts = Vec::new();
    let mut column = 1;
    for piece in capitals.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        if !word.is_empty() {
            parts.push(Part { text: word, column });
        }
        column += piece.chars().count();
    }
    let fields = match parts.len() {
        5 => &Field::ALL[1..],
        6 => &Field::ALL[..],
        count => return Err(wrong_count(text, &parts, count)),
    };
    let mut cron = Cron {
        text: parts.iter().map(|part| part.text).collect::<Vec<_>>().join(" "),
        seconds: 1,
        minutes: 0,
        hours: 0,
        months: 0,
        days: Days::default(),
        weekdays: Weekdays::default(),
        has_seconds: fields.len() == 6,
        minute_star: false,
        hour_star: false,
    };
    for (field, part) in fields.iter().zip(parts) {
        let star = part.text.starts_with('*');
        match field {
            Field::Second => cron.seconds = numbers(*field, part)?,
            Field::Minute => (cron.minutes, cron.minute_star) = (numbers(*field, part)?, star),
            Field::Hour => (cron.hours, cron.hour_star) = (numbers(*field, part)?, star),
            Field::Month => cron.months = numbers(*field, part)?,
            Field::Day => cron.days = days(part)?,
            Field::Weekday => cron.weekdays = weekdays(part)?,
        }
    }
    Ok(cron)
}

fn wrong_count(text: &str, parts: &[Part], count: usize) -> CronError {
    if let [nickname, ..] = parts
        && nickname.text.starts_with('@')
    {
        let known = NICKNAMES.iter().find(|(name, _)| *name == nickname.text);
        let hint = match known {
            Some((_, "")) => "write `every: 15m` in place of `cron:`".to_owned(),
            Some((_, entry)) => format!("write `{entry}`"),
            None => "write the five fields: minute, hour, day of month, month, weekday".to_owned(),
        };
        return CronError::whole(text, format!("nicknames such as `{}` are not read", text.trim()), hint);
    }
    let hint = match count {
        7 => {
            "a year is written with `from:` and `until:`; the fields are second, minute, hour, day of month, month, weekday"
        }
        _ => "the fields are minute, hour, day of month, month, weekday; a sixth, the second, stands first",
    };
    let fields = if count == 1 { "field" } else { "fields" };
    CronError::whole(text, format!("`{}` has {count} {fields}, not 5 or 6", text.trim()), hint)
}

/// Reads a field of plain numbers.
fn numbers(field: Field, part: Part) -> Result<u64, CronError> {
    part.split(',').try_fold(0, |bits, item| Ok(bits | range(field, item)?))
}

/// Reads `*`, `a`, `a-b`, with `/n` behind the first and the last.
fn range(field: Field, item: Part) -> Result<u64, CronError> {
    let (least, most) = field.range();
    // Sunday has two numbers, and a star means each day once.
    let most_of_star = if field == Field::Weekday { 6 } else { most };
    let (body, step) = match item.split_once('/') {
        None => (item, None),
        Some((body, step)) => (body, Some(step)),
    };
    let (first, last) = match body.split_once('-') {
        _ if body.text == "*" => (least, most_of_star),
        Some((from, to)) => {
            let (first, mut last) = (number(field, from)?, number(field, to)?);
            if field == Field::Weekday && last == 0 && first > 0 {
                last = 7;
            }
            if first > last {
                let hint = wrapped(field, first, last);
                return Err(body.error(field, format!("`{}` runs backwards", body.text), hint));
            }
            (first, last)
        }
        None => {
            let number = number(field, body)?;
            if let Some(step) = step {
                let hint =
                    format!("write `{}-{most_of_star}/{}`, or `*/{}`", body.text, step.text, step.text);
                return Err(item.error(field, format!("`{}` has a step and no range", item.text), hint));
            }
            (number, number)
        }
    };
    let step = match step {
        None => 1,
        Some(step) => match digits(step.text) {
            Some(0) => return Err(step.error(field, "a step of 0 never moves", None)),
            Some(count) if count > u32::from(last - first) => {
                let message =
                    format!("a step of {} is larger than the range from {first} to {last}", step.text);
                let hint = (body.text == "*" && field == Field::Minute)
                    .then(|| format!("`every: {}m` counts across hours", step.text));
                return Err(step.error(field, message, hint));
            }
            Some(count) => count as usize,
            None => {
                return Err(step.error(
                    field,
                    format!("`{}` is no step", step.text),
                    Some("write `*/15`".to_owned()),
                ));
            }
        },
    };
    Ok((first..=last).step_by(step).fold(0, |bits, number| bits | 1 << bit(field, number)))
}

/// Says how a range across the end of its field is written.
fn wrapped(field: Field, first: u8, last: u8) -> String {
    let (least, most) = field.range();
    let most = if field == Field::Weekday { 6 } else { most };
    let span = |from: u8, to: u8| {
        let range = format!("{}-{}", field.word(from), field.word(to));
        if from == to { field.word(from) } else { range }
    };
    format!("write `{},{}`", span(first, most), span(least, last))
}

/// Sunday is 0.
fn bit(field: Field, number: u8) -> u8 {
    if field == Field::Weekday { number % 7 } else { number }
}

fn digits(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Reads a number or a name.
fn number(field: Field, part: Part) -> Result<u8, CronError> {
    let (least, most) = field.range();
    if let Some(number) = digits(part.text) {
        return u8::try_from(number).ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
            let hint = match (field, number) {
                (Field::Hour, 24) => Some("midnight is hour 0".to_owned()),
                (Field::Minute | Field::Second, 60) => Some(format!("the first {field} is 0")),
                _ => None,
            };
            part.error(field, format!("`{}` is not from {least} to {most}", part.text), hint)
        });
    }
    if let Some(number) = field.number(part.text) {
        return Ok(number);
    }
    let hint = match part.text {
        "" => Some("there is a sign too many, or a value is missing".to_owned()),
        "?" => Some("write `*`".to_owned()),
        "H" => Some("write a number, and `jitter:` to spread schedules".to_owned()),
        "L" if field == Field::Weekday => {
            Some("Saturday is `SAT`, the last Friday of a month `FRIL`".to_owned())
        }
        word => match word.get(..3).filter(|short| word.len() > 3 && field.number(short).is_some()) {
            Some(short) => Some(format!("write `{short}`")),
            None => did_you_mean(word, field.names().iter().copied()),
        },
    };
    let what = if part.text.is_empty() {
        "nothing stands here".to_owned()
    } else {
        format!("`{}` is no {field}", part.text)
    };
    Err(part.error(field, what, hint))
}

fn days(part: Part) -> Result<Days, CronError> {
    let field = Field::Day;
    let mut days = Days { star: part.text.starts_with('*'), ..Days::default() };
    for item in part.split(',') {
        match item.text {
            "L" => days.from_last |= 1,
            "LW" | "WL" => days.last_weekday = true,
            text if text.starts_with("L-") => {
                let back = Part { text: &text[2..], column: item.column + 2 };
                let count = digits(back.text).filter(|count| (1..=30).contains(count));
                let count = count.ok_or_else(|| {
                    let hint = "write `L-3` for three days before the last".to_owned();
                    back.error(field, format!("`{}` is not from 1 to 30", back.text), hint)
                })?;
                days.from_last |= 1 << count;
            }
            text if text.ends_with('W') => {
                let day = Part { text: &text[..text.len() - 1], ..item };
                if day.text.contains('-') {
                    let hint = "weekdays are a field of their own: `MON-FRI`".to_owned();
                    return Err(item.error(field, "`W` stands behind one day", hint));
                }
                days.nearest |= 1 << number(field, day)?;
            }
            _ => days.plain |= range(field, item)?,
        }
    }
    Ok(days)
}

fn weekdays(part: Part) -> Result<Weekdays, CronError> {
    let field = Field::Weekday;
    let mut weekdays = Weekdays { star: part.text.starts_with('*'), ..Weekdays::default() };
    for item in part.split(',') {
        if let Some((day, nth)) = item.split_once('#') {
            let day = bit(field, number(field, day)?);
            let n = digits(nth.text).filter(|n| (1..=5).contains(n)).ok_or_else(|| {
                let hint = "`FRI#2` is the second Friday of a month, `FRIL` the last".to_owned();
                nth.error(field, format!("`{}` is not from 1 to 5", nth.text), hint)
            })?;
            weekdays.nth[n as usize] |= 1 << day;
        } else if item.text.len() > 1 && item.text.ends_with('L') {
            let day = Part { text: &item.text[..item.text.len() - 1], ..item };
            weekdays.last |= 1 << bit(field, number(field, day)?);
        } else {
            weekdays.plain |= range(field, item)?;
        }
    }
    Ok(weekdays)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_has_field_place_and_advice() {
        for (text, field, column, length, message, hint) in [
            ("61 * * * *", Some(Field::Minute), 1, 2, "`61` is not from 0 to 59", None),
            (
                "60 * * * *",
                Some(Field::Minute),
                1,
                2,
                "`60` is not from 0 to 59",
                Some("the first minute is 0"),
            ),
            ("0 24 * * *", Some(Field::Hour), 3, 2, "`24` is not from 0 to 23", Some("midnight is hour 0")),
            ("0 0 0 * *", Some(Field::Day), 5, 1, "`0` is not from 1 to 31", None),
            ("0 0 * 13 *", Some(Field::Month), 7, 2, "`13` is not from 1 to 12", None),
            ("0 0 * * 8", Some(Field::Weekday), 9, 1, "`8` is not from 0 to 7", None),
            (
                "  0 5,,9 * * *",
                Some(Field::Hour),
                7,
                1,
                "nothing stands here",
                Some("there is a sign too many, or a value is missing"),
            ),
            ("*/0 * * * *", Some(Field::Minute), 3, 1, "a step of 0 never moves", None),
            ("*/x * * * *", Some(Field::Minute), 3, 1, "`X` is no step", Some("write `*/15`")),
            (
                "*/90 * * * *",
                Some(Field::Minute),
                3,
                2,
                "a step of 90 is larger than the range from 0 to 59",
                Some("`every: 90m` counts across hours"),
            ),
            (
                "5/15 * * * *",
                Some(Field::Minute),
                1,
                4,
                "`5/15` has a step and no range",
                Some("write `5-59/15`, or `*/15`"),
            ),
            ("0 22-2 * * *", Some(Field::Hour), 3, 4, "`22-2` runs backwards", Some("write `22-23,0-2`")),
            (
                "0 0 * * FRI-MON",
                Some(Field::Weekday),
                9,
                7,
                "`FRI-MON` runs backwards",
                Some("write `FRI-SAT,SUN-MON`"),
            ),
            ("0 0 * * MOM", Some(Field::Weekday), 9, 3, "`MOM` is no weekday", Some("did you mean `MON`?")),
            ("0 0 * * 1,Monday", Some(Field::Weekday), 11, 6, "`MONDAY` is no weekday", Some("write `MON`")),
            ("0 0 * MON *", Some(Field::Month), 7, 3, "`MON` is no month", None),
            ("? * * * *", Some(Field::Minute), 1, 1, "`?` is no minute", Some("write `*`")),
            (
                "H * * * *",
                Some(Field::Minute),
                1,
                1,
                "`H` is no minute",
                Some("write a number, and `jitter:` to spread schedules"),
            ),
            (
                "0 0 * * L",
                Some(Field::Weekday),
                9,
                1,
                "`L` is no weekday",
                Some("Saturday is `SAT`, the last Friday of a month `FRIL`"),
            ),
            (
                "0 0 * * 5#6",
                Some(Field::Weekday),
                11,
                1,
                "`6` is not from 1 to 5",
                Some("`FRI#2` is the second Friday of a month, `FRIL` the last"),
            ),
            (
                "0 0 L-31 * *",
                Some(Field::Day),
                7,
                2,
                "`31` is not from 1 to 30",
                Some("write `L-3` for three days before the last"),
            ),
            (
                "0 0 1-5W * *",
                Some(Field::Day),
                5,
                4,
                "`W` stands behind one day",
                Some("weekdays are a field of their own: `MON-FRI`"),
            ),
            (
                "-5 * * * *",
                Some(Field::Minute),
                1,
                1,
                "nothing stands here",
                Some("there is a sign too many, or a value is missing"),
            ),
            ("99999 * * * *", Some(Field::Minute), 1, 5, "`99999` is no minute", None),
            ("é * * * *", Some(Field::Minute), 1, 1, "`é` is no minute", None),
            ("0 0 é,x * *", Some(Field::Day), 5, 1, "`é` is no day of month", None),
            (
                "* * * *",
                None,
                1,
                7,
                "`* * * *` has 4 fields, not 5 or 6",
                Some(
                    "the fields are minute, hour, day of month, month, weekday; a sixth, the second, stands first",
                ),
            ),
            (
                "",
                None,
                1,
                1,
                "`` has 0 fields, not 5 or 6",
                Some(
                    "the fields are minute, hour, day of month, month, weekday; a sixth, the second, stands first",
                ),
            ),
            (
                "0 0 0 1 1 * 2027",
                None,
                1,
                16,
                "`0 0 0 1 1 * 2027` has 7 fields, not 5 or 6",
                Some(
                    "a year is written with `from:` and `until:`; the fields are second, minute, hour, day of month, month, weekday",
                ),
            ),
            ("@daily", None, 1, 6, "nicknames such as `@daily` are not read", Some("write `0 0 * * *`")),
            (
                "@every 5m",
                None,
                1,
                9,
                "nicknames such as `@every 5m` are not read",
                Some("write `every: 15m` in place of `cron:`"),
            ),
            (
                "@reboot",
                None,
                1,
                7,
                "nicknames such as `@reboot` are not read",
                Some("write the five fields: minute, hour, day of month, month, weekday"),
            ),
            (
                "0 0 30 2 *",
                None,
                1,
                10,
                "`0 0 30 2 *` never fires: no month has such a day",
                Some("the last day of a month is `L`"),
            ),
            (
                "0 0 31 4,6,9,11 *",
                None,
                1,
                17,
                "`0 0 31 4,6,9,11 *` never fires: no month has such a day",
                Some("the last day of a month is `L`"),
            ),
            (
                "0 0 29 2 */6",
                None,
                1,
                12,
                "`0 0 29 2 */6` is silent for more than 8 years, as from 2004-02-29 to 2020-02-29",
                Some("write `at:` with the instants that are meant"),
            ),
        ] {
            let error = text.parse::<Cron>().unwrap_err();
            assert_eq!(
                (error.field, error.column, error.length, error.message.as_str(), error.hint.as_deref()),
                (field, column, length, message, hint),
                "{text}"
            );
        }
        let error = "0 24 * * *".parse::<Cron>().unwrap_err();
        assert_eq!(error.to_string(), "hour: `24` is not from 0 to 23");
    }

    #[test]
    fn every_month_with_a_29_february_is_short_enough() {
        for text in ["0 0 29 2 *", "0 0 29 FEB MON", "0 0 L 2 *", "0 0 31 12 *", "0 0 * 2 MON#5,TUE#5,WED#5"]
        {
            let parsed = text.parse::<Cron>();
            assert_eq!(parsed.is_ok(), !text.ends_with("#5"), "{text}: {parsed:?}");
        }
    }

    #[test]
    fn nonsense_never_panics() {
        let pieces = ["*", "/", "-", ",", "#", "L", "W", "5", "99", "MON", "é", " ", "0", "?", "@", "\u{0}"];
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..14 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text += pieces[(state >> 33) as usize % pieces.len()];
            }
            if let Err(error) = text.parse::<Cron>() {
                assert!(error.column >= 1 && error.column <= text.chars().count() + 1, "{text:?}: {error:?}");
            }
        }
    }
}
