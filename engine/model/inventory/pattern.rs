//! The language that selects hosts: `web:&nl:!edge-3`.

use std::collections::BTreeSet;

use globset::GlobBuilder;
use regex::Regex;

use super::range::{RangeError, expand};
use super::{ALL, Inventory, LOCALHOST};

/// Why a pattern selects nothing that can be trusted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PatternError {
    /// A name is neither a host nor a group.
    #[error("no host or group is named `{name}`")]
    Unknown {
        /// The name as written.
        name: String,
        /// The host or group that was meant.
        nearest: Option<String>,
    },
    /// `@name` does not name a group.
    #[error("no group is named `{name}`")]
    UnknownGroup {
        /// The name without the `@`.
        name: String,
        /// The group that was meant.
        nearest: Option<String>,
    },
    /// A range in a name is wrong.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A subscript lies outside its group.
    #[error("`{base}` has {count} hosts, so `[{index}]` is none of them")]
    Subscript {
        /// The group or glob.
        base: String,
        /// The subscript as written.
        index: String,
        /// How many hosts there are.
        count: usize,
    },
    /// The regular expression cannot be read.
    #[error("`{text}` is not a regular expression")]
    Regex {
        /// The expression without the `~`.
        text: String,
        /// What the reader says.
        #[source]
        source: Box<regex::Error>,
    },
    /// The glob cannot be read.
    #[error("`{text}` is not a glob")]
    Glob {
        /// The glob as written.
        text: String,
        /// What the reader says.
        #[source]
        source: globset::Error,
    },
    /// A term is empty or only a sign.
    #[error("`{pattern}` has an empty term")]
    Blank {
        /// The whole pattern.
        pattern: String,
    },
    /// The pattern is understood and no host is left.
    #[error("no host matches `{pattern}`")]
    Nothing {
        /// The whole pattern.
        pattern: String,
    },
}

impl PatternError {
    /// Returns what to do about it, when that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { nearest, .. } | Self::UnknownGroup { nearest, .. } => {
                nearest.as_ref().map(|name| format!("did you mean `{name}`?"))
            }
            Self::Range(_)
            | Self::Subscript { .. }
            | Self::Regex { .. }
            | Self::Glob { .. }
            | Self::Blank { .. }
            | Self::Nothing { .. } => None,
        }
    }
}

/// Returns the selected positions in ascending order.
pub(super) fn select(inventory: &Inventory, pattern: &str) -> Result<BTreeSet<usize>, PatternError> {
    let blank = || PatternError::Blank { pattern: pattern.to_owned() };
    let (mut plus, mut both, mut minus) = (Vec::new(), Vec::new(), Vec::new());
    for term in split(inventory, pattern) {
        let (list, term) = match term.as_bytes().first() {
            Some(b'&') => (&mut both, term[1..].trim()),
            Some(b'!') => (&mut minus, term[1..].trim()),
            _ => (&mut plus, term),
        };
        if term.is_empty() {
            return Err(blank());
        }
        list.push(hosts_of(inventory, term)?);
    }
    // `!edge-3` alone means everything else, as in Ansible.
    if plus.is_empty() && (!both.is_empty() || !minus.is_empty()) {
        plus.push(hosts_of(inventory, ALL)?);
    }
    let mut selected: BTreeSet<usize> = plus.into_iter().flatten().collect();
    for hosts in both {
        selected.retain(|index| hosts.contains(index));
    }
    for hosts in minus {
        selected.retain(|index| !hosts.contains(index));
    }
    if selected.is_empty() {
        return Err(PatternError::Nothing { pattern: pattern.to_owned() });
    }
    Ok(selected)
}

/// Cuts a pattern at `:` and `,` outside of brackets; in a regular expression also outside of `()` and `{}`.
///
/// A pattern that is exactly a host's name stays whole: Ansible inventories may name hosts by IPv6 address.
fn split<'a>(inventory: &Inventory, pattern: &'a str) -> Vec<&'a str> {
    if inventory.host(pattern).is_some() {
        return vec![pattern];
    }
    let mut terms = Vec::new();
    let (mut start, mut depth, mut escaped) = (0, 0_usize, false);
    for (position, letter) in pattern.char_indices() {
        let is_regex = pattern[start..].trim_start_matches(['&', '!', ' ']).starts_with('~');
        if std::mem::take(&mut escaped) {
            continue;
        }
        match letter {
            '\\' if is_regex => escaped = true,
            '[' => depth += 1,
            '(' | '{' if is_regex => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ')' | '}' if is_regex => depth = depth.saturating_sub(1),
            ':' | ',' if depth == 0 => {
                terms.push(pattern[start..position].trim());
                start = position + 1;
            }
            _ => {}
        }
    }
    terms.push(pattern[start..].trim());
    // A trailing separator is harmless; `a::b` is not.
    if terms.len() > 1 && terms[terms.len() - 1].is_empty() {
        terms.pop();
    }
    terms
}

fn hosts_of(inventory: &Inventory, term: &str) -> Result<BTreeSet<usize>, PatternError> {
    if let Some(name) = term.strip_prefix('@') {
        let groups = || inventory.groups().map(|group| group.name.as_str());
        return group(inventory, name).ok_or_else(|| PatternError::UnknownGroup {
            name: name.to_owned(),
            nearest: super::nearest(name, groups()).map(str::to_owned),
        });
    }
    if let Some(text) = term.strip_prefix('~') {
        let regex = Regex::new(&format!("^(?:{text})"))
            .map_err(|error| PatternError::Regex { text: text.to_owned(), source: Box::new(error) })?;
        return Ok(matching(inventory, |name| regex.is_match(name)));
    }
    if let Some(found) = named(inventory, term) {
        return Ok(found);
    }
    if let Some((base, index)) = subscript(term) {
        let found = if is_glob(base) { Some(glob(inventory, base)?) } else { group(inventory, base) };
        if let Some(found) = found {
            return pick(&found, index).ok_or_else(|| PatternError::Subscript {
                base: base.to_owned(),
                index: index.to_owned(),
                count: found.len(),
            });
        }
    }
    let mut selected = BTreeSet::new();
    for name in expand(term)? {
        if is_glob(&name) {
            selected.extend(glob(inventory, &name)?);
        } else {
            let found = named(inventory, &name);
            selected.extend(
                found.ok_or_else(|| PatternError::Unknown { nearest: inventory.nearest(&name), name })?,
            );
        }
    }
    Ok(selected)
}

/// Finds a group, else a host, of exactly this name.
fn named(inventory: &Inventory, name: &str) -> Option<BTreeSet<usize>> {
    let name = if name == "*" { ALL } else { name };
    group(inventory, name).or_else(|| inventory.position(name).map(|index| BTreeSet::from([index])))
}

fn group(inventory: &Inventory, name: &str) -> Option<BTreeSet<usize>> {
    let group = inventory.group(name)?;
    Some(group.hosts.iter().filter_map(|host| inventory.position(host)).collect())
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn glob(inventory: &Inventory, text: &str) -> Result<BTreeSet<usize>, PatternError> {
    let glob = GlobBuilder::new(text)
        .build()
        .map_err(|source| PatternError::Glob { text: text.to_owned(), source })?
        .compile_matcher();
    Ok(matching(inventory, |name| glob.is_match(name)))
}

/// Collects the hosts, and the hosts of groups, whose names pass; an undeclared `localhost` is not among them.
fn matching(inventory: &Inventory, passes: impl Fn(&str) -> bool) -> BTreeSet<usize> {
    let hosts =
        inventory.hosts().enumerate().filter(|(_, host)| host.name != LOCALHOST || !host.groups.is_empty());
    let mut found: BTreeSet<usize> =
        hosts.filter(|(_, host)| passes(&host.name)).map(|(index, _)| index).collect();
    for name in inventory.groups().map(|group| &group.name).filter(|name| passes(name)) {
        found.extend(group(inventory, name).unwrap_or_default());
    }
    found
}

/// Cuts `web[0:2]` into `web` and `0:2`, when what stands in the last brackets is a subscript.
fn subscript(term: &str) -> Option<(&str, &str)> {
    let (base, index) = term.strip_suffix(']')?.rsplit_once('[')?;
    let is_number = |text: &str| text.strip_prefix('-').unwrap_or(text).parse::<usize>().is_ok();
    let is_subscript = match index.split_once([':', '-']) {
        Some((start, end)) if !start.is_empty() => is_number(start) && (end.is_empty() || is_number(end)),
        Some(_) | None => is_number(index),
    };
    (is_subscript && !base.is_empty()).then_some((base, index))
}

/// Takes one host or a stretch with both ends included; `-1` is the last.
fn pick(hosts: &BTreeSet<usize>, index: &str) -> Option<BTreeSet<usize>> {
    let count = hosts.len();
    let place = |text: &str| match text.strip_prefix('-') {
        Some(back) => count.checked_sub(back.parse().ok()?),
        None => text.parse().ok(),
    };
    let (first, last) =
        match index.split_once(':').or_else(|| index[1..].contains('-').then(|| index.split_once('-'))?) {
            Some((start, "")) => (place(start)?, count.checked_sub(1)?),
            Some((start, end)) => (place(start)?, place(end)?),
            None => (place(index)?, place(index)?),
        };
    let picked: BTreeSet<usize> =
        hosts.iter().copied().skip(first).take(last.saturating_add(1).saturating_sub(first)).collect();
    (!picked.is_empty()).then_some(picked)
}

#[cfg(test)]
mod tests {
    use crate::model::inventory::{Draft, Format, Inventory};

    fn inventory() -> Inventory {
        let mut draft = Draft::new(Format::Own);
        let text = r"
hosts: {web1: {}, web2: {}, web3: {}, 'edge-[1:12]': {}, db: {}}
groups:
  web: {hosts: [web3, web1, web2]}
  nl: {hosts: [web2, web3, edge-3, edge-2]}
  edge: {hosts: ['edge-[1:12]']}
  empty: {}
";
        draft.read_own(text, "hosts.yaml").unwrap();
        draft.finish().unwrap().0
    }

    #[test]
    fn patterns_select_in_the_order_of_the_inventory() {
        let inventory = inventory();
        for (pattern, expected) in [
            ("web1", "web1"),
            ("web", "web1 web2 web3"),
            ("@web", "web1 web2 web3"),
            ("db,web1", "web1 db"),
            ("db:web1:db", "web1 db"),
            ("web:&nl", "web2 web3"),
            ("web:edge:&nl:!edge-3", "web2 web3 edge-2"),
            ("!edge-3:&nl:web:edge", "web2 web3 edge-2"),
            ("!edge:!web", "db"),
            ("&web", "web1 web2 web3"),
            ("all:!edge", "web1 web2 web3 db"),
            ("*:!edge", "web1 web2 web3 db"),
            ("edge-?", "edge-1 edge-2 edge-3 edge-4 edge-5 edge-6 edge-7 edge-8 edge-9"),
            ("edge-[23]", "edge-2 edge-3"),
            ("edge-[!1-9]*:db", "db"),
            ("edge-[1:3]", "edge-1 edge-2 edge-3"),
            ("edge-[1:2]*", "edge-1 edge-2 edge-10 edge-11 edge-12"),
            ("web[0]", "web1"),
            ("web[-1]", "web3"),
            ("web[0:1]", "web1 web2"),
            ("web[1:]", "web2 web3"),
            ("web[1:18446744073709551615]", "web2 web3"),
            ("web[1-2]", "web2 web3"),
            ("edge-*[0:1]", "edge-1 edge-2"),
            (r"~edge-\d+$:!edge-[2:12]", "edge-1"),
            ("~edge-1", "edge-1 edge-10 edge-11 edge-12"),
            ("~(?:web|db)[13]?$", "web1 web2 web3 db"),
            ("~edge-1{1,2}$", "edge-1 edge-11"),
            ("d*", "db"),
            ("n*", "web2 web3 edge-2 edge-3"),
            ("localhost", "localhost"),
            ("all:!edge:localhost", "web1 web2 web3 db localhost"),
            ("l*:db", "db"),
            ("web1,", "web1"),
            (" web1 , db ", "web1 db"),
        ] {
            let selected = inventory.select(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            let names: Vec<_> = selected.iter().map(|host| host.name.as_str()).collect();
            assert_eq!(names.join(" "), expected, "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_trusted_is_refused() {
        let inventory = inventory();
        for (pattern, message, hint) in [
            ("wbe", "no host or group is named `wbe`", Some("did you mean `web`?")),
            ("web:!egde", "no host or group is named `egde`", Some("did you mean `edge`?")),
            ("@web1", "no group is named `web1`", Some("did you mean `web`?")),
            ("edge-[10:13]", "no host or group is named `edge-13`", None),
            ("edge-[3:1]", "the range `[3:1]` ends before it starts", None),
            ("web[7]", "`web` has 3 hosts, so `[7]` is none of them", None),
            ("web[-4]", "`web` has 3 hosts, so `[-4]` is none of them", None),
            ("~edge-(", "`edge-(` is not a regular expression", None),
            ("edge-[z-a]", "`edge-[z-a]` is not a glob", None),
            ("", "`` has an empty term", None),
            ("web::db", "`web::db` has an empty term", None),
            ("web:!", "`web:!` has an empty term", None),
            ("web:!web", "no host matches `web:!web`", None),
            ("empty", "no host matches `empty`", None),
            ("x*", "no host matches `x*`", None),
            ("~x", "no host matches `~x`", None),
        ] {
            let error = inventory.select(pattern).expect_err(pattern);
            assert_eq!(error.to_string(), message);
            if hint.is_some() {
                assert_eq!(error.hint().as_deref(), hint, "{pattern}");
            }
        }
    }

    #[test]
    fn a_star_never_means_an_undeclared_localhost() {
        for pattern in ["all", "*", "~.*", "?*"] {
            assert!(
                inventory().select(pattern).unwrap().iter().all(|host| host.name != "localhost"),
                "{pattern}"
            );
        }
    }
}
