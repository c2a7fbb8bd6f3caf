//! Ordered lists: how one becomes the other, with a command at a time, in the place that counts, and never empty on the way.

use std::collections::HashMap;

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// How an entry is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number, where it has one.
    pub(super) number: Option<u32>,
    /// What it says, without its number.
    pub(super) text: String,
}

impl Entry {
    /// Reads a line of an access list of IOS.
    pub(super) fn read(line: &str) -> Self {
        if let Some((first, rest)) = line.split_once(' ')
            && let Ok(number) = first.parse()
        {
            return Self { number: Some(number), text: rest.to_owned() };
        }
        Self { number: None, text: line.to_owned() }
    }

    /// Whether it is a remark, which permits and denies nothing.
    pub(super) fn is_remark(&self) -> bool {
        self.text.starts_with("remark ")
    }
}

/// The part of an entry by which a device knows it; the rest (`log`, `inactive`) are marks that it takes anew.
pub(super) fn identity(text: &str) -> &str {
    if text.starts_with("remark ") {
        return text;
    }
    let mut text = text.strip_suffix(" inactive").unwrap_or(text);
    // `log`, `log disable`, `log warnings interval 300`.
    if let Some(at) =
        text.find(" log").filter(|at| text[at + 4..].is_empty() || text[at + 4..].starts_with(' '))
    {
        let options = text[at + 4..].trim();
        let is_option = |word: &str| {
            word.bytes().all(|byte| byte.is_ascii_digit())
                || matches!(
                    word,
                    "disable"
                        | "default"
                        | "interval"
                        | "emergencies"
                        | "alerts"
                        | "critical"
                        | "errors"
                        | "warnings"
                        | "notifications"
                        | "informational"
                        | "debugging"
                )
        };
        if options.split(' ').filter(|word| !word.is_empty()).all(is_option) {
            text = &text[..at];
        }
    }
    text
}

/// One step of changing a list whose places are counted: access lists and NAT of ASA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Put in, so that it is the n-th (from one) afterwards.
    Insert(usize, String),
    /// Put at the end of a list.
    Append(String),
    /// Taken away; it is the n-th.
    Delete(usize, String),
    /// Entered again where it is, the n-th, for its marks.
    Renew(usize, String),
}

/// Returns the steps from one list to another.
///
/// New entries come before old ones go, and what moves goes just before it comes again: a device ignores an entry that it has already.
pub(super) fn counted(a: &[&str], b: &[&str]) -> Vec<Step> {
    let mut steps = Vec::new();
    if a.is_empty() {
        return b.iter().map(|text| Step::Append((*text).to_owned())).collect();
    }
    let kept = matched(
        &a.iter().map(|text| identity(text)).collect::<Vec<_>>(),
        &b.iter().map(|text| identity(text)).collect::<Vec<_>>(),
    );
    let partner: HashMap<usize, usize> = kept.iter().map(|(a, b)| (*b, *a)).collect();
    let stays: HashMap<usize, usize> = kept.iter().map(|(a, b)| (*a, *b)).collect();
    // What is in the list now: places of `a`, or none for what was put in.
    let mut now: Vec<Option<usize>> = (0..a.len()).map(Some).collect();
    let mut at = 0;
    for (place, text) in b.iter().enumerate() {
        if let Some(&old) = partner.get(&place) {
            while now[at] != Some(old) {
                at += 1;
            }
            at += 1;
            if a[old] != *text {
                steps.push(Step::Renew(at, (*text).to_owned()));
            }
            continue;
        }
        if !text.starts_with("remark ") {
            let same = |one: &Option<usize>| {
                one.is_some_and(|old| !stays.contains_key(&old) && identity(a[old]) == identity(text))
            };
            if let Some(found) = now.iter().position(same) {
                let old = now.remove(found).unwrap_or_default();
                steps.push(Step::Delete(found + 1, a[old].to_owned()));
                if found < at {
                    at -= 1;
                }
            }
        }
        if at == now.len() && !now.is_empty() {
            steps.push(Step::Append((*text).to_owned()));
        } else {
            steps.push(Step::Insert(at + 1, (*text).to_owned()));
        }
        now.insert(at, None);
        at += 1;
    }
    let mut place = 0;
    while place < now.len() {
        match now[place] {
            Some(old) if !stays.contains_key(&old) => {
                steps.push(Step::Delete(place + 1, a[old].to_owned()));
                now.remove(place);
            }
            _ => place += 1,
        }
    }
    steps
}

/// Returns the pairs of places that stay, in order.
fn matched(a: &[&str], b: &[&str]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for operation in capture_diff_slices(Algorithm::Myers, a, b) {
        if let DiffOp::Equal { old_index, new_index, len } = operation {
            pairs.extend((0..len).map(|step| (old_index + step, new_index + step)));
        }
    }
    pairs
}

/// What an access list of IOS takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Edit {
    /// The first number and the distance between numbers that the list gets before anything else.
    pub(super) resequence: Option<(u32, u32)>,
    /// Lines to enter below the list's header.
    pub(super) lines: Vec<String>,
}

/// The distance between numbers that makes room for new entries.
const ROOM: u32 = 1000;

/// Returns how one access list of IOS becomes another. What counts is the order of what they say; numbers are where it is.
///
/// Where a device shows no numbers, nobody knows them (they start at 10, but edits since the last restart count): then entries in the
/// middle need a resequencing first. Sources: Cisco, "IP Access List Entry Sequence Numbering".
pub(super) fn numbered(a: &[Entry], b: &[Entry]) -> Edit {
    let mut edit = Edit::default();
    let rules =
        |list: &[Entry]| -> Vec<Entry> { list.iter().filter(|one| !one.is_remark()).cloned().collect() };
    let (old, mut new) = (rules(a), rules(b));
    if new.iter().all(|one| one.number.is_some()) {
        new.sort_by_key(|one| one.number);
    }
    new.dedup_by(|a, b| a.text == b.text);
    let texts = |list: &'_ [Entry]| -> Vec<String> { list.iter().map(|one| one.text.clone()).collect() };
    let (old_texts, new_texts) = (texts(&old), texts(&new));
    let kept = matched(
        &old_texts.iter().map(String::as_str).collect::<Vec<_>>(),
        &new_texts.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let partner: HashMap<usize, usize> = kept.iter().map(|(a, b)| (*b, *a)).collect();
    let stays: HashMap<usize, usize> = kept.iter().copied().collect();
    let last_kept = kept.last().map(|(_, b)| *b);
    let is_append =
        (0..new.len()).all(|place| partner.contains_key(&place) || last_kept.is_none_or(|last| place > last));
    let mut numbers: Vec<Option<u32>> = old.iter().map(|one| one.number).collect();
    let shows = numbers.iter().all(Option::is_some) && !old.is_empty();
    let mut places: Vec<Option<u32>> = Vec::new();
    if !is_append {
        let found = if shows { fitted(&numbers, &new, &partner) } else { None };
        places = match found {
            Some(places) => places,
            None => {
                edit.resequence = Some((ROOM, ROOM));
                numbers = (1..=old.len() as u32).map(|place| Some(place * ROOM)).collect();
                fitted(&numbers, &new, &partner).unwrap_or_default()
            }
        };
    } else if shows {
        let mut last = numbers.iter().flatten().max().copied().unwrap_or_default();
        places = (0..new.len())
            .map(|place| {
                if partner.contains_key(&place) {
                    return None;
                }
                last = new[place].number.filter(|number| *number > last).unwrap_or(last + 10);
                Some(last)
            })
            .collect();
    }
    let delete = |place: usize| match numbers[place] {
        Some(number) if shows || edit.resequence.is_some() => format!("no {number}"),
        _ => format!("no {}", old[place].text),
    };
    let mut gone: Vec<usize> = Vec::new();
    let mut lines = Vec::new();
    for (place, one) in new.iter().enumerate() {
        if partner.contains_key(&place) {
            continue;
        }
        let moved = (0..old.len())
            .find(|at| !stays.contains_key(at) && !gone.contains(at) && old[*at].text == one.text);
        if let Some(at) = moved {
            gone.push(at);
            lines.push(delete(at));
        }
        lines.push(match places.get(place).copied().flatten() {
            Some(number) => format!("{number} {}", one.text),
            None => one.text.clone(),
        });
    }
    lines.extend((0..old.len()).filter(|at| !stays.contains_key(at) && !gone.contains(at)).map(delete));
    edit.lines = remarks(a, b, shows, &numbers, &old);
    edit.lines.extend(lines);
    edit
}

/// Finds numbers for new entries between those of the ones that stay; nothing where there is no room.
fn fitted(
    numbers: &[Option<u32>],
    new: &[Entry],
    partner: &HashMap<usize, usize>,
) -> Option<Vec<Option<u32>>> {
    let mut taken: Vec<u32> = numbers.iter().flatten().copied().collect();
    taken.sort_unstable();
    let mut places = vec![None; new.len()];
    let mut below = 0;
    let mut place = 0;
    while place < new.len() {
        if let Some(old) = partner.get(&place) {
            below = numbers[*old]?;
            place += 1;
            continue;
        }
        let end = (place..new.len()).find(|next| partner.contains_key(next)).unwrap_or(new.len());
        // Between the one above and the next one that stays; numbers of what will go are still taken.
        let above = match partner.get(&end) {
            Some(old) => numbers[*old]?,
            None => taken.last().copied().unwrap_or_default().max(below) + (new.len() as u32 + 1) * 10,
        };
        let free: Vec<u32> =
            (below + 1..above).filter(|number| taken.binary_search(number).is_err()).collect();
        let count = end - place;
        if free.len() < count {
            return None;
        }
        // What is written there, where it fits; else evenly.
        let wished: Vec<u32> = (place..end).filter_map(|at| new[at].number).collect();
        let fits = wished.len() == count
            && wished.windows(2).all(|pair| pair[0] < pair[1])
            && wished.iter().all(|number| free.binary_search(number).is_ok());
        for step in 0..count {
            let even = free[(step + 1) * free.len() / (count + 1)];
            places[place + step] = Some(if fits { wished[step] } else { even });
        }
        if !fits {
            let mut chosen: Vec<u32> = (0..count).filter_map(|step| places[place + step]).collect();
            chosen.dedup();
            if chosen.len() < count {
                (0..count).for_each(|step| places[place + step] = Some(free[step]));
            }
        }
        below = places[end - 1]?;
        place = end;
    }
    Some(places)
}

/// The lines that bring remarks in and take them away; where they stand cannot be told to a device that shows no numbers.
fn remarks(a: &[Entry], b: &[Entry], shows: bool, numbers: &[Option<u32>], old: &[Entry]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut have: Vec<&Entry> = a.iter().filter(|one| one.is_remark()).collect();
    for (place, one) in b.iter().enumerate().filter(|(_, one)| one.is_remark()) {
        if let Some(at) = have.iter().position(|known| known.text == one.text) {
            have.remove(at);
            continue;
        }
        // It stands before the next entry, and has its number.
        let next = b[place..].iter().find(|next| !next.is_remark());
        let number = next
            .and_then(|next| old.iter().position(|known| known.text == next.text))
            .and_then(|at| numbers[at]);
        lines.push(match number.filter(|_| shows) {
            Some(number) => format!("{number} {}", one.text),
            None => one.text.clone(),
        });
    }
    lines.extend(have.into_iter().map(|one| match one.number {
        Some(number) => format!("no {number} {}", one.text),
        None => format!("no {}", one.text),
    }));
    lines
}

/// Whether two access lists of IOS are the same: what they permit and deny, in order, and which remarks they have.
pub(super) fn same(a: &[Entry], b: &[Entry]) -> bool {
    let rules = |list: &[Entry]| -> Vec<String> {
        let mut rules: Vec<&Entry> = list.iter().filter(|one| !one.is_remark()).collect();
        if rules.iter().all(|one| one.number.is_some()) {
            rules.sort_by_key(|one| one.number);
        }
        rules.iter().map(|one| one.text.clone()).collect()
    };
    let remarks = |list: &[Entry]| -> Vec<String> {
        let mut remarks: Vec<String> =
            list.iter().filter(|one| one.is_remark()).map(|one| one.text.clone()).collect();
        remarks.sort();
        remarks
    };
    rules(a) == rules(b) && remarks(a) == remarks(b)
}
