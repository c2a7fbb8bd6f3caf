//! Starts, plans, applies, resumes, replays and cancels runs: what every face calls. Nothing here talks to a terminal.

mod apply;
mod catalog;
mod desk;
mod dispatch;
mod doctor;
mod doctor_server;
mod edit;
mod endpoints;
mod execute;
mod history;
mod hooks;
pub mod identity;
mod live;
mod names;
mod notify;
mod overview;
mod own;
mod prepare;
mod probe;
mod project;
mod replayed;
mod repository;
mod resume;
mod scheduler;
mod schedules;
mod secrets;
mod settings;
mod sight;
mod timetable;
mod triggers;

pub use apply::{plan_of, read_plan, write_plan};
pub use catalog::{Choices, Listed, Stand, Took, Went, stands};
pub use desk::{Desk, Measured};
pub use dispatch::{Allowance, Dispatcher, Folder, Folders, Here, Holdup, Round, Veto, places};
pub use doctor::{Finding, State as FindingState, examine};
pub use edit::{Change, Kept, Saves, Text, TextError};
pub use endpoints::{Endpoint, Ping};
pub use execute::{Asked, LOCK_WAIT, give_up, take_out};
pub use history::{groups_by_hosts, start_of, used, walk};
pub use hooks::{GitLabSettings, Hooks, Refused, Shown, Working};
pub use identity::{Identity, IdentityError};
pub use live::{Finished, Hands, sweep};
pub use names::Known;
pub use notify::{Notifier, notify_faults, send as send_notice, stale_since, test_notice};
pub use overview::{Line, Present, Queue};
pub use own::Own;
pub use prepare::{Prepared, Wanted, prepare, prepare_own};
pub use probe::look;
pub use project::{Config, FILE, Place, Project, ProjectError, Retention, StateConfig, parse_size, scripts};
pub use replayed::Replayed;
pub use repository::{Following, Repository, Sync};
pub use resume::{Decision, new_plan, remedy};
pub use scheduler::{Alarm, InForce, Scheduler};
pub use schedules::{Looked, Schedules};
pub use secrets::{Begun, SecretAnswer, SecretsError, SourceAnswer, Tested, Told, Trouble};
pub use settings::{LISTEN, Metrics, Patience, RunLimits, Settings};
pub use timetable::{Calendar, Mark, Scheduled, Timetable};

use crate::model::diagnostic::Diagnostic;
use crate::model::runbook::ParameterError;
use crate::store::StoreError;
use crate::world::inventory::InventoryError;

/// Why a run did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The project cannot be read.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The inventory cannot be read.
    #[error("the inventory cannot be used: {0}")]
    Inventory(Box<InventoryError>),
    /// The runbook does not pass the check.
    #[error("the runbook does not pass the check")]
    Check(Vec<Diagnostic>),
    /// Parameters are wrong.
    #[error("parameters are wrong")]
    Parameters(Vec<ParameterError>),
    /// A capability given on the command line is none.
    #[error(transparent)]
    Capability(#[from] crate::model::capability::CapabilityError),
    /// The run log.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The user's SSH configuration.
    #[error("the SSH configuration cannot be used: {0}")]
    SshConfig(#[from] crate::world::ssh::ssh_config::SshConfigError),
    /// A plan file is no plan.
    #[error("`{path}` is not a plan: {reason}")]
    Plan {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A pattern selects nothing, or is none.
    #[error(transparent)]
    Pattern(#[from] crate::model::inventory::PatternError),
    /// Nobody knows how to reach a host.
    #[error("host `{host}` cannot be reached as it is described")]
    Endpoint {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: crate::world::endpoint::EndpointError,
    },
    /// A server shows no certificate.
    #[error("`{port}`: {fault}")]
    Probe {
        /// The port that was looked at.
        port: String,
        /// Why not.
        fault: crate::world::tls::probe::Fault,
    },
    /// A lock of `LIMITS.locks` is held by another run.
    #[error("lock `{name}` is held by {holder}")]
    Locked {
        /// The lock.
        name: String,
        /// Who holds it.
        holder: String,
    },
    /// A calendar keeps people's runs, too.
    #[error("{why}")]
    Closed {
        /// Which, and until when.
        why: String,
    },
    /// No such schedule.
    #[error("there is no schedule `{name}`")]
    NoSchedule {
        /// What was asked for.
        name: String,
    },
    /// The server has no folder of the project, or none of the revision that was asked for.
    #[error("{reason}")]
    NoFolder {
        /// The branch, tag or commit that was asked for.
        revision: Option<String>,
        /// Why.
        reason: String,
    },
    /// Whoever asks may run other runbooks, but not this one.
    #[error("{who} may not run `{runbook}`")]
    NotYours {
        /// The runbook.
        runbook: String,
        /// Who asks.
        who: String,
    },
    /// Whoever asks may plan, and this would change something.
    #[error("{who} may ask for plans only: the branch is not protected")]
    PlansOnly {
        /// Who asks.
        who: String,
    },
    /// Somebody asked the run to end while it waited for a lock.
    #[error("the run was asked to end while it waited for lock `{name}`")]
    CancelledWaiting {
        /// The lock.
        name: String,
    },
    /// A decision is about something else than an act in doubt.
    #[error("no act of run {run} at `{address}` is in doubt, so there is nothing to decide about it")]
    NotInDoubt {
        /// The run.
        run: i64,
        /// What the decision names.
        address: crate::model::address::Address,
    },
    /// A plan does not go on.
    #[error("run {run} is a plan, and a plan is not resumed")]
    IsPlan {
        /// The run.
        run: i64,
        /// Its runbook.
        runbook: String,
    },
    /// What a run pinned is gone.
    #[error("run {run} cannot go on: {reason}")]
    Unusable {
        /// The run.
        run: i64,
        /// Why.
        reason: String,
    },
    /// A file of the project cannot be edited so.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The machine gives no thread or no descriptor.
    #[error("the asynchronous runtime does not start: {0}")]
    Runtime(#[from] std::io::Error),
}

impl From<InventoryError> for ServiceError {
    fn from(error: InventoryError) -> Self {
        Self::Inventory(Box::new(error))
    }
}
