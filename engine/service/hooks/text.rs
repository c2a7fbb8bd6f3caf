//! What a merge request is told about its runs, in Markdown: nothing in it is taken for an order, a mention or a tag.

use std::collections::BTreeMap;

use crate::model::run::{Mode, Status};

/// Characters of one diff.
const DIFF: usize = 12_000;
/// Characters of one run.
const RUN: usize = 120_000;

/// One run, as a merge request is told about it.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) run: i64,
    pub(super) runbook: String,
    pub(super) mode: Mode,
    pub(super) status: Status,
    pub(super) commit: String,
    /// Whether it is about the newest commit of the merge request.
    pub(super) is_newest: bool,
    pub(super) url: Option<String>,
    pub(super) changes: u64,
    /// The line from which a plan could not go on.
    pub(super) incomplete: Option<String>,
    pub(super) problems: Vec<String>,
    pub(super) effects: Vec<Effect>,
}

/// One effect that would change, or has changed, something.
#[derive(Debug, Clone)]
pub(super) struct Effect {
    /// The host, or what it is about where that is no host.
    pub(super) group: String,
    pub(super) line: String,
    pub(super) diff: Option<String>,
}

/// Puts the note together.
pub(super) fn note(answer: Option<&str>, sections: &[Section], hint: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(answer) = answer {
        text.push_str(&format!("> {}\n\n", words(answer)));
    }
    for section in sections {
        text.push_str(&of(section));
    }
    if let Some(hint) = hint {
        text.push_str(&format!("_{}_\n", words(hint)));
    }
    text
}

fn of(section: &Section) -> String {
    let Section { run, runbook, mode, status, commit, changes, .. } = section;
    let link = match &section.url {
        Some(url) => format!("[run {run}]({url})"),
        None => format!("run {run}"),
    };
    let what = match (mode, status) {
        (Mode::Plan, Status::Done | Status::Partial) if *changes == 0 => "nothing to change".to_owned(),
        (Mode::Plan, Status::Done | Status::Partial) => format!("**{changes} to change**"),
        (Mode::Apply, Status::Done) => format!("{changes} changed"),
        _ => format!("**{}**", status.as_str().replace('_', " ")),
    };
    let verb = match mode {
        Mode::Plan => "Plan",
        Mode::Apply => "Apply",
    };
    let mut text = format!(
        "#### {verb} of {}: {what}\n\n{link} at `{}`",
        code(runbook),
        commit.chars().take(8).collect::<String>()
    );
    if !section.is_newest {
        text.push_str(", **not the newest commit**");
    }
    text.push_str("\n\n");
    for problem in &section.problems {
        text.push_str(&format!("- {}\n", code(problem)));
    }
    if !section.problems.is_empty() {
        text.push('\n');
    }
    if let Some(line) = &section.incomplete {
        text.push_str(&format!(
            "The plan ends at {}: what comes after depends on an answer that only a run gets.\n\n",
            code(line)
        ));
    }
    let mut groups: BTreeMap<&str, Vec<&Effect>> = BTreeMap::new();
    for effect in &section.effects {
        groups.entry(&effect.group).or_default().push(effect);
    }
    let mut left = groups.len();
    for (group, effects) in groups {
        let block = block(group, &effects);
        if text.chars().count() + block.chars().count() > RUN {
            text.push_str(&format!("… and {left} more; {link} has all of them.\n\n"));
            break;
        }
        left -= 1;
        text.push_str(&block);
    }
    text
}

fn block(group: &str, effects: &[&Effect]) -> String {
    let count = effects.len();
    let mut text = format!("<details><summary>{} ({count})</summary>\n\n", html(group));
    for effect in effects {
        text.push_str(&format!("- {}\n", code(&effect.line)));
        if let Some(diff) = &effect.diff {
            let shown: String = diff.chars().take(DIFF).collect();
            let fence = "`".repeat(longest(&shown).max(2) + 1);
            let more =
                if shown.len() < diff.len() { "\n… the rest of the diff is with the run" } else { "" };
            text.push_str(&format!("\n{fence}diff\n{}{more}\n{fence}\n\n", shown.trim_end_matches('\n')));
        }
    }
    text.push_str("\n</details>\n\n");
    text
}

/// Returns the longest row of backticks in a text.
fn longest(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Writes a text as code on one line.
fn code(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    let fence = "`".repeat(longest(&line) + 1);
    let space = if line.starts_with('`') || line.ends_with('`') || line.is_empty() { " " } else { "" };
    format!("{fence}{space}{line}{space}{fence}")
}

fn html(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    mentions(&line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// Writes a text of ours, in which others may have put theirs.
fn words(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(2000).collect();
    mentions(&line.replace('&', "&amp;").replace('<', "&lt;").replace('[', "\\[").replace('!', "\\!"))
}

/// Keeps names from being called.
fn mentions(text: &str) -> String {
    text.replace('@', "@\u{200b}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(effects: Vec<Effect>) -> Section {
        Section {
            run: 7,
            runbook: "runbooks/web.rhai".to_owned(),
            mode: Mode::Plan,
            status: Status::Done,
            commit: "0123456789abcdef".to_owned(),
            is_newest: true,
            url: Some("https://nlrun.example.net/runs/7".to_owned()),
            changes: effects.len() as u64,
            incomplete: None,
            problems: Vec::new(),
            effects,
        }
    }

    #[test]
    fn a_plan_is_told_by_host_with_its_diffs() {
        let effect = |group: &str, diff: &str| Effect {
            group: group.to_owned(),
            line: "file.put /etc/motd".to_owned(),
            diff: Some(diff.to_owned()),
        };
        let text =
            note(None, &[section(vec![effect("b", "+x\n"), effect("a", "-y\n"), effect("b", "+z\n")])], None);
        let expected = "#### Plan of `runbooks/web.rhai`: **3 to change**\n\n[run 7](https://nlrun.example.net/runs/7) at `01234567`\n\n\
                        <details><summary>a (1)</summary>\n\n- `file.put /etc/motd`\n\n```diff\n-y\n```\n\n\n</details>\n\n\
                        <details><summary>b (2)</summary>\n\n- `file.put /etc/motd`\n\n```diff\n+x\n```\n\n- `file.put /etc/motd`\n\n```diff\n+z\n```\n\n\n</details>\n\n";
        assert_eq!(text, expected);
    }

    /// Returns what of a line is no code: a row of backticks ends at the next row of as many.
    fn outside(line: &str) -> String {
        let (mut found, mut rest) = (String::new(), line);
        while let Some(at) = rest.find('`') {
            found.push_str(&rest[..at]);
            let row = rest[at..].find(|c| c != '`').unwrap_or(rest.len() - at);
            let after = &rest[at + row..];
            let mut end = None;
            let mut from = 0;
            while let Some(next) = after[from..].find('`') {
                let begin = from + next;
                let length = after[begin..].find(|c| c != '`').unwrap_or(after.len() - begin);
                if length == row {
                    end = Some(begin + length);
                    break;
                }
                from = begin + length;
            }
            // One that does not end is text.
            rest = end.map_or(after, |end| &after[end..]);
        }
        found + rest
    }

    #[test]
    fn nothing_in_it_is_an_order_a_mention_or_a_tag() {
        let evil = "/merge\n</details><img src=x>@all ``` `````\n/approve";
        let effect = Effect { group: evil.to_owned(), line: evil.to_owned(), diff: Some(evil.to_owned()) };
        let mut one = section(vec![effect]);
        one.problems = vec![evil.to_owned()];
        one.incomplete = Some(evil.to_owned());
        one.runbook = evil.to_owned();
        let text = note(Some(evil), &[one], Some(evil));
        let mut fence: Option<&str> = None;
        for line in text.lines() {
            match fence {
                Some(open) if line == open => fence = None,
                Some(_) => {}
                None if line.starts_with("```") => fence = Some(line.trim_end_matches("diff")),
                None => {
                    assert!(!line.starts_with('/'), "an order: {line}");
                    let without = outside(line);
                    assert!(!without.contains("<img") && !without.contains("@all"), "{line}");
                }
            }
        }
        assert!(fence.is_none(), "a fence is open: {text}");
    }

    #[test]
    fn a_long_plan_is_cut_between_hosts() {
        let effects = (0..500).map(|n| Effect {
            group: format!("host-{n:03}"),
            line: "file.put".to_owned(),
            diff: Some("+x\n".repeat(2000)),
        });
        let text = note(None, &[section(effects.collect())], None);
        assert!(text.chars().count() < RUN + 200, "{}", text.len());
        assert!(text.contains("more; [run 7]"), "{}", &text[text.len() - 200..]);
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
    }
}
