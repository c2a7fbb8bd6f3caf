//! Replaces secret values by their names in everything that is recorded or shown.

mod forms;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, Input, MatchKind};
use parking_lot::RwLock;
use serde_json::Value;

use crate::model::secret::{Secret, SecretName};

/// Knows every secret that a run has seen and replaces each form of each value by `«secret:name»`.
///
/// Clones share one growing list. Line breaks, and the blanks that indent the next line, are ignored in comparing, so
/// values are found in base64 and hex wrapped at any column, and in indented blocks.
#[derive(Clone, Default)]
pub struct Redactor {
    current: Arc<RwLock<Arc<Patterns>>>,
}

/// A secret that cannot be redacted, because its value would be found everywhere by chance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret `{name}` is too short to be hidden in output: it has fewer than {least} bytes", least = forms::SHORTEST)]
pub struct TooShort {
    /// Which secret.
    pub name: SecretName,
}

/// All patterns at one moment.
#[derive(Default)]
struct Patterns {
    /// What is searched for and what replaces it, in the order of the bytes; `None` for a replacement itself, which
    /// must survive when text is redacted twice.
    sorted: Vec<(Vec<u8>, Option<Arc<str>>)>,
    /// Made when it is first needed: several secrets come one after the other, and each would make it anew.
    search: OnceLock<AhoCorasick>,
    longest: usize,
    /// Whether a pattern begins with this byte.
    begins: Vec<bool>,
}

impl Redactor {
    /// Learns a secret; everything redacted from now on hides it.
    pub fn add(&self, secret: &Secret) -> Result<(), TooShort> {
        if secret.expose().trim_ascii().len() < forms::SHORTEST {
            return Err(TooShort { name: secret.name().clone() });
        }
        let label: Arc<str> = format!("«secret:{}»", secret.name()).into();
        let mut current = self.current.write();
        let mut all: BTreeMap<Vec<u8>, Option<Arc<str>>> = current.sorted.iter().cloned().collect();
        let known = all.len();
        all.entry(label.as_bytes().to_vec()).or_insert(None);
        for form in forms::of(secret.expose()) {
            all.entry(form).or_insert_with(|| Some(label.clone()));
        }
        if all.len() > known {
            *current = Arc::new(Patterns::new(all.into_iter().collect()));
        }
        Ok(())
    }

    /// Whether no secret is known yet, so that nothing can be replaced.
    pub fn is_empty(&self) -> bool {
        self.current.read().sorted.is_empty()
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
        let patterns = self.current.read().clone();
        let mut out = Vec::new();
        let (replaced, _) = patterns.replace(bytes, true, &mut out);
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
        Streaming { redactor: self.clone(), patterns: self.current.read().clone(), held: Vec::new() }
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} patterns)", self.current.read().sorted.len())
    }
}

/// Redacts one stream of output, chunk by chunk.
///
/// Holds back only bytes that could be the beginning of a secret. A secret added meanwhile is hidden from the next chunk on.
pub struct Streaming {
    redactor: Redactor,
    patterns: Arc<Patterns>,
    held: Vec<u8>,
}

impl Streaming {
    /// Takes a chunk, appends what can be shown to `out`, and returns whether something was replaced.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> bool {
        {
            let current = self.redactor.current.read();
            if !Arc::ptr_eq(&self.patterns, &current) {
                self.patterns = current.clone();
            }
        }
        if self.held.is_empty() {
            let (replaced, rest) = self.patterns.replace(chunk, false, out);
            self.held.extend_from_slice(&chunk[rest..]);
            return replaced;
        }
        self.held.extend_from_slice(chunk);
        let (replaced, rest) = self.patterns.replace(&self.held, false, out);
        self.held.drain(..rest);
        replaced
    }

    /// Appends what was held back and returns whether something was replaced.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        let (replaced, _) = self.patterns.replace(&self.held, true, out);
        self.held.clear();
        replaced
    }
}

impl Patterns {
    fn new(sorted: Vec<(Vec<u8>, Option<Arc<str>>)>) -> Self {
        let longest = sorted.iter().map(|(pattern, _)| pattern.len()).max().unwrap_or(0);
        let mut begins = vec![false; 256];
        for (pattern, _) in &sorted {
            begins[usize::from(pattern[0])] = true;
        }
        Self { sorted, search: OnceLock::new(), longest, begins }
    }

    /// Returns what finds the patterns, where there are any.
    fn search(&self) -> Option<&AhoCorasick> {
        let build = || {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(self.sorted.iter().map(|(pattern, _)| pattern))
                .expect("the forms of secrets stay far below the 2^31 states of an automaton")
        };
        (!self.sorted.is_empty()).then(|| self.search.get_or_init(build))
    }

    /// Appends the redacted input to `out`; returns whether something was replaced and how much input was consumed.
    ///
    /// Unless this is the `end`, input from the first byte on that could be the beginning of a pattern is left.
    fn replace(&self, input: &[u8], end: bool, out: &mut Vec<u8>) -> (bool, usize) {
        let Some(search) = self.search() else {
            out.extend_from_slice(input);
            return (false, input.len());
        };
        let text = unwrapped(input);
        let mut replaced = false;
        let (mut position, mut shown) = (0, 0);
        let mut open = if end { text.bytes.len() } else { self.open_from(&text.bytes, 0) };
        while let Some(found) = search.find(Input::new(&*text.bytes).range(position..)) {
            if found.start() >= open && !end {
                break;
            }
            position = found.end();
            if let Some(label) = &self.sorted[found.pattern().as_usize()].1 {
                out.extend_from_slice(&input[shown..text.origin(found.start())]);
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
                self.begins[usize::from(ending[0])] && {
                    let next = self.sorted.partition_point(|(pattern, _)| pattern.as_slice() <= ending);
                    self.sorted.get(next).is_some_and(|(pattern, _)| pattern.starts_with(ending))
                }
            })
            .unwrap_or(text.len())
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
