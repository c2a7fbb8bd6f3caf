//! A cron entry: which civil times it names, in Vixie cron's language with `L`, `W` and `#`.
//!
//! ```text
//! ┌─ second, only where there are six fields
//! │  ┌─ minute 0-59   ┌─ hour 0-23   ┌─ day of month 1-31   ┌─ month 1-12, JAN-DEC   ┌─ weekday 0-7, SUN-SAT
//! 0  30               4              1,15                   *                        MON
//! ```
//!
//! `*`, `a`, `a-b`, `*/n`, `a-b/n` and lists of them; in the day of month also `L` (the last), `L-3` (three days before it),
//! `15W` (the weekday nearest to the 15th, in the same month) and `LW`; in the weekday also `FRI#2` (the second Friday)
//! and `FRIL` (the last Friday). Where both day fields are restricted, a day fits when either fits; where one of them
//! begins with `*`, both must fit.

mod error;
mod field;
mod parse;

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time};
use serde::{Serialize, Serializer};

pub use error::CronError;
pub use field::Field;

/// A parsed cron entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    /// One bit a second, minute, hour; from bit 0.
    seconds: u64,
    minutes: u64,
    hours: u64,
    /// One bit a month, from bit 1.
    months: u64,
    days: Days,
    weekdays: Weekdays,
    /// Whether the text has six fields.
    has_seconds: bool,
    minute_star: bool,
    hour_star: bool,
}

/// The field for the day of the month.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Days {
    /// Plain days, from bit 1.
    plain: u64,
    /// Days before the last one: bit 0 is `L`, bit 3 `L-3`.
    from_last: u64,
    /// `nW`, from bit 1.
    nearest: u64,
    /// `LW`.
    last_weekday: bool,
    star: bool,
}

/// The field for the weekday; bits and indices are 0 for Sunday to 6 for Saturday.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Weekdays {
    plain: u64,
    /// `day#n`: the weekdays of n, from index 1.
    nth: [u64; 6],
    /// `dayL`.
    last: u64,
    star: bool,
}

/// The longest that an entry may be silent, in days: from one 29 February to the next around 2100, and a little.
pub const LONGEST_GAP: i32 = 8 * 366;

impl Cron {
    /// Whether the minute or the hour field begins with `*`: the entry means a spacing, not a time of day.
    pub fn is_interval_like(&self) -> bool {
        self.minute_star || self.hour_star
    }

    /// Whether the minute field begins with `*` and the hour field names hours.
    pub fn is_interval_in_hours(&self) -> bool {
        self.minute_star && !self.hour_star
    }

    /// Whether both day fields are restricted, so that a day fits when either of them does.
    pub fn is_either_day(&self) -> bool {
        !self.days.star && !self.weekdays.star
    }

    /// Whether both day fields are restricted and one of them begins with `*` (`*/2`), so that both must fit.
    pub fn is_both_days(&self) -> bool {
        let (days, weekdays) = (self.days.plain != ALL_DAYS, self.weekdays.plain != ALL_WEEKDAYS);
        !self.is_either_day() && days && weekdays
    }

    /// Returns the text of a field as it was written, in capitals.
    pub fn field(&self, field: Field) -> &str {
        let index = field as usize;
        let index = if self.has_seconds { Some(index) } else { index.checked_sub(1) };
        index.and_then(|index| self.text.split(' ').nth(index)).unwrap_or("0")
    }

    /// Returns the first civil time from `from` on and before `end` that it names; both are whole seconds.
    pub fn first(&self, from: DateTime, end: DateTime) -> Option<DateTime> {
        let (mut date, mut time) = (from.date(), from.time());
        while date <= end.date() {
            let day = self.day(date, end.date())?;
            if day != date {
                time = Time::midnight();
            }
            if let Some(time) = self.time(time) {
                return Some(day.to_datetime(time)).filter(|found| *found < end);
            }
            date = day.tomorrow().ok()?;
            time = Time::midnight();
        }
        None
    }

    /// Returns the first day from `from` to `last` that the three day fields name.
    fn day(&self, from: Date, last: Date) -> Option<Date> {
        let (mut year, mut month, mut day) = (from.year(), from.month(), from.day());
        while (year, month) <= (last.year(), last.month()) {
            if self.months >> month & 1 == 1 {
                let rest = self.days_of(year, month) >> day << day;
                if rest != 0 {
                    return Date::new(year, month, rest.trailing_zeros() as i8).ok();
                }
            }
            day = 1;
            month += 1;
            if month > 12 {
                (year, month) = (year.checked_add(1)?, 1);
            }
        }
        None
    }

    /// Returns the days of a month that the two day fields name, from bit 1; the month field does not count.
    fn days_of(&self, year: i16, month: i8) -> u64 {
        let Ok(first) = Date::new(year, month, 1) else { return 0 };
        let length = i32::from(first.days_in_month());
        let first = i32::from(first.weekday().to_sunday_zero_offset());
        let all = (1_u64 << (length + 1)) - 2;
        let days = self.days.of(length, first) & all;
        let weekdays = self.weekdays.of(length, first) & all;
        if self.is_either_day() { days | weekdays } else { days & weekdays }
    }

    /// Returns the first time of day from `from` on that the entry names.
    fn time(&self, from: Time) -> Option<Time> {
        let (hour, minute, second) = (from.hour(), from.minute(), from.second());
        let at =
            |hour: u32, minute: u32, second: u32| Time::new(hour as i8, minute as i8, second as i8, 0).ok();
        let (first_minute, first_second) = (self.minutes.trailing_zeros(), self.seconds.trailing_zeros());
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = from_bit(self.seconds, second)
            {
                return at(hour as u32, minute as u32, second);
            }
            if let Some(minute) = from_bit(self.minutes, minute + 1) {
                return at(hour as u32, minute, first_second);
            }
        }
        at(from_bit(self.hours, hour + 1)?, first_minute, first_second)
    }

    /// Returns why it is silent for longer than [`LONGEST_GAP`], when it is.
    fn silence(&self) -> Option<Silence> {
        let fires =
            |year: i16| (1..=12).any(|month| self.months >> month & 1 == 1 && self.days_of(year, month) != 0);
        // These years begin on every weekday, leap years and others: what fires in all of them fires in every year.
        if (2000..2028).all(fires) {
            return None;
        }
        // The calendar repeats after 400 years.
        let mut last: Option<Date> = None;
        let (mut from, end) = (Date::constant(2000, 1, 1), Date::constant(2408, 12, 31));
        while let Some(day) = self.day(from, end) {
            if let Some(last) = last
                && days_between(last, day) > LONGEST_GAP
            {
                return Some(Silence::Between(last, day));
            }
            last = Some(day);
            // The first day of a month is enough to see years of silence.
            from = day.last_of_month().tomorrow().ok()?;
        }
        last.is_none().then_some(Silence::Ever)
    }
}

/// How an entry is silent.
enum Silence {
    Ever,
    Between(Date, Date),
}

const ALL_DAYS: u64 = 0xffff_fffe;
const ALL_WEEKDAYS: u64 = 0x7f;

fn days_between(from: Date, to: Date) -> i32 {
    (to - from).get_days()
}

/// Returns the lowest bit from `from` on.
fn from_bit(bits: u64, from: i8) -> Option<u32> {
    let rest = bits >> from << from;
    (rest != 0).then(|| rest.trailing_zeros())
}

impl Days {
    /// Returns the days of a month with this length whose first day has this weekday.
    fn of(&self, length: i32, first: i32) -> u64 {
        let mut bits = self.plain;
        for back in each_bit(self.from_last) {
            if length - back >= 1 {
                bits |= 1 << (length - back);
            }
        }
        let weekday = |day: i32| (first + day - 1) % 7;
        for day in each_bit(self.nearest).filter(|day| *day <= length) {
            bits |= 1
                << match weekday(day) {
                    // Saturday goes back and Sunday forward, but never out of the month.
                    6 if day == 1 => 3,
                    6 => day - 1,
                    0 if day == length => day - 2,
                    0 => day + 1,
                    _ => day,
                };
        }
        if self.last_weekday {
            bits |= 1
                << match weekday(length) {
                    6 => length - 1,
                    0 => length - 2,
                    _ => length,
                };
        }
        bits
    }
}

impl Weekdays {
    /// Returns the days of a month with this length whose first day has this weekday.
    fn of(&self, length: i32, first: i32) -> u64 {
        // One day a week, from bit 0.
        const WEEKS: u64 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28;
        let day_one = |weekday: i32| 1 + (weekday - first).rem_euclid(7);
        let mut bits = 0;
        for weekday in each_bit(self.plain) {
            bits |= WEEKS << day_one(weekday);
        }
        for (n, weekdays) in (1..).zip(&self.nth[1..]) {
            for weekday in each_bit(*weekdays) {
                bits |= 1 << (day_one(weekday) + 7 * (n - 1));
            }
        }
        for weekday in each_bit(self.last) {
            let day = day_one(weekday);
            bits |= 1 << (day + (length - day) / 7 * 7);
        }
        bits
    }
}

fn each_bit(bits: u64) -> impl Iterator<Item = i32> {
    let mut rest = bits;
    std::iter::from_fn(move || {
        (rest != 0).then(|| {
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            bit as i32
        })
    })
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let cron = parse::parse(text)?;
        match cron.silence() {
            None => Ok(cron),
            Some(Silence::Ever) => Err(CronError::never(text)),
            Some(Silence::Between(from, to)) => Err(CronError::silent(text, from, to)),
        }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the days of a month that an entry names.
    fn days(entry: &str, year: i16, month: i8) -> Vec<i8> {
        let cron: Cron = entry.parse().expect(entry);
        let mut from = DateTime::new(year, month, 1, 0, 0, 0, 0).unwrap();
        let end = from.date().last_of_month().tomorrow().unwrap().to_datetime(Time::midnight());
        let mut found = Vec::new();
        while let Some(at) = cron.first(from, end) {
            found.push(at.day());
            from = at.date().tomorrow().unwrap().to_datetime(Time::midnight());
        }
        found
    }

    #[test]
    fn days_are_those_of_vixie_cron() {
        // November 2027 begins on a Monday, October on a Friday, February 2028 on a Tuesday.
        for (entry, year, month, expected) in [
            // Either fits where both are restricted, both must where one begins with a star.
            ("0 0 13 * FRI", 2027, 10, vec![1, 8, 13, 15, 22, 29]),
            ("0 0 */10 * FRI", 2027, 10, vec![1]),
            ("0 0 1-8 * */2", 2027, 10, vec![2, 3, 5, 7]),
            (
                "0 0 * * 1-5",
                2027,
                11,
                vec![1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 15, 16, 17, 18, 19, 22, 23, 24, 25, 26, 29, 30],
            ),
            ("0 0 * * 0", 2027, 11, vec![7, 14, 21, 28]),
            ("0 0 * * 7", 2027, 11, vec![7, 14, 21, 28]),
            ("0 0 * * fri-sun", 2027, 11, vec![5, 6, 7, 12, 13, 14, 19, 20, 21, 26, 27, 28]),
            ("0 0 * * 5-7", 2027, 11, vec![5, 6, 7, 12, 13, 14, 19, 20, 21, 26, 27, 28]),
            ("0 0 31 * *", 2027, 11, vec![]),
            ("0 0 L * *", 2027, 11, vec![30]),
            ("0 0 L * *", 2028, 2, vec![29]),
            ("0 0 L-3 * *", 2028, 2, vec![26]),
            ("0 0 L-28 * *", 2028, 2, vec![1]),
            ("0 0 L-28 * *", 2027, 2, vec![]),
            ("0 0 LW * *", 2027, 10, vec![29]),
            ("0 0 LW * *", 2027, 11, vec![30]),
            ("0 0 1W * *", 2027, 5, vec![3]),
            ("0 0 15W * *", 2027, 5, vec![14]),
            ("0 0 31W * *", 2027, 10, vec![29]),
            ("0 0 31W * *", 2027, 11, vec![]),
            ("0 0 28W * *", 2027, 2, vec![26]),
            ("0 0 14W,L * *", 2027, 11, vec![15, 30]),
            ("0 0 * * FRI#2", 2027, 10, vec![8]),
            ("0 0 * * 5#5", 2027, 10, vec![29]),
            ("0 0 * * MON#5", 2027, 10, vec![]),
            ("0 0 * * FRIL", 2027, 10, vec![29]),
            ("0 0 * * MONL,1#1", 2027, 11, vec![1, 29]),
            ("0 0 * * 7L", 2027, 10, vec![31]),
            ("0 0 5 JAN,nov *", 2027, 11, vec![5]),
            ("0 0 5 jan-MAR *", 2027, 11, vec![]),
            ("0 0 2-30/7 */11 *", 2027, 1, vec![2, 9, 16, 23, 30]),
        ] {
            let found: Vec<i8> = days(entry, year, month)
                .into_iter()
                .filter(|day| {
                    let cron: Cron = entry.parse().unwrap();
                    *day > 0 && cron.months >> month & 1 == 1
                })
                .collect();
            assert_eq!(found, expected, "{entry} in {year}-{month}");
        }
    }

    #[test]
    fn times_of_day_are_found_without_steps() {
        let end: DateTime = "2030-01-01T00:00".parse().unwrap();
        for (entry, from, expected) in [
            ("*/15 * * * *", "2027-06-01T10:00:00", "2027-06-01T10:00:00"),
            ("*/15 * * * *", "2027-06-01T10:00:01", "2027-06-01T10:15:00"),
            ("*/15 * * * *", "2027-12-31T23:45:01", "2028-01-01T00:00:00"),
            ("30 4 * * *", "2027-06-01T04:30:01", "2027-06-02T04:30:00"),
            ("5,50 8-10/2 * * *", "2027-06-01T08:50:01", "2027-06-01T10:05:00"),
            ("10-20/5 0 1 1 *", "2027-06-01T08:50:01", "2028-01-01T00:10:00"),
            ("*/20 59 23 * * *", "2027-06-01T23:59:40", "2027-06-01T23:59:40"),
            ("*/20 59 23 * * *", "2027-06-01T23:59:41", "2027-06-02T23:59:00"),
            ("30 * * * * *", "2027-06-01T10:59:31", "2027-06-01T11:00:30"),
            ("0 0 29 2 *", "2027-06-01T00:00:00", "2028-02-29T00:00:00"),
        ] {
            let cron: Cron = entry.parse().expect(entry);
            let found = cron.first(from.parse().unwrap(), end);
            assert_eq!(found, Some(expected.parse().unwrap()), "{entry} from {from}");
        }
        let cron: Cron = "0 0 * * *".parse().unwrap();
        let (from, end) = ("2027-06-01T00:00:01".parse().unwrap(), "2027-06-02T00:00".parse().unwrap());
        assert_eq!(cron.first(from, end), None, "the end is no part of it");
    }

    #[test]
    fn classes_follow_the_first_characters() {
        for (entry, interval, hours, either, both) in [
            ("30 2 * * *", false, false, false, false),
            ("*/5 2 * * *", true, true, false, false),
            ("0 * * * *", true, false, false, false),
            ("0 */2 * * *", true, false, false, false),
            ("*,5 1-3 * * *", true, true, false, false),
            ("0-59/5 2 * * *", false, false, false, false),
            ("*/10 30 2 * * *", false, false, false, false),
            ("0 0 13 * FRI", false, false, true, false),
            ("0 0 */2 * FRI", false, false, false, true),
            ("0 0 1-7 * */1", false, false, false, false),
        ] {
            let cron: Cron = entry.parse().expect(entry);
            assert_eq!(
                (
                    cron.is_interval_like(),
                    cron.is_interval_in_hours(),
                    cron.is_either_day(),
                    cron.is_both_days()
                ),
                (interval, hours, either, both),
                "{entry}"
            );
        }
    }

    #[test]
    fn fields_are_told_apart() {
        let five: Cron = " 1  2 3 jan  mon ".parse().unwrap();
        assert_eq!(five.to_string(), "1 2 3 JAN MON");
        assert_eq!(
            (five.field(Field::Second), five.field(Field::Minute), five.field(Field::Weekday)),
            ("0", "1", "MON")
        );
        let six: Cron = "7 1 2 3 * *".parse().unwrap();
        assert_eq!((six.field(Field::Second), six.field(Field::Hour)), ("7", "2"));
    }
}
