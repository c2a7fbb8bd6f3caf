//! What can be wrong with an inventory, and where.

use std::path::PathBuf;
use std::sync::Arc;

use super::range::RangeError;
use crate::model::yaml;

/// A position in one of the files of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The label of the file.
    pub file: Arc<str>,
    /// Line, from 1; 0 when unknown.
    pub line: u64,
    /// Column in characters, from 1; 0 when unknown.
    pub column: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(formatter, "{}", self.file),
            (line, 0) => write!(formatter, "{}:{line}", self.file),
            (line, column) => write!(formatter, "{}:{line}:{column}", self.file),
        }
    }
}

/// Why the files do not make an inventory, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Error {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1; 0 when the file as a whole is wrong.
    pub line: u64,
    /// Column in characters, from 1; 0 when unknown.
    pub column: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// The sentences an inventory can be refused with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The text is not YAML.
    #[error("{message}")]
    Yaml {
        /// What the reader says.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A key that nothing reads.
    #[error("unknown key `{key}` in {section}")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// Whose key it is: `host `edge-1``, `the file`.
        section: String,
        /// The key that was meant, or all that are known.
        hint: String,
    },
    /// A value of the wrong shape or out of bounds.
    #[error("{key} wants {expected}, not {found}")]
    Value {
        /// The key in backticks, or what it belongs to.
        key: String,
        /// What is wanted.
        expected: &'static str,
        /// What stands there: its shape, or the value in backticks.
        found: String,
    },
    /// A field that takes the name of a secret has something else; the value is not shown, it may be the secret.
    #[error("`{key}` takes the name of a secret, and this is not one")]
    SecretName {
        /// The key.
        key: String,
    },
    /// A host or group name with characters that patterns use.
    #[error(
        "`{name}` cannot be a name: letters, digits, `.`, `_` and `-` are allowed, and it starts with none of `.` and `-`"
    )]
    Name {
        /// The name as written.
        name: String,
    },
    /// A range in a name is wrong.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A group lists a host that no `hosts:` declares.
    #[error("group `{group}` lists host `{host}`, which is not declared")]
    UnknownHost {
        /// The group.
        group: String,
        /// The missing host.
        host: String,
        /// The host that was meant.
        nearest: Option<String>,
    },
    /// A host or group names a group that no `groups:` declares.
    #[error("{by} names group `{group}`, which is not declared")]
    UnknownGroup {
        /// Who names it: `host `a``.
        by: String,
        /// The missing group.
        group: String,
        /// The group that was meant.
        nearest: Option<String>,
    },
    /// A host and a group share a name.
    #[error("`{name}` is both a host and a group")]
    SharedName {
        /// The name.
        name: String,
    },
    /// The members of `all` are not a choice.
    #[error("`all` holds every host: it takes variables and connection settings, not `{key}`")]
    MembersOfAll {
        /// The key that is refused.
        key: String,
    },
    /// Two declarations disagree.
    #[error("{owner} has `{key}` twice with different values, first at {first}")]
    Conflict {
        /// Whose value it is.
        owner: String,
        /// The key.
        key: String,
        /// Where the other value stands.
        first: String,
    },
    /// Groups contain each other.
    #[error("groups contain each other: {chain}")]
    GroupCycle {
        /// `a > b > a`.
        chain: String,
    },
    /// Hosts are reached through each other.
    #[error("jump hosts lead in a circle: {chain}")]
    JumpCycle {
        /// `a > b > a`.
        chain: String,
    },
    /// A line of an INI inventory means nothing.
    #[error("{0}")]
    Ini(String),
}

impl Error {
    /// Makes an error at a place.
    pub(super) fn at(place: &Place, problem: impl Into<Problem>) -> Self {
        Self {
            file: PathBuf::from(&*place.file),
            line: place.line,
            column: place.column,
            problem: problem.into(),
        }
    }

    /// Returns what to do about it, when that can be said.
    pub fn hint(&self) -> Option<String> {
        let nearest =
            |nearest: &Option<String>| nearest.as_ref().map(|name| format!("did you mean `{name}`?"));
        match &self.problem {
            Problem::Yaml { hint, .. } => hint.clone(),
            Problem::UnknownKey { hint, .. } => Some(hint.clone()),
            Problem::SecretName { key } => {
                Some(format!("put the value into a secret and write its name: `{key}: edge-login`"))
            }
            Problem::UnknownHost { nearest: name, host, .. } => {
                nearest(name).or_else(|| Some(format!("declare it under `hosts:`: `{host}: {{}}`")))
            }
            Problem::UnknownGroup { nearest: name, group, .. } => {
                nearest(name).or_else(|| Some(format!("declare it under `groups:`: `{group}: {{}}`")))
            }
            Problem::Conflict { .. } => Some("keep one of the two".to_owned()),
            Problem::Value { .. }
            | Problem::Name { .. }
            | Problem::Range(_)
            | Problem::SharedName { .. }
            | Problem::MembersOfAll { .. }
            | Problem::GroupCycle { .. }
            | Problem::JumpCycle { .. }
            | Problem::Ini(_) => None,
        }
    }
}

impl From<yaml::Error> for Error {
    fn from(error: yaml::Error) -> Self {
        Self {
            file: PathBuf::from(error.file),
            line: error.line,
            column: error.column,
            problem: Problem::Yaml { message: error.message, hint: error.hint },
        }
    }
}
