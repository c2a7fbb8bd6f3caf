//! Replaces secret values by their names in everything that is recorded or shown.

mod forms;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;

use crate::model::secret::{Secret, SecretName};

/// Knows every secret that a run has seen and replaces each form of each value by `«secret:name»`.
///
/// Clones share one growing list. Line breaks, and the blanks that indent the next line, are ignored in comparing, so
/// values are found in base64 and hex wrapped at any column, and in indented blocks.
#[derive(Clone, Default)]
pub struct Redactor {
    patterns: Arc<RwLock<Patterns>>,
}

/// A secret that cannot be redacted, because its value would be found everywhere by chance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret `{name}` is too short to be hidden in output: it has fewer than {least} bytes", least = forms::SHORTEST)]
pub struct TooShort {
    /// Which secret.
    pub name: SecretName,
}

/// All that is searched for.
#[derive(Default)]
struct Patterns {
    /// What is searched for and what replaces it; `None` for a replacement itself, which must survive when text is
    /// redacted twice.
    labels: BTreeMap<Box<[u8]>, Option<Arc<str>>>,
    /// The values that are known, as they came: one that is read again need not be taken apart again.
    learnt: HashSet<Box<[u8]>>,
    longest: usize,
    beginnings: Beginnings,
}

/// Where a pattern may begin: a bit for each hash of the first bytes of each pattern.
///
/// A secret sets a few bits of it, where an automaton of all patterns would have to be made anew.
#[derive(Default)]
struct Beginnings {
    bits: Vec<u64>,
    /// Whether a pattern begins with this byte.
    first: Vec<bool>,
}

impl Redactor {
    /// Learns a secret; everything redacted from now on hides it.
    pub fn add(&self, secret: &Secret) -> Result<(), TooShort> {
        if secret.expose().trim_ascii().len() < forms::SHORTEST {
            return Err(TooShort { name: secret.name().clone() });
        }
        let mut patterns = self.patterns.write();
        if patterns.learnt.insert(secret.expose().into()) {
            let label: Arc<str> = format!("«secret:{}»", secret.name()).into();
            patterns.insert(label.as_bytes().into(), None);
            for form in forms::of(secret.expose()) {
                patterns.insert(form.into(), Some(label.clone()));
            }
        }
        Ok(())
    }

    /// Whether no secret is known yet, so that nothing can be replaced.
    pub fn is_empty(&self) -> bool {
        self.patterns.read().labels.is_empty()
    }

    /// Redacts text.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A value that is no text can cut a character in two.
            Cow::Owned(bytes) => Cow::Owned(
                String::from_utf8(bytes)
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            ),
        }
    }

    /// Redacts bytes.
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut out = Vec::new();
        let (replaced, _) = self.patterns.read().replace(bytes, true, &mut out);
        if replaced { Cow::Owned(out) } else { Cow::Borrowed(bytes) }
    }

    /// Redacts all strings and keys of a JSON value in place and returns whether something was replaced.
    pub fn json(&self, value: &mut Value) -> bool {
        if self.is_empty() {
            return false;
        }
        match value {
            Value::String(text) => match self.text(text) {
                Cow::Borrowed(_) => false,
                Cow::Owned(redacted) => {
                    *text = redacted;
                    true
                }
            },
            Value::Array(items) => items.iter_mut().fold(false, |replaced, item| self.json(item) | replaced),
            Value::Object(map) => {
                let mut replaced = map.values_mut().fold(false, |replaced, item| self.json(item) | replaced);
                if map.keys().any(|key| matches!(self.text(key), Cow::Owned(_))) {
                    for (key, item) in std::mem::take(map) {
                        let mut key = self.text(&key).into_owned();
                        while map.contains_key(&key) {
                            key.push('\'');
                        }
                        map.insert(key, item);
                    }
                    replaced = true;
                }
                replaced
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// Opens a redactor for output that comes in chunks.
    pub fn stream(&self) -> Streaming {
        Streaming { redactor: self.clone(), held: Vec::new() }
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} patterns)", self.patterns.read().labels.len())
    }
}

/// Redacts one stream of output, chunk by chunk.
///
/// Holds back only bytes that could be the beginning of a secret. A secret added meanwhile is hidden from the next chunk on.
pub struct Streaming {
    redactor: Redactor,
    held: Vec<u8>,
}

impl Streaming {
    /// Takes a chunk, appends what can be shown to `out`, and returns whether something was replaced.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> bool {
        let patterns = self.redactor.patterns.read();
        if self.held.is_empty() {
            let (replaced, rest) = patterns.replace(chunk, false, out);
            self.held.extend_from_slice(&chunk[rest..]);
            return replaced;
        }
        self.held.extend_from_slice(chunk);
        let (replaced, rest) = patterns.replace(&self.held, false, out);
        self.held.drain(..rest);
        replaced
    }

    /// Appends what was held back and returns whether something was replaced.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        let (replaced, _) = self.redactor.patterns.read().replace(&self.held, true, out);
        self.held.clear();
        replaced
    }
}

impl Patterns {
    fn insert(&mut self, pattern: Box<[u8]>, label: Option<Arc<str>>) {
        self.longest = self.longest.max(pattern.len());
        self.beginnings.insert(&pattern);
        self.labels.entry(pattern).or_insert(label);
    }

    /// Returns the first place from `position` on where a pattern stands, and the longest pattern there.
    fn find(&self, text: &[u8], position: usize) -> Option<(usize, &[u8], Option<&str>)> {
        let mut start = position;
        loop {
            start = self.beginnings.next(text, start)?;
            if let Some((pattern, label)) = self.longest_at(&text[start..]) {
                return Some((start, pattern, label));
            }
            start += 1;
        }
    }

    /// Returns the longest pattern that the text begins with.
    fn longest_at(&self, mut text: &[u8]) -> Option<(&[u8], Option<&str>)> {
        loop {
            // A pattern that the text begins with is also what every pattern between the two begins with.
            let below = (Bound::Unbounded, Bound::Included(text));
            let (pattern, label) = self.labels.range::<[u8], _>(below).next_back()?;
            let common = pattern.iter().zip(text).take_while(|(one, other)| one == other).count();
            if common == pattern.len() {
                return Some((pattern, label.as_deref()));
            }
            text = &text[..common];
        }
    }

    /// Appends the redacted input to `out`; returns whether something was replaced and how much input was consumed.
    ///
    /// Unless this is the `end`, input from the first byte on that could be the beginning of a pattern is left.
    fn replace(&self, input: &[u8], end: bool, out: &mut Vec<u8>) -> (bool, usize) {
        if self.labels.is_empty() {
            out.extend_from_slice(input);
            return (false, input.len());
        }
        let text = unwrapped(input);
        let mut replaced = false;
        let (mut position, mut shown) = (0, 0);
        let mut open = if end { text.bytes.len() } else { self.open_from(&text.bytes, 0) };
        while let Some((start, pattern, label)) = self.find(&text.bytes, position) {
            if start >= open && !end {
                break;
            }
            position = start + pattern.len();
            if let Some(label) = label {
                out.extend_from_slice(&input[shown..text.origin(start)]);
                out.extend_from_slice(label.as_bytes());
                shown = text.origin(position - 1) + 1;
                replaced = true;
            }
            if position > open {
                open = self.open_from(&text.bytes, position);
            }
        }
        let rest = if open == text.bytes.len() { input.len() } else { text.origin(open) };
        out.extend_from_slice(&input[shown..rest]);
        (replaced, rest)
    }

    /// Returns where the longest ending begins that is the beginning of a pattern, but not a whole one.
    fn open_from(&self, text: &[u8], position: usize) -> usize {
        let first = position.max((text.len() + 1).saturating_sub(self.longest));
        (first..text.len())
            .find(|&start| {
                let ending = &text[start..];
                self.beginnings.may_stand_in(ending) && {
                    let above = (Bound::Excluded(ending), Bound::Unbounded);
                    self.labels
                        .range::<[u8], _>(above)
                        .next()
                        .is_some_and(|(next, _)| next.starts_with(ending))
                }
            })
            .unwrap_or(text.len())
    }
}

impl Beginnings {
    /// How many bits a hash has: the table fits the first cache of a processor.
    const BITS: u32 = 18;

    fn insert(&mut self, pattern: &[u8]) {
        self.bits.resize(1 << (Self::BITS - 6), 0);
        self.first.resize(256, false);
        self.first[usize::from(pattern[0])] = true;
        if let Some(start) = pattern.first_chunk() {
            let (word, bit) = Self::place(*start);
            self.bits[word] |= bit;
        }
    }

    /// Returns the first place from `position` on where a pattern may begin that ends inside the text.
    fn next(&self, text: &[u8], position: usize) -> Option<usize> {
        let places = text.get(position..)?.windows(forms::SHORTEST);
        let offset =
            places.map(|four| four.try_into().expect("a window of four bytes")).position(|four| {
                let (word, bit) = Self::place(four);
                self.bits[word] & bit != 0
            })?;
        Some(position + offset)
    }

    /// Whether a pattern may begin with this text, or this text with a pattern.
    fn may_stand_in(&self, text: &[u8]) -> bool {
        match text.first_chunk() {
            None => self.first[usize::from(text[0])],
            Some(start) => {
                let (word, bit) = Self::place(*start);
                self.bits[word] & bit != 0
            }
        }
    }

    fn place(start: [u8; forms::SHORTEST]) -> (usize, u64) {
        // Fibonacci hashing: Knuth, The Art of Computer Programming, volume 3, section 6.4.
        let hash = u32::from_le_bytes(start).wrapping_mul(0x9E37_79B1) >> (32 - Self::BITS);
        ((hash >> 6) as usize, 1 << (hash & 63))
    }
}

/// More blanks than this in one place are no line break inside a value; it also bounds what a stream holds back.
const WIDEST_BREAK: usize = 256;

/// Bytes without line breaks, and where each came from.
struct Unwrapped<'a> {
    bytes: Cow<'a, [u8]>,
    /// For each break: how many bytes stand before it, and how many were left out up to and with it.
    breaks: Vec<(usize, usize)>,
}

impl Unwrapped<'_> {
    fn origin(&self, position: usize) -> usize {
        let before = self.breaks.partition_point(|(kept, _)| *kept <= position);
        position + before.checked_sub(1).map_or(0, |last| self.breaks[last].1)
    }
}

/// Leaves out line breaks together with the blanks after them.
fn unwrapped(input: &[u8]) -> Unwrapped<'_> {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let Some(mut at) = input.iter().position(is_break) else {
        return Unwrapped { bytes: Cow::Borrowed(input), breaks: Vec::new() };
    };
    let mut bytes = Vec::with_capacity(input.len());
    let mut breaks = Vec::new();
    let mut kept = 0;
    loop {
        bytes.extend_from_slice(&input[kept..at]);
        let width =
            input[at..].iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | b' ' | b'\t')).count();
        kept = at + width;
        if width > WIDEST_BREAK {
            // No pattern holds a line break, so one that stays keeps what is before it and after it apart.
            bytes.push(b'\n');
        }
        breaks.push((bytes.len(), kept - bytes.len()));
        match input[kept..].iter().position(is_break) {
            Some(next) => at = kept + next,
            None => break,
        }
    }
    bytes.extend_from_slice(&input[kept..]);
    Unwrapped { bytes: Cow::Owned(bytes), breaks }
}

#[cfg(test)]
mod tests;
