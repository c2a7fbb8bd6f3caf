//! Whether who has to come in is let in: by the lists at the lines of IOS, and by what an ASA says of SSH.

use std::net::Ipv4Addr;

use serde::Deserialize;

use super::super::Os;
use super::super::outline::Outline;
use super::{Finding, Severity};

/// Who has to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reachable {
    /// Where they come from: an address or a network, as `192.0.2.0/24`.
    pub from: Source,
    /// The interface of an ASA that they come in by; none: any.
    #[serde(default)]
    pub interface: Option<String>,
}

/// Addresses without a gap: the first and the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Source(u32, u32);

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address and no network; write `192.0.2.7` or `192.0.2.0/24`");
        let (address, bits) = text.split_once('/').unwrap_or((&text, "32"));
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32).ok_or_else(wrong)?;
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        Ok(Self::of(address, !mask))
    }
}

impl Source {
    const ANY: Self = Self(0, u32::MAX);

    /// An address with a wildcard whose ones are at its end.
    fn of(address: Ipv4Addr, wildcard: u32) -> Self {
        let first = u32::from(address) & !wildcard;
        Self(first, first | wildcard)
    }

    fn meets(self, other: Self) -> bool {
        self.0 <= other.1 && other.0 <= self.1
    }

    /// What is left of it without another one.
    fn without(self, other: Self) -> Vec<Self> {
        let mut left = Vec::new();
        if other.0 > self.0 {
            left.push(Self(self.0, self.1.min(other.0 - 1)));
        }
        if other.1 < self.1 {
            left.push(Self(self.0.max(other.1 + 1), self.1));
        }
        left
    }
}

/// What a list says of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Lets,
    Keeps,
    /// It depends on what is not in the configuration, or on what is not understood.
    Open,
}

/// Lists at the lines of IOS that let nobody in.
pub(super) fn closed(outline: &Outline) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, list) in guarded(outline) {
        let entries = entries(outline, &list);
        if !entries.is_empty() && !entries.iter().any(|entry| entry.starts_with("permit ")) {
            findings.push(Finding {
                rule: "reachable".to_owned(),
                severity: Severity::Error,
                line: outline.number(at),
                message: format!("access list `{list}` lets nobody in"),
            });
        }
    }
    findings
}

impl Reachable {
    /// Says where they are not let in: the place, and why.
    pub(super) fn missing(&self, outline: &Outline) -> Vec<(usize, String)> {
        if outline.os() == Os::Asa { self.missing_at_asa(outline) } else { self.missing_at_lines(outline) }
    }

    fn missing_at_asa(&self, outline: &Outline) -> Vec<(usize, String)> {
        let mut rest = vec![self.from];
        for at in outline.find(0, "ssh *") {
            let words: Vec<&str> = outline.text(at).split(' ').collect();
            let [_, address, mask, interface] = words[..] else { continue };
            let (Ok(address), Ok(mask)) = (address.parse(), mask.parse::<Ipv4Addr>()) else { continue };
            if self.interface.as_deref().is_none_or(|wanted| wanted == interface) {
                let network = Source::of(address, !u32::from(mask));
                rest = rest.into_iter().flat_map(|part| part.without(network)).collect();
            }
        }
        if rest.is_empty() {
            return Vec::new();
        }
        let place = self.interface.as_ref().map(|name| format!(" at `{name}`")).unwrap_or_default();
        vec![(0, format!("no `ssh` line lets all of them in{place}"))]
    }

    fn missing_at_lines(&self, outline: &Outline) -> Vec<(usize, String)> {
        let lines = outline.find(0, "line vty *");
        let open: Vec<usize> = lines.into_iter().filter(|at| takes_ssh(outline, *at)).collect();
        if open.is_empty() {
            return vec![(0, "no line takes SSH".to_owned())];
        }
        let mut missing = Vec::new();
        for (at, list) in guarded(outline).into_iter().filter(|(at, _)| open.contains(&outline.above(*at))) {
            let entries = entries(outline, &list);
            if entries.is_empty() {
                // A list that is not there keeps nobody out; that it is missing is another finding.
                continue;
            }
            match verdict(&entries, self.from) {
                Verdict::Lets => {}
                Verdict::Keeps => {
                    missing.push((at, format!("access list `{list}` does not let all of them in")));
                }
                Verdict::Open => {
                    missing.push((at, format!("nobody can tell whether access list `{list}` lets them in")));
                }
            }
        }
        missing
    }
}

fn takes_ssh(outline: &Outline, at: usize) -> bool {
    let lines = outline.find(at, "transport input *");
    lines.is_empty()
        || lines.iter().any(|line| outline.text(*line).split(' ').any(|word| matches!(word, "ssh" | "all")))
}

/// Lists that stand at lines, each with the place of the line that binds it.
fn guarded(outline: &Outline) -> Vec<(usize, String)> {
    let sections = outline.find(0, "line vty *");
    let bound = sections.into_iter().flat_map(|at| outline.find(at, "access-class * in*"));
    bound.filter_map(|at| Some((at, outline.text(at).split(' ').nth(1)?.to_owned()))).collect()
}

/// The entries of a list without their numbers and remarks.
fn entries(outline: &Outline, list: &str) -> Vec<String> {
    let flat = format!("access-list {list} ");
    let sections = ["standard", "extended"].map(|sort| format!("ip access-list {sort} {list}"));
    let mut entries: Vec<&str> = Vec::new();
    for at in outline.below(0) {
        let head = outline.text(*at);
        entries.extend(head.strip_prefix(&flat));
        if sections.iter().any(|section| section == head) {
            entries.extend(outline.below(*at).iter().map(|line| outline.text(*line)));
        }
    }
    let bare = |entry: &str| {
        entry.trim_start_matches(|letter: char| letter.is_ascii_digit()).trim_start().to_owned()
    };
    entries.into_iter().map(bare).filter(|entry| !entry.starts_with("remark")).collect()
}

/// What a list says of all of them together: the first entry that fits counts.
fn verdict(entries: &[String], from: Source) -> Verdict {
    let (mut rest, mut is_open) = (vec![from], false);
    for entry in entries {
        let words: Vec<&str> = entry.split(' ').filter(|word| *word != "log").collect();
        let (is_permit, words) = match words.split_first() {
            Some((&"permit", words)) => (true, words),
            Some((&"deny", words)) => (false, words),
            _ => (false, &[][..]),
        };
        let is_extended =
            words.first().is_some_and(|word| word.starts_with(|letter: char| letter.is_ascii_lowercase()))
                && !matches!(words.first(), Some(&("any" | "host")));
        if is_extended && !matches!(words[0], "ip" | "tcp") {
            continue;
        }
        let (source, behind) = source(if is_extended { &words[1..] } else { words });
        // Where it is about one destination or some ports only, nobody can tell.
        let is_whole = !is_extended || matches!(behind, ["any"] | ["any", "eq", "22" | "ssh"]);
        match (source, is_permit) {
            (Some(source), true) if is_whole => {
                rest = rest.into_iter().flat_map(|part| part.without(source)).collect();
            }
            (Some(source), false) if is_whole && rest.iter().any(|part| source.meets(*part)) => {
                return if is_open { Verdict::Open } else { Verdict::Keeps };
            }
            (Some(source), _) => is_open |= rest.iter().any(|part| source.meets(*part)),
            (None, _) => is_open = true,
        }
        if rest.is_empty() {
            return if is_open { Verdict::Open } else { Verdict::Lets };
        }
    }
    if is_open { Verdict::Open } else { Verdict::Keeps }
}

/// Reads where an entry's packets come from, and what stands behind that.
fn source<'w>(words: &'w [&'w str]) -> (Option<Source>, &'w [&'w str]) {
    let address = |word: &&str| word.parse::<Ipv4Addr>().ok();
    match words {
        ["any", rest @ ..] => (Some(Source::ANY), rest),
        ["host", host, rest @ ..] => (address(host).map(|host| Source::of(host, 0)), rest),
        [first, wildcard, rest @ ..] if address(wildcard).is_some() => {
            let wildcard = address(wildcard).map_or(0, u32::from);
            // Its ones are at its end, or the addresses have gaps.
            let is_plain = (wildcard.wrapping_add(1) & wildcard) == 0;
            (address(first).filter(|_| is_plain).map(|first| Source::of(first, wildcard)), rest)
        }
        [first, rest @ ..] => (address(first).map(|first| Source::of(first, 0)), rest),
        [] => (None, &[]),
    }
}
