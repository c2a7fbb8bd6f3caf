//! What devices say, as data: pages, refusals, notices, and the questions that have an answer.

use std::sync::LazyLock;

use super::super::Os;
use super::super::facts::is_like;

/// What one platform says.
#[derive(Debug, Default)]
pub(super) struct Words {
    more: Vec<&'static str>,
    /// A pattern and whether it is an error, in the order of the file.
    said: Vec<(&'static str, bool)>,
    answers: Vec<(&'static str, &'static str, &'static str)>,
}

impl Words {
    /// Returns the words of a platform.
    pub(super) fn of(os: Os) -> &'static Self {
        static IOS: LazyLock<Words> = LazyLock::new(|| Words::read(include_str!("ios.words")));
        static ASA: LazyLock<Words> = LazyLock::new(|| Words::read(include_str!("asa.words")));
        match os {
            Os::Ios | Os::Ap => &IOS,
            Os::Asa => &ASA,
        }
    }

    fn read(text: &'static str) -> Self {
        let mut words = Self::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            match kind {
                "more" => words.more.push(rest),
                "error" => words.said.push((rest, true)),
                "notice" => words.said.push((rest, false)),
                "answer" => {
                    let mut parts = rest.split("=>").map(str::trim);
                    let mut next = || parts.next().unwrap_or_default();
                    words.answers.push((next(), next(), next()));
                }
                _ => unreachable!("`{line}` is of no kind"),
            }
        }
        words
    }

    /// Whether a page waits for a key.
    pub(super) fn is_more(&self, line: &str) -> bool {
        self.more.iter().any(|pattern| is_like(pattern, line))
    }

    /// Tells whether a line is an error, or worth knowing; nothing for any other.
    pub(super) fn is_error(&self, line: &str) -> Option<bool> {
        self.said.iter().find(|(pattern, _)| is_like(pattern, line)).map(|(_, is_error)| *is_error)
    }

    /// Returns what to answer a question that a command asks; nothing where nobody foresaw it.
    pub(super) fn answer(&self, command: &str, question: &str) -> Option<&'static str> {
        let fits =
            |(asks, asked, _): &&(&str, &str, &str)| is_like(asks, command) && is_like(asked, question);
        self.answers.iter().find(fits).map(|(_, _, text)| *text)
    }
}

/// Whether a line ends in a question, as far as a line alone can tell.
pub(super) fn is_question(line: &str) -> bool {
    let line = line.trim_end();
    let lower = line.to_ascii_lowercase();
    [
        "[confirm]",
        "[yes/no]",
        "[yes/no]:",
        "(y/n)",
        "(y/n)?",
        "(yes/no)",
        "(yes/no):",
        "[y/n]",
        "[y/n]:",
        "]?",
        "]:",
        "?",
        "password:",
        "username:",
    ]
    .iter()
    .any(|end| lower.ends_with(end))
}

/// Whether a line is a message of the log that came in between: `*Mar  1 00:01:02.003: %SYS-5-CONFIG_I: …`.
pub(super) fn is_noise(line: &str) -> bool {
    let Some((head, rest)) = line.split_once('%') else { return false };
    let Some((name, _)) = rest.split_once(':') else { return false };
    let is_word = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let parts: Vec<&str> = name.split('-').collect();
    let has_level = parts.len() >= 3
        && parts[1..parts.len() - 1].iter().any(|part| matches!(part.as_bytes(), [b'0'..=b'7']));
    let head = head.trim_end();
    has_level && parts.iter().all(|part| is_word(part)) && (head.is_empty() || head.ends_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_notices_and_from_what_is_shown() {
        for (os, line, is_error) in [
            (Os::Ios, "% Invalid input detected at '^' marker.", Some(true)),
            (Os::Ios, "% Incomplete command.", Some(true)),
            (Os::Ios, "% Ambiguous command:  \"s\"", Some(true)),
            (Os::Ios, "% Duplicate sequence number", Some(true)),
            (Os::Ios, "%Error: something", Some(true)),
            (Os::Ios, "%BGP: neighbor is another's", Some(true)),
            (Os::Ios, "Command rejected: a port of a channel", Some(true)),
            (Os::Ios, "%Warning: portfast should only be enabled on ports to one host", Some(false)),
            (Os::Ios, "% Interface Gi0/1 IPv4 address 192.0.2.1 removed due to enabling VRF x", Some(false)),
            (
                Os::Ios,
                "%Default route without gateway, if not a point-to-point interface, may impact performance",
                Some(false),
            ),
            (Os::Ios, " remark % Invalid input is what it says", None),
            (Os::Ios, "Building configuration...", None),
            (Os::Asa, "ERROR: % Invalid input detected at '^' marker.", Some(true)),
            (Os::Asa, "ERROR: unable to delete it", Some(true)),
            (Os::Asa, "WARNING: found duplicate element", Some(false)),
            (Os::Asa, "INFO: Outside address overlap", Some(false)),
            (Os::Asa, "Command authorization failed", Some(true)),
            (Os::Asa, "access-list X remark not valid ERROR: here", None),
        ] {
            assert_eq!(Words::of(os).is_error(line), is_error, "{os} {line}");
        }
    }

    #[test]
    fn only_questions_that_somebody_foresaw_have_an_answer() {
        let ios = Words::of(Os::Ios);
        let removal = "This operation will remove all username related configurations with same name.Do you want to continue? [confirm]";
        assert_eq!(ios.answer("no username bob", removal), Some(""));
        assert_eq!(
            ios.answer("reload in 5", "System configuration has been modified. Save? [yes/no]:"),
            Some("no")
        );
        assert_eq!(ios.answer("reload in 5", "Proceed with reload? [confirm]"), Some(""));
        assert_eq!(ios.answer("reload", "Proceed with reload? [confirm]"), None);
        assert_eq!(ios.answer("no hostname x", "Really? [confirm]"), None);
    }

    #[test]
    fn messages_of_the_log_are_told_from_other_lines() {
        for line in [
            "*Mar  1 00:01:02.003: %SYS-5-CONFIG_I: Configured from console by vty0",
            "000123: .Mar  1 00:01:02: %LINEPROTO-5-UPDOWN: Line protocol on Interface Gi0/1, changed state to up",
            "%ASA-6-302013: Built outbound TCP connection",
            "Mar  1 2027 10:00:00 UTC: %CDP-4-NATIVE_VLAN_MISMATCH: x",
            "*Mar  1 00:01:02.003: %PM-SP-4-ERR_DISABLE: x",
        ] {
            assert!(is_noise(line), "{line}");
        }
        for line in [
            "% Invalid input",
            " description 50% of a link",
            "%Error: x",
            "logging event %SYS-5-CONFIG_I: x",
            "",
        ] {
            assert!(!is_noise(line), "{line}");
        }
    }
}
