//! Changes of text files: one line, or one block between two markers. Pure.

use regex::bytes::Regex;
use serde::{Serialize, Serializer};

/// A change of a text.
#[derive(Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Edit {
    /// One line.
    Line(Line),
    /// One block between markers.
    Block(Block),
}

/// A line that shall be there, or not.
#[derive(Clone, Serialize)]
pub(super) struct Line {
    pub(super) text: String,
    /// What the line replaces, or is removed: the last line that matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) regex: Option<Pattern>,
    #[serde(flatten)]
    pub(super) anchor: Anchor,
    pub(super) absent: bool,
    pub(super) create: bool,
}

/// A block that shall be there, or not.
#[derive(Clone, Serialize)]
pub(super) struct Block {
    pub(super) text: String,
    pub(super) begin: String,
    pub(super) end: String,
    #[serde(flatten)]
    pub(super) anchor: Anchor,
    pub(super) absent: bool,
    pub(super) create: bool,
}

/// Where something new goes: at the end unless a line matches.
#[derive(Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Anchor {
    /// At the end of the file.
    End {},
    /// At the beginning of the file.
    Start {},
    /// After the last line that matches, or at the end.
    After(Pattern),
    /// Before the last line that matches, or at the end.
    Before(Pattern),
}

/// A regular expression that knows its text.
#[derive(Clone)]
pub(super) struct Pattern(pub(super) Regex);

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl Edit {
    /// Whether a file that does not exist counts as an empty one.
    pub(super) fn creates(&self) -> bool {
        match self {
            Self::Line(line) => line.create || line.absent,
            Self::Block(block) => block.create || block.absent,
        }
    }

    /// Returns the changed text.
    pub(super) fn apply(&self, old: &[u8]) -> Vec<u8> {
        match self {
            Self::Line(line) => line.apply(old),
            Self::Block(block) => block.apply(old),
        }
    }
}

impl Anchor {
    /// Returns the index of the line before which something new goes.
    fn place(&self, lines: &[&[u8]]) -> usize {
        let last = |pattern: &Pattern| lines.iter().rposition(|line| pattern.0.is_match(bare(line)));
        match self {
            Self::Start {} => 0,
            Self::End {} => lines.len(),
            Self::After(pattern) => last(pattern).map_or(lines.len(), |at| at + 1),
            Self::Before(pattern) => last(pattern).unwrap_or(lines.len()),
        }
    }
}

impl Line {
    fn apply(&self, old: &[u8]) -> Vec<u8> {
        let mut lines = split(old);
        let ending = ending(&lines);
        let matches = |line: &[u8]| match &self.regex {
            Some(pattern) => pattern.0.is_match(bare(line)),
            None => bare(line) == self.text.as_bytes(),
        };
        if self.absent {
            lines.retain(|line| !matches(line));
            return lines.concat();
        }
        let is_there = |line: &[u8]| bare(line) == self.text.as_bytes();
        let new = [self.text.as_bytes(), ending].concat();
        if let Some(at) = lines.iter().rposition(|line| matches(line)) {
            if bare(lines[at]) != self.text.as_bytes() {
                let is_whole = lines[at].ends_with(b"\n");
                let new = if is_whole { &new[..] } else { self.text.as_bytes() };
                return [&lines[..at].concat(), new, &lines[at + 1..].concat()].concat();
            }
            return old.to_vec();
        }
        if lines.iter().any(|line| is_there(line)) {
            return old.to_vec();
        }
        insert(&lines, self.anchor.place(&lines), &new, ending)
    }
}

impl Block {
    fn apply(&self, old: &[u8]) -> Vec<u8> {
        let lines = split(old);
        let ending = ending(&lines);
        let at = |marker: &str, from: usize| {
            lines[from..].iter().position(|line| bare(line) == marker.as_bytes()).map(|n| n + from)
        };
        let begin = at(&self.begin, 0);
        let end = begin.and_then(|begin| at(&self.end, begin));
        let mut new = Vec::new();
        if !self.absent {
            for line in std::iter::once(self.begin.as_str())
                .chain(self.text.lines())
                .chain(std::iter::once(self.end.as_str()))
            {
                new.extend_from_slice(line.as_bytes());
                new.extend_from_slice(ending);
            }
        }
        match (begin, end) {
            (Some(begin), Some(end)) => {
                if !lines[end].ends_with(b"\n") && !new.is_empty() {
                    new.truncate(new.len() - ending.len());
                }
                [lines[..begin].concat(), new, lines[end + 1..].concat()].concat()
            }
            _ if self.absent => old.to_vec(),
            // A begin without an end was cut by somebody: what follows it is not ours to remove.
            _ => insert(&lines, self.anchor.place(&lines), &new, ending),
        }
    }
}

/// Puts whole lines before the line of this index.
fn insert(lines: &[&[u8]], at: usize, new: &[u8], ending: &[u8]) -> Vec<u8> {
    let mut text = lines[..at].concat();
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.extend_from_slice(ending);
    }
    text.extend_from_slice(new);
    text.extend(lines[at..].concat());
    text
}

/// Splits a text into lines that keep their ends.
fn split(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Returns a line without its end.
fn bare(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Returns how the lines of a text end: as the first one does.
fn ending(lines: &[&[u8]]) -> &'static [u8] {
    if lines.first().is_some_and(|line| line.ends_with(b"\r\n")) { b"\r\n" } else { b"\n" }
}
