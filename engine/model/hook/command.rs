//! What people ask for in the notes of a merge request: `nlrun plan`, `nlrun apply`.

use std::collections::BTreeMap;

use crate::model::nearest::did_you_mean;

/// An order in a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Plan a runbook, or all that the merge request's triggers name.
    Plan {
        /// The runbook.
        runbook: Option<String>,
        /// Parameters, as with `--set`.
        set: BTreeMap<String, String>,
    },
    /// Apply exactly what was planned: of one runbook, or of all.
    Apply {
        /// The runbook.
        runbook: Option<String>,
    },
    /// Say what can be asked for.
    Help,
}

/// Why a note that begins like an order is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The second word is none of the known ones.
    #[error("there is no `nlrun {word}`{near}; `nlrun help` says what there is")]
    Unknown {
        /// The word.
        word: String,
        /// What was probably meant, as a question.
        near: String,
    },
    /// A quote is not closed.
    #[error("a quotation mark is not closed")]
    Open,
    /// An option that is not there, or without its value.
    #[error(
        "`{0}` is not understood here: write `nlrun plan [RUNBOOK] [--set NAME=VALUE …]` or `nlrun apply [RUNBOOK]`"
    )]
    Option(String),
}

impl Command {
    /// Reads the first line of a note; nothing comes of a note that is no order.
    pub fn read(note: &str) -> Option<Result<Self, CommandError>> {
        let line = note.lines().map(str::trim).find(|line| !line.is_empty())?;
        let rest = line.strip_prefix("nlrun").or_else(|| line.strip_prefix("/nlrun"))?;
        if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
            return None;
        }
        Some(words(rest).and_then(|words| Self::of(&words)))
    }

    fn of(words: &[String]) -> Result<Self, CommandError> {
        let Some((verb, rest)) = words.split_first() else { return Ok(Self::Help) };
        if !matches!(verb.as_str(), "plan" | "apply" | "help") {
            let near = did_you_mean(verb, ["plan", "apply", "help"]).map(|near| format!(": {near}"));
            return Err(CommandError::Unknown { word: verb.clone(), near: near.unwrap_or_default() });
        }
        let (mut runbook, mut set) = (None, BTreeMap::new());
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            let pair = match word.strip_prefix("--set=") {
                Some(pair) => Some(pair.to_owned()),
                None if word == "--set" => {
                    Some(rest.next().cloned().ok_or_else(|| CommandError::Option(word.clone()))?)
                }
                None => None,
            };
            match pair {
                Some(pair) if verb == "plan" => {
                    let (name, value) =
                        pair.split_once('=').ok_or_else(|| CommandError::Option(pair.clone()))?;
                    set.insert(name.trim().to_owned(), value.to_owned());
                }
                None if runbook.is_none() && !word.starts_with('-') && verb != "help" => {
                    runbook = Some(word.clone());
                }
                _ => return Err(CommandError::Option(word.clone())),
            }
        }
        Ok(match verb.as_str() {
            "plan" if runbook.is_none() && !set.is_empty() => {
                return Err(CommandError::Option("--set".to_owned()));
            }
            "plan" => Self::Plan { runbook, set },
            "apply" => Self::Apply { runbook },
            _ => Self::Help,
        })
    }
}

/// Splits a line into words; what stands in quotation marks is one word, or a part of one.
fn words(line: &str) -> Result<Vec<String>, CommandError> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(CommandError::Open);
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_other_notes_are_left_alone() {
        let plan = |runbook: Option<&str>, set: &[(&str, &str)]| Command::Plan {
            runbook: runbook.map(str::to_owned),
            set: set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        for (note, expected) in [
            ("nlrun plan", Some(plan(None, &[]))),
            ("\n  nlrun plan certs/sync\nthanks!", Some(plan(Some("certs/sync"), &[]))),
            (
                "/nlrun plan x --set a=1 --set='b=two words'",
                Some(plan(Some("x"), &[("a", "1"), ("b", "two words")])),
            ),
            ("nlrun plan x --set a=b=c", Some(plan(Some("x"), &[("a", "b=c")]))),
            ("nlrun apply", Some(Command::Apply { runbook: None })),
            ("nlrun apply \"x y\"", Some(Command::Apply { runbook: Some("x y".to_owned()) })),
            ("nlrun", Some(Command::Help)),
            ("nlrun help", Some(Command::Help)),
            ("nlruns are nice", None),
            ("please nlrun apply", None),
            ("> nlrun apply", None),
            ("<!-- nlrun:review -->\nx", None),
            ("", None),
        ] {
            assert_eq!(Command::read(note).map(Result::unwrap), expected, "{note}");
        }
        for (note, part) in [
            ("nlrun aply", "did you mean `apply`?"),
            ("nlrun plan x y", "`y` is not understood"),
            ("nlrun apply --set a=1", "is not understood"),
            ("nlrun plan --set", "is not understood"),
            ("nlrun plan --set a=1", "is not understood"),
            ("nlrun plan x --set a", "is not understood"),
            ("nlrun plan 'x", "is not closed"),
            ("nlrun plan --force", "`--force` is not understood"),
        ] {
            let error = Command::read(note).unwrap().unwrap_err().to_string();
            assert!(error.contains(part), "{note}: {error}");
        }
    }
}
