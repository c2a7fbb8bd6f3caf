//! How verbs name a run: by its number, or `last`.

use std::str::FromStr;

use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::model::run::RunId;
use crate::store::{Filter, Store};

/// A run as a person names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The newest run.
    Last,
    /// The run of this number.
    Number(i64),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.trim_start_matches('#').parse()) {
            ("last", _) => Ok(Self::Last),
            (_, Ok(number)) if number > 0 => Ok(Self::Number(number)),
            (_, Ok(_) | Err(_)) => Err("a run is a number, or `last`".to_owned()),
        }
    }
}

impl Which {
    /// Returns the run's number.
    pub(crate) fn find(self, store: &Store) -> Result<RunId, Problem> {
        match self {
            Self::Number(number) => Ok(RunId(number)),
            Self::Last => {
                let newest = store.reader()?.runs(&Filter { limit: 1, ..Filter::default() })?;
                newest.first().map(|row| row.id).ok_or_else(|| none_yet(store))
            }
        }
    }
}

impl Context {
    /// Opens the run log for a verb that only looks at runs; where there is none, nothing is made.
    pub(crate) fn history(&self) -> Result<Store, Problem> {
        let project = self.project()?;
        let dir = project.state(self.common.state.as_deref(), &self.place.cwd);
        if !dir.join("nlrun.db").exists() {
            return Err(missing(&dir));
        }
        self.store(&project)
    }
}

fn missing(dir: &std::path::Path) -> Problem {
    Problem::usage(
        format!("there is no run log in `{}`", dir.display()),
        Some("`nlrun run FILE` makes one; `--project` or `--state` looks elsewhere".to_owned()),
    )
}

fn none_yet(store: &Store) -> Problem {
    Problem::usage(
        format!("there are no runs yet in `{}`", store.dir().display()),
        Some("`nlrun run FILE` makes one".to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_by_number_or_as_the_last_one() {
        for (text, which) in [
            ("last", Some(Which::Last)),
            ("12", Some(Which::Number(12))),
            ("#12", Some(Which::Number(12))),
            ("0", None),
            ("-1", None),
            ("first", None),
        ] {
            assert_eq!(text.parse().ok(), which, "{text}");
        }
    }
}
