//! What one command does to the lines of one section.

use super::super::facts::{Gone, Kind, Scope};
use super::super::sections;
use super::super::tree::Node;
use super::super::view::{Item, is_masked, same_but_masked};
use super::{Device, Mode};
use crate::cisco::Os;
use crate::cisco::facts::{ANY, TOP};

impl<'a> Device<'a> {
    /// Applies a command in a section.
    pub(super) fn apply_in(&mut self, path: &[usize], line: &str, body: Option<&str>) -> Result<(), String> {
        let scope = self.facts.scope(self.scope());
        if self.tree.os == Os::Asa
            && path.is_empty()
            && let Some(what) = line.strip_prefix("clear configure ")
        {
            return self.cleared(what);
        }
        if let Some(what) = line.strip_prefix("default ") {
            return self.defaulted(path, scope, what);
        }
        if path.is_empty()
            && let Some(done) = self.resequenced(line)
        {
            return done;
        }
        let (is_off, text) = match line.strip_prefix("no ") {
            Some(text) => (true, text),
            None => (false, line),
        };
        if scope.is_list() {
            return self.entry(path, is_off, text);
        }
        if is_masked(text) && !is_off {
            return Err(
                "it holds `*****` where a secret belongs, which the device would take for one".to_owned()
            );
        }
        let words: Vec<&str> = text.split(' ').collect();
        if let (true, [word, name]) = (is_off, &words[..])
            && scope.families.contains(word)
        {
            return self.family_gone(path, word, name);
        }
        // Who a neighbor is goes with everything that is said of it.
        if let (true, [word, name, "remote-as", ..]) = (is_off, &words[..])
            && scope.families.contains(word)
            && self.siblings(path).iter().any(|node| begins(&node.head, text))
        {
            return self.family_gone(path, word, name);
        }
        if let Some((rule, _)) = scope.rule(&words)
            && rule.kind == Kind::List
        {
            return match rule.list {
                "asa" => self.asa_entry(is_off, text),
                "nat" => self.nat_rule(is_off, text),
                _ => self.flat_entry(is_off, text),
            };
        }
        if is_off { self.off(path, scope, text) } else { self.on(path, scope, text, body) }
    }

    /// Enters a line.
    fn on(
        &mut self,
        path: &[usize],
        scope: &'static Scope,
        text: &str,
        body: Option<&str>,
    ) -> Result<(), String> {
        let item = Item::command(scope, text);
        if item.is_incomplete || item.kind() == Kind::Absent {
            return Err("% Incomplete command: something must follow".to_owned());
        }
        if item.kind() == Kind::Dynamic {
            return Ok(());
        }
        self.refers(path, text)?;
        let found = self.find(path, scope, &item);
        match item.kind() {
            Kind::Section => {
                if path.is_empty() && item.rule.is_some_and(|rule| rule.list == "ios") {
                    self.sectioned(&item);
                }
                let found = self.find(path, scope, &item);
                if !found.is_empty() && self.is_running(path, scope, &item) {
                    return Err("Entry already running and cannot be modified".to_owned());
                }
                let at = match found.first() {
                    Some(&at) => {
                        self.merge(path, &found);
                        let node = &mut self.siblings_mut(path)[at];
                        if node.head != text {
                            let mut other = Node::new(text, None, node.indent);
                            other.children = std::mem::take(&mut node.children);
                            *node = other;
                        }
                        at
                    }
                    None => self.insert(path, &item, text, None),
                };
                self.open(path, at, &item);
                return Ok(());
            }
            Kind::Vlans => {
                let value = self.numbers_of(path, &found, &item)?;
                self.put(path, &found, &item, &value, None);
            }
            Kind::Set | Kind::Tail => {
                let off = self.find_off(path, text);
                if let Some(at) = off {
                    self.siblings_mut(path).remove(at);
                    if !self.shown.contains(text) {
                        return Ok(());
                    }
                }
                if found.is_empty() {
                    self.insert(path, &item, text, body);
                }
            }
            Kind::Replaces => {
                let siblings = self.siblings(path);
                if let Some(old) = found.first().map(|at| &siblings[*at])
                    && old.head != text
                    && !old.head.starts_with("no ")
                {
                    return Err(format!("`{}` is there and has to be removed first", old.head));
                }
                self.put(path, &found, &item, text, body);
            }
            Kind::On | Kind::Off if !item.has_value() => {
                let is_shown = item.kind() == Kind::Off || self.shown.contains(text);
                for at in found.iter().rev() {
                    self.siblings_mut(path).remove(*at);
                }
                if is_shown {
                    self.insert(path, &item, text, None);
                }
            }
            _ => {
                if item.rule.is_some_and(|rule| rule.is_unique) {
                    self.overlaps(path, text)?;
                }
                let is_other = found.first().is_none_or(|at| self.siblings(path)[*at].head != text);
                self.put(path, &found, &item, text, body);
                if is_other && item.rule.is_some_and(|rule| rule.clears) {
                    self.without_addresses(path);
                }
            }
        }
        Ok(())
    }

    /// Enters the `no` form of a line.
    fn off(&mut self, path: &[usize], scope: &'static Scope, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split(' ').collect();
        let item = Item::command(scope, text);
        let rule = item.rule;
        if rule.is_some_and(|rule| rule.kind == Kind::Section && rule.gone == Gone::Default) {
            return Err("% Removal of physical interfaces is not permitted".to_owned());
        }
        if let (true, ["line", kind, rest @ ..]) = (path.is_empty(), &words[..])
            && (*kind != "vty"
                || rest.first().and_then(|first| first.parse().ok()).is_none_or(|first: u32| first < 5))
        {
            return Err("% Can't delete last 5 VTY lines, nor the console's".to_owned());
        }
        // Which lines it means: what it says whole, or what its words begin.
        let found: Vec<usize> = match item.kind() {
            Kind::Section => self.find(path, scope, &item),
            Kind::Single | Kind::Replaces | Kind::On | Kind::Off | Kind::Vlans | Kind::Banner => {
                let all = self.find(path, scope, &item);
                let siblings = self.siblings(path);
                let is_meant = |at: &usize| {
                    let head = &*siblings[*at].head;
                    let secret = rule.is_some_and(|rule| rule.is_secret) || is_masked(head);
                    !item.has_value()
                        || begins(head, text)
                        || head.starts_with("no ")
                        || (secret && same_but_masked(head, text))
                };
                all.into_iter().filter(is_meant).collect()
            }
            _ => {
                let siblings = self.siblings(path);
                let exact = siblings.iter().position(|node| node.head == text);
                match exact {
                    Some(at) => vec![at],
                    None => (0..siblings.len()).filter(|at| begins(&siblings[*at].head, text)).collect(),
                }
            }
        };
        let positive: Vec<usize> =
            found.iter().copied().filter(|at| !self.siblings(path)[*at].head.starts_with("no ")).collect();
        if positive.is_empty() {
            let is_off_already = !found.is_empty() || self.find_off(path, text).is_some();
            return match (item.kind(), rule) {
                (Kind::On, _) | (_, None) => {
                    if !is_off_already {
                        let line = format!("no {}", if rule.is_some() { item.prefix() } else { text });
                        self.insert(path, &item, &line, None);
                    }
                    Ok(())
                }
                (Kind::Off | Kind::Absent, _) => Ok(()),
                _ if self.is_placeholder(scope, &words) || is_off_already => Ok(()),
                _ => Err(format!("there is no `{text}` that could be removed")),
            };
        }
        for at in &positive {
            let node = self.siblings(path)[*at].clone();
            self.may_go(path, &node)?;
        }
        let names: Vec<Node<'a>> = positive.iter().map(|at| self.siblings(path)[*at].clone()).collect();
        for at in positive.iter().rev() {
            self.siblings_mut(path).remove(*at);
        }
        let line = match item.kind() {
            Kind::On if !item.has_value() => Some(format!("no {}", item.prefix())),
            _ if rule.is_none() && self.shown.contains(&format!("no {text}")) => Some(format!("no {text}")),
            Kind::Single | Kind::Set if self.shown.contains(&format!("no {text}")) && rule.is_some() => {
                Some(format!("no {text}"))
            }
            _ => None,
        };
        if let Some(line) = line {
            self.insert(path, &item, &line, None);
        }
        for node in &names {
            self.after_removal(path, scope, node);
        }
        Ok(())
    }

    /// `default LINE`: what no line says.
    fn defaulted(&mut self, path: &[usize], scope: &'static Scope, what: &str) -> Result<(), String> {
        let item = Item::command(scope, what);
        if item.kind() == Kind::Section {
            let Some(&at) = self.find(path, scope, &item).first() else {
                return Err(format!("there is no `{what}`"));
            };
            let node = self.siblings(path)[at].clone();
            let inner = self.facts.scope(item.rule.map_or(ANY, |rule| rule.inner));
            self.siblings_mut(path)[at].children.clear();
            if item.rule.is_some_and(|rule| rule.gone == Gone::Default || rule.gone == Gone::Clear) {
                // Nothing is set there any more: for a comparison it is not there.
                self.siblings_mut(path).remove(at);
            }
            for child in &node.children {
                self.after_removal(&[], inner, child);
            }
            return Ok(());
        }
        for at in self.find(path, scope, &item).into_iter().rev() {
            self.siblings_mut(path).remove(at);
        }
        Ok(())
    }

    /// `clear configure …` of ASA.
    fn cleared(&mut self, what: &str) -> Result<(), String> {
        if let Some(name) = what.strip_prefix("access-list ") {
            let begin = format!("access-list {name} ");
            if !self.tree.nodes.iter().any(|node| node.head.starts_with(&begin)) {
                return Err(format!("there is no access list {name}"));
            }
            self.tree.nodes.retain(|node| !node.head.starts_with(&begin));
            self.unbound(name);
            return Ok(());
        }
        if let Some(name) = what.strip_prefix("tunnel-group ") {
            return self.off(&[], self.facts.scope(TOP), &format!("tunnel-group {name} type"));
        }
        self.defaulted(&[], self.facts.scope(TOP), what)
    }

    /// `no neighbor X`: all lines of X, here and in the sections below.
    fn family_gone(&mut self, path: &[usize], word: &str, name: &str) -> Result<(), String> {
        fn without(nodes: &mut Vec<Node<'_>>, begin: &str) -> bool {
            let count = nodes.len();
            nodes.retain(|node| {
                !node.head.starts_with(begin)
                    && !node.head.strip_prefix("no ").is_some_and(|text| text.starts_with(begin))
            });
            let below =
                nodes.iter_mut().map(|node| without(&mut node.children, begin)).fold(false, |a, b| a | b);
            nodes.len() != count || below
        }
        let begin = format!("{word} {name} ");
        if without(self.siblings_mut(path), &begin) {
            Ok(())
        } else {
            Err(format!("there is no {word} {name}"))
        }
    }

    /// Returns the places of the lines of a section that are about the same thing.
    pub(super) fn find(&self, path: &[usize], scope: &'static Scope, item: &Item<'_>) -> Vec<usize> {
        let first = item.text.split(' ').next().unwrap_or_default();
        let siblings = self.siblings(path);
        let prefix = item.prefix();
        let is_simple = item.rule.is_some_and(|rule| rule.pattern.is_key_its_words() && is_keyed(rule.kind));
        let is_same = |node: &Node<'a>| {
            let text = node.head.strip_prefix("no ").unwrap_or(&node.head);
            if is_simple && !begins(text, prefix) {
                return false;
            }
            let is_near = begins(text, first) || item.rule.is_some_and(|rule| rule.pattern.has_no_key());
            is_near && Item::command(scope, text).key == item.key
        };
        (0..siblings.len()).filter(|at| !siblings[*at].is_trivia() && is_same(&siblings[*at])).collect()
    }

    /// Makes one section of those that stand there twice: ASA prints an object's NAT apart.
    fn merge(&mut self, path: &[usize], found: &[usize]) {
        for at in found[1..].iter().rev() {
            let other = self.siblings_mut(path).remove(*at);
            let first = &mut self.siblings_mut(path)[found[0]];
            first.children.extend(other.children);
        }
    }

    fn find_off(&self, path: &[usize], text: &str) -> Option<usize> {
        self.siblings(path).iter().position(|node| node.head.strip_prefix("no ") == Some(text))
    }

    /// Whether `no WORDS` is what a section shows instead of nothing.
    fn is_placeholder(&self, scope: &'static Scope, words: &[&str]) -> bool {
        let mut all = vec!["no"];
        all.extend(words);
        scope.negative_rule(&all).is_some()
    }

    /// Puts a line in the place of those that are about the same thing.
    fn put(&mut self, path: &[usize], found: &[usize], item: &Item<'_>, text: &str, body: Option<&str>) {
        let Some((&first, rest)) = found.split_first() else {
            self.insert(path, item, text, body);
            return;
        };
        let siblings = self.siblings_mut(path);
        if siblings[first].head != text || body.is_some() {
            siblings[first] = Node::new(text, body, siblings[first].indent);
        }
        for at in rest.iter().rev() {
            siblings.remove(*at);
        }
    }

    /// Inserts a line where the device shows it: behind its like.
    pub(super) fn insert(
        &mut self,
        path: &[usize],
        item: &Item<'_>,
        text: &str,
        body: Option<&str>,
    ) -> usize {
        let scope = self.facts.scope(self.scope());
        let first = item.text.split(' ').next().unwrap_or_default();
        let id = item.rule.map(|rule| rule.id);
        let depth = path.len();
        let siblings = self.siblings(path);
        let is_like = |node: &Node<'_>| {
            let text = node.head.strip_prefix("no ").unwrap_or(&node.head);
            begins(text, first)
        };
        let is_same_rule = |node: &Node<'_>| {
            let text = node.head.strip_prefix("no ").unwrap_or(&node.head);
            is_like(node) && Item::command(scope, text).rule.map(|rule| rule.id) == id
        };
        let behind = siblings.iter().rposition(is_same_rule).or_else(|| siblings.iter().rposition(is_like));
        let at = behind.map_or_else(|| end_of(siblings, depth), |at| at + 1);
        let indent = siblings.iter().find(|node| !node.is_trivia()).map_or(depth, |node| node.indent);
        self.siblings_mut(path).insert(at, Node::new(text, body, indent));
        at
    }

    /// The line of a trunk after `add`, `remove` or a whole list.
    fn numbers_of(&self, path: &[usize], found: &[usize], item: &Item<'_>) -> Result<String, String> {
        let value = item.value();
        let (word, list) = value.split_once(' ').unwrap_or(("", value));
        let old = found.first().map(|at| &*self.siblings(path)[*at].head);
        let old = old.and_then(|head| sections::numbers(head.strip_prefix(item.prefix())?.trim()));
        let changed = sections::numbers(list);
        let whole = match (word, changed) {
            ("", _) => return Ok(item.text.to_owned()),
            ("add", Some(more)) => {
                let mut all = old.ok_or("there is no list that could be added to")?;
                all.extend(more);
                all.sort_unstable();
                all.dedup();
                all
            }
            ("remove", Some(less)) => {
                let all = old.unwrap_or_else(|| (1..=4094).collect());
                all.into_iter().filter(|number| !less.contains(number)).collect()
            }
            _ => return Ok(item.text.to_owned()),
        };
        if whole.is_empty() {
            return Ok(format!("{} none", item.prefix()));
        }
        Ok(format!("{} {}", item.prefix(), sections::ranges(&whole)))
    }

    /// Forgets which sections are open, where lines of the top level have moved.
    pub(super) fn reopen(&mut self, heads: &[String]) {
        let mut nodes = &self.tree.nodes;
        let mut path = Vec::new();
        for (mode, head) in self.modes.iter_mut().zip(heads) {
            let Some(at) = nodes.iter().position(|node| node.head == **head) else { return };
            path.push(at);
            *mode = Mode { paths: vec![path.clone()], ..mode.clone() };
            nodes = &nodes[at].children;
        }
    }

    /// The headers of the sections that are open.
    pub(super) fn heads(&self) -> Vec<String> {
        let mut heads = Vec::new();
        for mode in &self.modes {
            let Some(path) = mode.paths.first() else { break };
            let mut nodes = &self.tree.nodes;
            let mut head = "";
            for at in path {
                head = &nodes[*at].head;
                nodes = &nodes[*at].children;
            }
            heads.push(head.to_owned());
        }
        heads
    }
}

/// Whether lines of a kind are known by the words of their pattern.
fn is_keyed(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Single | Kind::Replaces | Kind::On | Kind::Off | Kind::Section | Kind::Vlans | Kind::Banner
    )
}

/// Whether a line is a text, or goes on behind it.
pub(super) fn begins(line: &str, text: &str) -> bool {
    line.strip_prefix(text).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// Where a new line goes that has no like: before the end.
fn end_of(siblings: &[Node<'_>], depth: usize) -> usize {
    let mut at = siblings.len();
    let is_end = |node: &Node<'_>| {
        node.is_trivia() || (depth == 0 && (node.head == "end" || node.head.starts_with("Cryptochecksum")))
    };
    while at > 0 && is_end(&siblings[at - 1]) {
        at -= 1;
    }
    at
}
