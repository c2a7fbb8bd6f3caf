//! Why a verb did not do its work, in the words that people see.

use serde_json::{Value, json};

use crate::gate::sentence;
use crate::model::diagnostic::Diagnostic;
use crate::model::inventory::PatternError;
use crate::service::{IdentityError, ProjectError, ServiceError, new_plan};
use crate::store::StoreError;
use crate::world::tls::probe;

/// Wrong usage or configuration (sysexits.h, `EX_USAGE`).
pub(crate) const USAGE: u8 = 64;

/// Why nothing happened.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The service says no.
    Service(ServiceError),
    /// The words on the command line are wrong.
    Usage {
        /// One sentence.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A server says no, or nothing.
    Remote {
        /// One sentence.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// The process exit code.
        code: u8,
    },
    /// Something else failed.
    Other(String),
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Store(error) => error.into(),
            IdentityError::Service(error) => (*error).into(),
            error => Self::usage(sentence(&error), None),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

impl Problem {
    /// Makes a problem of wrong usage.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<Option<String>>) -> Self {
        Self::Usage { message: message.into(), hint: hint.into() }
    }

    /// Returns the process exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => USAGE,
            Self::Remote { code, .. } => *code,
            Self::Other(_) => 1,
            Self::Service(error) => match error {
                ServiceError::Project(_)
                | ServiceError::Inventory(_)
                | ServiceError::Check(_)
                | ServiceError::Parameters(_)
                | ServiceError::Capability(_)
                | ServiceError::SshConfig(_)
                | ServiceError::Pattern(_)
                | ServiceError::Endpoint { .. }
                | ServiceError::NotInDoubt { .. }
                | ServiceError::NoSchedule { .. }
                | ServiceError::IsPlan { .. }
                | ServiceError::Plan { .. } => USAGE,
                ServiceError::Store(StoreError::NoRun(_) | StoreError::Newer { .. }) => USAGE,
                ServiceError::Store(
                    StoreError::PlanUsed(_) | StoreError::Held { .. } | StoreError::Over { .. },
                )
                | ServiceError::Locked { .. } => 3,
                ServiceError::NotYours { .. }
                | ServiceError::PlansOnly { .. }
                | ServiceError::Closed { .. } => 3,
                ServiceError::CancelledWaiting { .. } => 5,
                ServiceError::Probe { fault: probe::Fault::Invalid { .. }, .. } => USAGE,
                ServiceError::Store(_)
                | ServiceError::Unusable { .. }
                | ServiceError::NoFolder { .. }
                | ServiceError::Probe { .. }
                | ServiceError::Text(_)
                | ServiceError::Runtime(_) => 1,
            },
        }
    }

    /// Returns findings with places in files.
    pub(crate) fn diagnostics(&self) -> Vec<&Diagnostic> {
        match self {
            Self::Service(ServiceError::Check(diagnostics)) => diagnostics.iter().collect(),
            Self::Service(_) | Self::Usage { .. } | Self::Remote { .. } | Self::Other(_) => Vec::new(),
        }
    }

    /// Returns the sentence, where the findings do not already say all.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Service(ServiceError::Check(_)) => None,
            Self::Service(ServiceError::Parameters(errors)) => {
                Some(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nerror: "))
            }
            Self::Service(ServiceError::Inventory(error)) => {
                let (file, line, column) = error.place();
                let place = match line {
                    0 => String::new(),
                    _ => format!("{}:{line}:{column}: ", file.display()),
                };
                Some(format!("{place}{}", sentence(error.as_ref())))
            }
            Self::Service(ServiceError::Project(ProjectError::Config(error))) => {
                Some(format!("{}:{}:{}: {}", error.file, error.line, error.column, error.message))
            }
            Self::Service(error) => Some(sentence(error)),
            Self::Usage { message, .. } | Self::Remote { message, .. } | Self::Other(message) => {
                Some(message.clone())
            }
        }
    }

    /// Returns what to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } | Self::Remote { hint, .. } => hint.clone(),
            Self::Other(_) => None,
            Self::Service(error) => match error {
                ServiceError::Project(ProjectError::NoRunbook { near, tried, .. }) => {
                    let near = near.as_ref().map(|near| format!("did you mean `{near}`?"));
                    near.or_else(|| Some(format!("looked for {}", tried.join(", "))))
                }
                ServiceError::Project(ProjectError::Config(error)) => error.hint.clone(),
                ServiceError::Inventory(error) => error.hint(),
                ServiceError::Store(StoreError::Held { run, .. }) => {
                    Some(format!("watch it with `nlrun log {run} -f`, end it with `nlrun cancel {run}`"))
                }
                ServiceError::Store(StoreError::PlanUsed(run)) => {
                    Some(format!("see what it did with `nlrun show {run}`; a new run needs a new plan"))
                }
                ServiceError::NotInDoubt { run, .. } => {
                    Some(format!("`nlrun show {run}` lists the acts in doubt"))
                }
                ServiceError::IsPlan { runbook, .. } => Some(new_plan(runbook)),
                ServiceError::Store(StoreError::Over { run, .. }) => {
                    Some(format!("see `nlrun show {run}`; start it again with `nlrun run`"))
                }
                ServiceError::Pattern(
                    PatternError::Unknown { nearest, .. } | PatternError::UnknownGroup { nearest, .. },
                ) => nearest.as_ref().map_or_else(
                    || Some("`nlrun hosts` lists them, `nlrun hosts --groups` the groups".to_owned()),
                    |near| Some(format!("did you mean `{near}`?")),
                ),
                ServiceError::Store(StoreError::NoRun(_)) => Some("`nlrun runs` lists them".to_owned()),
                ServiceError::Store(StoreError::Full) => {
                    Some("make room, or remove old runs with `nlrun db prune`".to_owned())
                }
                _ => None,
            },
        }
    }

    /// Returns it as one JSON object.
    pub(crate) fn json(&self) -> Value {
        json!({ "error": {
            "message": self.text(),
            "hint": self.hint(),
            "diagnostics": self.diagnostics(),
            "exit_code": self.exit_code(),
        }})
    }
}
