//! The lines of a configuration as the rules of a site see them: numbered, each with what stands below it, and without secrets in what is shown.

use super::Os;
use super::facts::is_like;
use super::tree::{Node, Tree};
use super::view::without_secret;

/// A configuration of its own, in which a line is known by its place: 0 is the whole of it.
#[derive(Debug, Clone)]
pub struct Outline {
    os: Os,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Default)]
struct Line {
    text: String,
    number: usize,
    above: usize,
    below: Vec<usize>,
}

impl Outline {
    /// Reads a configuration; every text is one.
    pub fn read(os: Os, text: &str) -> Self {
        fn add(lines: &mut Vec<Line>, nodes: &[Node<'_>], above: usize, number: &mut usize) {
            for node in nodes {
                let at = lines.len();
                if !node.is_trivia() {
                    let line =
                        Line { text: node.head.to_string(), number: *number, above, below: Vec::new() };
                    lines.push(line);
                    lines[above].below.push(at);
                }
                *number += node.raw.matches('\n').count();
                add(lines, &node.children, if node.is_trivia() { above } else { at }, number);
            }
        }
        let mut lines = vec![Line::default()];
        add(&mut lines, &Tree::read(os, text).nodes, 0, &mut 1);
        Self { os, lines }
    }

    /// Returns whose it is.
    pub fn os(&self) -> Os {
        self.os
    }

    /// Returns the places of the lines that stand below one.
    pub fn below(&self, at: usize) -> &[usize] {
        &self.lines[at].below
    }

    /// Returns the place of the line that one stands below; 0 for a line of the top.
    pub fn above(&self, at: usize) -> usize {
        self.lines[at].above
    }

    /// Returns the places of the lines below one that are like a glob, where `*` is any text.
    pub fn find(&self, at: usize, glob: &str) -> Vec<usize> {
        self.below(at).iter().copied().filter(|line| is_like(glob, &self.lines[*line].text)).collect()
    }

    /// Returns the number of a line, from one; 0 for the whole.
    pub fn number(&self, at: usize) -> usize {
        self.lines[at].number
    }

    /// Returns a line as people may see it: `*****` where a secret stands.
    pub fn shown(&self, at: usize) -> String {
        without_secret(&self.lines[at].text)
    }

    /// Returns a line as it is.
    pub(super) fn text(&self, at: usize) -> &str {
        &self.lines[at].text
    }

    /// Returns the networks and the names of objects that are in a group of ASA, and in the groups in it.
    pub fn members(&self, group: &str) -> Vec<&str> {
        let (mut found, mut seen, mut open) = (Vec::new(), Vec::new(), vec![group]);
        while let Some(name) = open.pop() {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let header = format!("object-group network {name}");
            let sections = self.below(0).iter().filter(|at| self.text(**at) == header);
            for line in sections.flat_map(|at| self.below(*at)).map(|at| self.text(*at)) {
                open.extend(line.strip_prefix("group-object "));
                let member = line.strip_prefix("network-object object ");
                found.extend(member.or_else(|| line.strip_prefix("network-object ")));
            }
        }
        found
    }
}
