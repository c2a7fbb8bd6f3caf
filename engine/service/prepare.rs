//! Everything before a run: read the project, check the runbook, bind its parameters.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::bindings;
use crate::model::capability::Capability;
use crate::model::diagnostic::Diagnostic;
use crate::model::inventory::{Draft, Format, Inventory};
use crate::model::runbook::{Given, Header, bind};
use crate::runner::check::{self, Checked};
use crate::runner::language::STACK_SIZE;
use crate::runner::sources::{Disk, Pinned, Sources};
use crate::service::Own;
use crate::service::names::Known;
use crate::service::{Place, Project, ServiceError};
use crate::world::inventory;
use crate::world::k8s::K8s;
use crate::world::secrets::Secrets;
use crate::world::secrets::{self};

/// What somebody asks for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// A runbook by path or name.
    pub runbook: String,
    /// Parameters, by name.
    pub set: BTreeMap<String, Given>,
    /// The inventory, when not the project's.
    pub inventory: Option<PathBuf>,
    /// What the trigger may do; everything when empty.
    pub grants: Vec<String>,
    /// Capabilities granted ahead to a runbook without `NEEDS`.
    pub allow: Vec<String>,
}

/// A runbook that may run.
pub struct Prepared {
    /// Its path in the project.
    pub entry: String,
    /// Every script that it consists of.
    pub sources: Arc<Pinned>,
    /// Its header.
    pub header: Header,
    /// The bound parameters.
    pub params: Map<String, Value>,
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// What the trigger may do.
    pub grants: Vec<Capability>,
    /// What was granted ahead.
    pub allow: Vec<Capability>,
    /// Findings that do not keep it from running.
    pub warnings: Vec<Diagnostic>,
    /// What was odd in the inventory.
    pub notices: Vec<String>,
    /// Files beside the project, by the names that the runbook uses for them.
    pub given: BTreeMap<String, Vec<u8>>,
}

impl Project {
    /// Reads the inventory; without one there is only `localhost`.
    pub fn load_inventory(
        &self,
        given: Option<&std::path::Path>,
        cwd: &std::path::Path,
    ) -> Result<(Arc<Inventory>, Vec<String>), ServiceError> {
        match self.inventory(given, cwd) {
            Some(path) => {
                let loaded = inventory::load(&path)?;
                Ok((Arc::new(loaded.inventory), loaded.warnings))
            }
            None => {
                let (inventory, _) = Draft::new(Format::Own).finish().expect("an empty inventory is right");
                Ok((Arc::new(inventory), Vec::new()))
            }
        }
    }

    /// Returns the sources of secrets.
    pub fn secrets(&self, place: &Place) -> Secrets {
        Secrets::new(
            self.config().secrets.clone(),
            secrets::Place::new(self.root(), place.variables.iter().cloned()),
        )
    }

    /// Returns the Kubernetes clusters.
    pub fn clusters(&self, place: &Place) -> K8s {
        let place = secrets::Place::new(self.root(), place.variables.iter().cloned());
        K8s::new(self.config().clusters.clone(), place)
    }

    /// Returns the cluster that is meant where none is named: the only one, or the kubeconfig's current context.
    pub fn default_cluster(&self, place: &Place) -> Option<String> {
        self.clusters(place).default()
    }

    /// Checks scripts with everything they import, on a thread with a deep stack.
    pub fn check(&self, entries: &[String], inventory: &Inventory, known_secrets: &[String]) -> Vec<Checked> {
        let Ok(disk) = Disk::new(self.root()) else { return Vec::new() };
        check_all(&disk, entries, inventory, known_secrets)
    }
}

pub(super) fn check_all(
    sources: &dyn Sources,
    entries: &[String],
    inventory: &Inventory,
    secrets: &[String],
) -> Vec<Checked> {
    let vocabulary = bindings::signatures();
    // Secrets from the environment or a command cannot be listed, so an empty list says nothing.
    let secrets = (!secrets.is_empty()).then_some(secrets);
    let check = |entry: &String| check::check(sources, entry, &vocabulary, &Known(inventory), secrets);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_SIZE);
        let thread = thread.spawn_scoped(scope, || entries.iter().map(check).collect());
        thread.map(|thread| thread.join().unwrap_or_default()).unwrap_or_default()
    })
}

/// Reads and checks everything that a run needs.
pub fn prepare(project: &Project, place: &Place, wanted: &Wanted) -> Result<Prepared, ServiceError> {
    let entry = project.runbook(&wanted.runbook, &place.cwd)?;
    let disk =
        Disk::new(project.root()).map_err(|error| ServiceError::Check(vec![missing(&entry, &error)]))?;
    let pinned: BTreeMap<String, Arc<str>> = match check::collect(&disk, &entry) {
        Ok(texts) => texts.into_iter().collect(),
        Err(diagnostic) => return Err(ServiceError::Check(vec![*diagnostic])),
    };
    checked(project, place, wanted, entry, Pinned(pinned))
}

/// Prepares a runbook of nlrun's own; `given` are files beside the project, by the names that it uses.
pub fn prepare_own(
    project: &Project,
    place: &Place,
    own: Own,
    wanted: &Wanted,
    given: BTreeMap<String, Vec<u8>>,
) -> Result<Prepared, ServiceError> {
    let entry = own.path().to_owned();
    let pinned = Pinned(BTreeMap::from([(entry.clone(), Arc::from(own.text()))]));
    Ok(Prepared { given, ..checked(project, place, wanted, entry, pinned)? })
}

fn checked(
    project: &Project,
    place: &Place,
    wanted: &Wanted,
    entry: String,
    pinned: Pinned,
) -> Result<Prepared, ServiceError> {
    let (inventory, notices) = project.load_inventory(wanted.inventory.as_deref(), &place.cwd)?;
    let sources = Arc::new(pinned);
    let known_secrets = project.secrets(place).all_names().unwrap_or_default();
    let checked = check_all(sources.as_ref(), std::slice::from_ref(&entry), &inventory, &known_secrets).pop();
    let checked = checked.unwrap_or_default();
    let passes = checked.passes();
    let Checked { diagnostics, header, .. } = checked;
    let (Some(header), true) = (header, passes) else { return Err(ServiceError::Check(diagnostics)) };
    let params =
        bind(&header.params, &wanted.set, Some(&Known(&inventory))).map_err(ServiceError::Parameters)?;
    let grants = if wanted.grants.is_empty() { vec!["*".to_owned()] } else { wanted.grants.clone() };
    Ok(Prepared {
        entry,
        sources,
        header,
        params,
        inventory,
        grants: capabilities(&grants)?,
        allow: capabilities(&wanted.allow)?,
        warnings: diagnostics,
        notices,
        given: BTreeMap::new(),
    })
}

pub(super) fn capabilities(texts: &[String]) -> Result<Vec<Capability>, ServiceError> {
    texts.iter().map(|text| text.parse().map_err(ServiceError::from)).collect()
}

fn missing(entry: &str, error: &dyn std::error::Error) -> Diagnostic {
    let mut diagnostic = Diagnostic::error("unreadable", error.to_string());
    entry.clone_into(&mut diagnostic.file);
    diagnostic
}
