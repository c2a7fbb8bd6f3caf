//! A configuration as a tree of lines that keeps every byte: what is read and printed again is the same.

use std::borrow::Cow;
use std::fmt;

use super::Os;

/// The most sections within each other; devices have four. What is deeper stands beside the last one.
const DEEPEST: usize = 24;

/// One line with what stands below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<'a> {
    /// The line without its indentation and its end, with single blanks between words; empty for a comment or an empty line.
    pub head: Cow<'a, str>,
    /// Lines that are one value and no commands: of a banner or a certificate, as they stand there.
    pub body: Option<Cow<'a, str>>,
    /// The line as it stands there, with its indentation, its end and its body.
    pub raw: Cow<'a, str>,
    /// Characters that it is indented by.
    pub indent: usize,
    /// What stands below it.
    pub children: Vec<Node<'a>>,
}

/// A whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree<'a> {
    /// Whose it is.
    pub os: Os,
    /// Its lines.
    pub nodes: Vec<Node<'a>>,
}

impl<'a> Node<'a> {
    /// Makes a line as a device prints it.
    pub(super) fn new(head: &str, body: Option<&str>, indent: usize) -> Node<'a> {
        let mut raw = format!("{:indent$}{head}\n", "");
        if let Some(body) = body {
            // A banner's text begins on the line of its command.
            raw.pop();
            raw.push_str(body);
            raw.push('\n');
        }
        Node {
            head: Cow::Owned(head.to_owned()),
            body: body.map(|body| Cow::Owned(body.to_owned())),
            raw: Cow::Owned(raw),
            indent,
            children: Vec::new(),
        }
    }

    /// Returns it with texts of its own.
    fn into_owned(self) -> Node<'static> {
        Node {
            head: Cow::Owned(self.head.into_owned()),
            body: self.body.map(|body| Cow::Owned(body.into_owned())),
            raw: Cow::Owned(self.raw.into_owned()),
            indent: self.indent,
            children: self.children.into_iter().map(Node::into_owned).collect(),
        }
    }

    /// Whether it is a comment or an empty line.
    pub fn is_trivia(&self) -> bool {
        self.head.is_empty()
    }
}

impl<'a> Tree<'a> {
    /// Returns it with texts of its own.
    pub(super) fn into_owned(self) -> Tree<'static> {
        Tree { os: self.os, nodes: self.nodes.into_iter().map(Node::into_owned).collect() }
    }

    /// Reads a configuration. Every text is one: what is no configuration is what [`super::guard()`] is for.
    pub fn read(os: Os, text: &'a str) -> Self {
        let mut lines = Lines { os, rest: text };
        let mut root = Vec::new();
        // Open nodes; children are moved into their parents when those end.
        let mut open: Vec<Node<'a>> = Vec::new();
        // A comment ends nothing: it belongs to where the line after it belongs.
        let mut comments: Vec<Node<'a>> = Vec::new();
        while let Some(node) = lines.next() {
            if node.is_trivia() {
                comments.push(node);
                continue;
            }
            while open.len() >= DEEPEST
                || open.last().is_some_and(|top| top.indent >= node.indent || !holds(top, &node))
            {
                close(&mut open, &mut root);
            }
            let to = open.last_mut().map_or(&mut root, |top| &mut top.children);
            to.append(&mut comments);
            open.push(node);
        }
        while !open.is_empty() {
            close(&mut open, &mut root);
        }
        root.append(&mut comments);
        Self { os, nodes: root }
    }
}

/// Whether a deeper line is below this one: IOS prints `service-policy` one level too deep below `shape`.
fn holds(top: &Node<'_>, node: &Node<'_>) -> bool {
    !(top.head.starts_with("shape ") && node.head.starts_with("service-policy "))
}

fn close<'a>(open: &mut Vec<Node<'a>>, root: &mut Vec<Node<'a>>) {
    let Some(node) = open.pop() else { return };
    match open.last_mut() {
        Some(parent) => parent.children.push(node),
        None => root.push(node),
    }
}

impl fmt::Display for Tree<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_all(&self.nodes, formatter)
    }
}

fn write_all(nodes: &[Node<'_>], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for node in nodes {
        formatter.write_str(&node.raw)?;
        write_all(&node.children, formatter)?;
    }
    Ok(())
}

struct Lines<'a> {
    os: Os,
    rest: &'a str,
}

impl<'a> Lines<'a> {
    fn take(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr(self.rest).map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(line)
    }

    fn next(&mut self) -> Option<Node<'a>> {
        let before = self.rest;
        let line = self.take()?;
        let bare = line.trim_end_matches(['\n', '\r', ' ', '\t']);
        let text = bare.trim_start_matches([' ', '\t']);
        let indent = bare.len() - text.len();
        let is_remark = text.starts_with('!') || (self.os == Os::Asa && indent == 0 && text.starts_with(':'));
        if text.is_empty() || is_remark {
            return Some(Node {
                head: Cow::Borrowed(""),
                body: None,
                raw: Cow::Borrowed(line),
                indent,
                children: Vec::new(),
            });
        }
        let (head, body) = match self.body(text) {
            Some((head, body)) => (Cow::Borrowed(head), Some(body)),
            None => (squeezed(text), None),
        };
        let raw = &before[..before.len() - self.rest.len()];
        Some(Node { head, body, raw: Cow::Borrowed(raw), indent, children: Vec::new() })
    }

    /// Reads the lines that are one value; the position is behind them then.
    fn body(&mut self, text: &'a str) -> Option<(&'a str, Cow<'a, str>)> {
        let mut words = text.split_ascii_whitespace();
        match words.next()? {
            // ASA has a command for each line of a banner.
            "banner" if self.os != Os::Asa => {
                let kind = words.next()?;
                let head = &text[..end_of(text, kind)];
                let rest = text[head.len()..].trim_start();
                let delimiter = delimiter(rest)?;
                let begin = text.len() - rest.len() + delimiter.len();
                if text[begin..].contains(delimiter) {
                    return Some((head, Cow::Borrowed(&text[head.len()..])));
                }
                let rest = self.rest;
                loop {
                    let Some(line) = self.take() else {
                        // The banner never ends: the lines behind it are commands, as far as anybody can tell.
                        self.rest = rest;
                        return None;
                    };
                    if line.contains(delimiter) {
                        break;
                    }
                }
                let whole = format!("{text}\n{}", &rest[..rest.len() - self.rest.len()]);
                Some((head, Cow::Owned(unified(whole[head.len()..].trim_end()))))
            }
            "certificate" => {
                let rest = self.rest;
                let is_hex = |line: &str| {
                    let line = line.trim();
                    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b' ')
                };
                let first = self.take()?;
                if !is_hex(first) && first.trim() != "quit" {
                    self.rest = rest;
                    return None;
                }
                let mut line = first;
                while line.trim() != "quit" {
                    match self.take() {
                        Some(next) => line = next,
                        None => {
                            self.rest = rest;
                            return None;
                        }
                    }
                }
                let body = &rest[..rest.len() - self.rest.len()];
                Some((text, Cow::Owned(format!("\n{}", unified(body.trim_end())))))
            }
            _ => None,
        }
    }
}

fn unified(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn memchr(text: &str) -> Option<usize> {
    text.as_bytes().iter().position(|byte| *byte == b'\n')
}

/// Where a word of a text ends.
fn end_of(text: &str, word: &str) -> usize {
    word.as_ptr() as usize - text.as_ptr() as usize + word.len()
}

/// The delimiter of a banner: `^C` as printed, or the first character.
fn delimiter(rest: &str) -> Option<&str> {
    if rest.starts_with("^C") {
        return Some("^C");
    }
    let first = rest.chars().next()?;
    Some(&rest[..first.len_utf8()])
}

/// Puts single blanks between words, except where blanks are the value.
pub(super) fn squeezed(text: &str) -> Cow<'_, str> {
    if !text.contains("  ") && !text.contains('\t') {
        return Cow::Borrowed(text);
    }
    let mut words = text.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let is_free = |word: &str| matches!(word, "description" | "remark" | "banner" | "msg");
    let mut result = String::with_capacity(text.len());
    let mut word = first;
    loop {
        if !result.is_empty() {
            result.push(' ');
        }
        result.push_str(word);
        if word.starts_with('"') {
            result.push_str(&text[end_of(text, word)..]);
            return Cow::Owned(result);
        }
        if is_free(word) {
            // The rest is somebody's text, but for the blanks before it.
            let rest = text[end_of(text, word)..].trim_start();
            if !rest.is_empty() {
                result.push(' ');
                result.push_str(rest);
            }
            return Cow::Owned(result);
        }
        match words.next() {
            Some(next) => word = next,
            None => return Cow::Owned(result),
        }
    }
}
