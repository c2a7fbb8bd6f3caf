//! What people are told, and when: short texts that help at three in the morning.

use std::fmt::Write as _;

use jiff::civil::Time;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::schedule::Zone;

/// Why people are told something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// A run failed.
    #[default]
    Failure,
    /// A run succeeded after one that failed, or a stale schedule is fresh again.
    Recovery,
    /// A schedule went without success for longer than it may.
    Stale,
    /// Instants became no run.
    Missed,
    /// A schedule stands still by itself.
    Paused,
    /// The clock was set so far that schedules left out what was between, or files of schedules cannot be used.
    Server,
    /// Somebody tries a target.
    Test,
}

impl Occasion {
    /// Returns the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Recovery => "recovery",
            Self::Stale => "stale",
            Self::Missed => "missed",
            Self::Paused => "paused",
            Self::Server => "server",
            Self::Test => "test",
        }
    }
}

/// What people are told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Why.
    pub occasion: Occasion,
    /// One line: what is the matter.
    pub subject: String,
    /// What happened, in a sentence.
    pub what: String,
    /// Where: the line of the runbook, the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// When it was good last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<String>,
    /// Where to look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The run that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// The schedule that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
}

impl Notice {
    /// Returns the facts with their names, the most important first.
    pub fn facts(&self) -> Vec<(&'static str, &str)> {
        let mut facts = vec![("what", self.what.as_str())];
        let more = [
            ("where", &self.place),
            ("since", &self.since),
            ("last good", &self.last_good),
            ("see", &self.link),
            ("next", &self.next),
        ];
        facts.extend(more.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
        facts
    }

    /// Writes it as plain text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.facts() {
            let _ = writeln!(text, "{name:<10}{}", value.replace('\n', "\n          "));
        }
        text
    }

    /// Writes it as HTML that shows text of others as text.
    pub fn html(&self) -> String {
        let mut html = format!("<b>{}</b>", escape(&self.subject));
        for (name, value) in self.facts() {
            let value = match name {
                "see" => format!("<a href=\"{0}\">{0}</a>", escape(value)),
                "next" => format!("<code>{}</code>", escape(value)),
                _ => escape(value).replace('\n', "<br>"),
            };
            let _ = write!(html, "<br>{name}: {value}");
        }
        html
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Hours in which people are told only what cannot wait.
#[derive(Debug, Clone, PartialEq)]
pub struct Quiet {
    /// When they begin, on the clock of the zone.
    pub from: Time,
    /// When they end; before `from` it is on the next day.
    pub until: Time,
    /// The zone.
    pub tz: Zone,
    /// What passes at once all the same.
    pub urgent: Vec<Occasion>,
}

impl Quiet {
    /// Returns when something may be told that happens now: now, or at the end of the quiet hours.
    pub fn due(&self, occasion: Occasion, now: Timestamp) -> Timestamp {
        if occasion == Occasion::Test || self.urgent.contains(&occasion) {
            return now;
        }
        let civil = self.tz.civil(now);
        let time = civil.time();
        let (is_quiet, ends_tomorrow) = if self.from <= self.until {
            (self.from <= time && time < self.until, false)
        } else {
            (time >= self.from || time < self.until, time >= self.from)
        };
        if !is_quiet {
            return now;
        }
        let day = if ends_tomorrow { civil.date().tomorrow().unwrap_or(civil.date()) } else { civil.date() };
        // An end that the clock of that day leaves out comes when the clock goes on.
        let end = self.tz.instant(day.to_datetime(self.until)).filter(|end| *end > now);
        end.or_else(|| now.checked_add(SignedDuration::from_hours(1)).ok()).unwrap_or(now)
    }
}

/// How long after a failed attempt the next one follows: longer each time, an hour at most; none after two days.
pub fn pause(attempts: i64, since: SignedDuration) -> Option<SignedDuration> {
    if since > SignedDuration::from_hours(48) {
        return None;
    }
    let seconds = 15_i64.saturating_mul(1 << attempts.clamp(0, 8)).min(3600);
    Some(SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(from: &str, until: &str) -> Quiet {
        Quiet {
            from: from.parse().unwrap(),
            until: until.parse().unwrap(),
            tz: "Europe/Amsterdam".parse().unwrap(),
            urgent: vec![Occasion::Stale],
        }
    }

    #[test]
    fn what_is_not_urgent_waits_for_the_end_of_quiet_hours() {
        for (from, until, now, due) in [
            // Winter: one hour after UTC.
            ("22:00", "07:00", "2027-01-10T20:59:59Z", "2027-01-10T20:59:59Z"),
            ("22:00", "07:00", "2027-01-10T21:00:00Z", "2027-01-11T06:00:00Z"),
            ("22:00", "07:00", "2027-01-11T05:59:59Z", "2027-01-11T06:00:00Z"),
            ("22:00", "07:00", "2027-01-11T06:00:00Z", "2027-01-11T06:00:00Z"),
            ("12:00", "13:30", "2027-07-10T10:30:00Z", "2027-07-10T11:30:00Z"),
            ("12:00", "13:30", "2027-07-10T11:30:00Z", "2027-07-10T11:30:00Z"),
            // The night in which the clock is set forward: 02:30 is not there, and 03:00 is the same instant.
            ("22:00", "02:30", "2027-03-28T00:30:00Z", "2027-03-28T01:00:00Z"),
        ] {
            let (now, due): (Timestamp, Timestamp) = (now.parse().unwrap(), due.parse().unwrap());
            let quiet = quiet(from, until);
            assert_eq!(quiet.due(Occasion::Failure, now), due, "{from} {until} {now}");
            assert_eq!(quiet.due(Occasion::Stale, now), now);
        }
    }

    #[test]
    fn attempts_follow_each_other_ever_more_slowly_and_end() {
        let pauses: Vec<i64> =
            (0..10).map(|tries| pause(tries, SignedDuration::ZERO).unwrap().as_secs()).collect();
        assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(pause(3, SignedDuration::from_hours(49)), None);
    }

    #[test]
    fn text_of_others_is_text_in_html() {
        let notice = Notice {
            subject: "<script>".into(),
            what: "a & b\n<b>".into(),
            link: Some("https://x/?a=\"".into()),
            ..Notice::default()
        };
        let html = notice.html();
        assert!(!html.contains("<script>") && html.contains("a &amp; b<br>&lt;b&gt;"), "{html}");
        assert!(html.contains("href=\"https://x/?a=&quot;\""), "{html}");
    }
}
