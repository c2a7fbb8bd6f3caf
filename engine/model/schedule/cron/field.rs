//! The six fields of a cron entry.

use std::fmt;

/// A field, in the order of an entry with six of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Seconds, 0 to 59.
    Second,
    /// Minutes, 0 to 59.
    Minute,
    /// Hours, 0 to 23.
    Hour,
    /// Days of the month, 1 to 31.
    Day,
    /// Months, 1 to 12 or `JAN` to `DEC`.
    Month,
    /// Weekdays, 0 to 7 or `SUN` to `SAT`; 0 and 7 are Sunday.
    Weekday,
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Field {
    /// All fields, in the order of an entry with six of them.
    pub const ALL: [Self; 6] =
        [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Weekday];

    /// Returns the least and the greatest number.
    pub fn range(self) -> (u8, u8) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::Day => (1, 31),
            Self::Month => (1, 12),
            Self::Weekday => (0, 7),
        }
    }

    /// Returns the names of its numbers, the first for the least.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Second | Self::Minute | Self::Hour | Self::Day => &[],
            Self::Month => &MONTHS,
            Self::Weekday => &WEEKDAYS,
        }
    }

    /// Returns the number of a name in capitals.
    pub(super) fn number(self, name: &str) -> Option<u8> {
        let index = self.names().iter().position(|known| *known == name)?;
        Some(self.range().0 + index as u8)
    }

    /// Writes a number as people would: with its name where there is one.
    pub(super) fn word(self, number: u8) -> String {
        let index = usize::from(number - self.range().0);
        let names = self.names();
        // 7 is Sunday, too.
        names.get(index % names.len().max(1)).map_or_else(|| number.to_string(), |name| (*name).to_owned())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day of month",
            Self::Month => "month",
            Self::Weekday => "weekday",
        })
    }
}
