//! Lines that stand for several: `line vty 0 4`, `vlan 10,20-22`, `ip name-server A B`, a list of VLANs that goes on in an `add` line.
//!
//! Everything else works on trees where each stands alone; [`join`] puts them together again for people and devices.

use std::borrow::Cow;

use super::Os;
use super::tree::{Node, Tree};

/// The most numbers that one range may have: a hostile `vlan 1-999999999` must not fill the memory.
const MOST: u32 = 5000;

/// Takes ranges apart.
pub(super) fn split(tree: &mut Tree<'_>) {
    if tree.os == Os::Asa {
        return;
    }
    split_nodes(&mut tree.nodes);
    for node in &mut tree.nodes {
        if node.head.starts_with("interface ") {
            one_trunk(&mut node.children);
        }
    }
}

fn split_nodes(nodes: &mut Vec<Node<'_>>) {
    if !nodes.iter().any(|node| alone(&node.head).is_some()) {
        return;
    }
    let mut result = Vec::with_capacity(nodes.len() + 16);
    for node in nodes.drain(..) {
        let Some(heads) = alone(&node.head) else {
            result.push(node);
            continue;
        };
        let indent = node.indent;
        let copies = heads.iter().map(|head| {
            let mut copy = Node::new(head, None, indent);
            copy.children.clone_from(&node.children);
            copy
        });
        result.extend(copies);
    }
    *nodes = result;
}

/// The lines that one line stands for.
pub(super) fn alone(head: &str) -> Option<Vec<String>> {
    let (is_off, text) = match head.strip_prefix("no ") {
        Some(text) => ("no ", text),
        None => ("", head),
    };
    if let Some(rest) = text.strip_prefix("line ") {
        let words: Vec<&str> = rest.split(' ').collect();
        let [kind, first, last] = words[..] else { return None };
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if last < first || last - first > MOST {
            return None;
        }
        return Some((first..=last).map(|number| format!("{is_off}line {kind} {number}")).collect());
    }
    if let Some(rest) = text.strip_prefix("vlan ") {
        if !rest.contains([',', '-']) {
            return None;
        }
        return Some(numbers(rest)?.into_iter().map(|number| format!("{is_off}vlan {number}")).collect());
    }
    if let Some(rest) = text.strip_prefix("ip name-server ") {
        let words: Vec<&str> = rest.split(' ').collect();
        let (vrf, servers) = match words[..] {
            ["vrf", name, ..] => (format!("vrf {name} "), &words[2..]),
            _ => (String::new(), &words[..]),
        };
        if servers.len() < 2 || servers[0] == "source-interface" {
            return None;
        }
        return Some(servers.iter().map(|server| format!("{is_off}ip name-server {vrf}{server}")).collect());
    }
    None
}

/// Reads `10,20-22`; nothing where it is something else.
pub(super) fn numbers(text: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
                if last < first || last - first > MOST {
                    return None;
                }
                all.extend(first..=last);
            }
            None => all.push(part.parse().ok()?),
        }
    }
    all.sort_unstable();
    all.dedup();
    Some(all)
}

/// Writes numbers as a device does: `10,20-22`.
pub(super) fn ranges(numbers: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => parts.push((number, number)),
        }
    }
    let part = |(first, last): &(u32, u32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

const TRUNK: &str = "switchport trunk allowed vlan ";

/// Puts `switchport trunk allowed vlan add …` into the line that it goes on from.
fn one_trunk(nodes: &mut Vec<Node<'_>>) {
    let more = format!("{TRUNK}add ");
    if !nodes.iter().any(|node| node.head.starts_with(&more)) {
        return;
    }
    let mut all = Vec::new();
    for node in nodes.iter() {
        if let Some(list) = node.head.strip_prefix(TRUNK) {
            let Some(numbers) = numbers(list.strip_prefix("add ").unwrap_or(list)) else { return };
            all.extend(numbers);
        }
    }
    all.sort_unstable();
    all.dedup();
    let mut is_first = true;
    nodes.retain_mut(|node| {
        if !node.head.starts_with(TRUNK) {
            return true;
        }
        if !std::mem::take(&mut is_first) {
            return false;
        }
        *node = Node::new(&format!("{TRUNK}{}", ranges(&all)), None, node.indent);
        true
    });
}

/// Puts neighbours together that differ in their number only: terminal lines and VLANs.
pub(super) fn join(nodes: Vec<Node<'_>>) -> Vec<Node<'_>> {
    let mut result: Vec<Node<'_>> = Vec::with_capacity(nodes.len());
    let mut run: Vec<u32> = Vec::new();
    for node in nodes {
        let number = numbered(&node.head).map(|(_, number)| number);
        let fits = match (result.last(), number) {
            (Some(last), Some(number)) if !run.is_empty() => {
                let is_same =
                    numbered(&node.head).map(|(kind, _)| kind) == numbered(&last.head).map(|(kind, _)| kind);
                let is_next =
                    node.head.starts_with("vlan ") || run.last().is_some_and(|last| last + 1 == number);
                is_same && is_next && same(&last.children, &node.children)
            }
            _ => false,
        };
        match number {
            Some(number) if fits => run.push(number),
            _ => {
                finish(&mut result, &mut run);
                run = number.into_iter().collect();
                result.push(node);
            }
        }
    }
    finish(&mut result, &mut run);
    result
}

fn finish(result: &mut [Node<'_>], run: &mut Vec<u32>) {
    let numbers = std::mem::take(run);
    let (Some(last), [first, .., end]) = (result.last_mut(), &numbers[..]) else { return };
    let Some((kind, _)) = numbered(&last.head) else { return };
    let head =
        if kind == "vlan" { format!("vlan {}", ranges(&numbers)) } else { format!("{kind} {first} {end}") };
    let children = std::mem::take(&mut last.children);
    let mut joined = Node::new(&head, None, last.indent);
    joined.children = children;
    *last = joined;
}

fn numbered(head: &str) -> Option<(&str, u32)> {
    if !(head.starts_with("line ") || head.starts_with("vlan ")) {
        return None;
    }
    let (kind, number) = head.rsplit_once(' ')?;
    (kind == "vlan" || kind.split(' ').count() == 2).then_some(())?;
    Some((kind, number.parse().ok()?))
}

fn same(a: &[Node<'_>], b: &[Node<'_>]) -> bool {
    let commands = |nodes: &[Node<'_>]| -> Vec<Cow<'_, str>> {
        nodes.iter().filter(|node| !node.is_trivia()).map(|node| Cow::Owned(node.head.to_string())).collect()
    };
    commands(a) == commands(b)
}
