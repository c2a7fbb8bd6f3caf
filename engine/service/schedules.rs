//! The project's schedules and calendars: read, and compared with its runbooks.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::diagnostic::Diagnostic;
use crate::model::nearest::did_you_mean;
use crate::model::run::{Mode, Status};
use crate::model::runbook::{Given, bind};
use crate::model::schedule::{self, Calendar, Calendars, Definition, Recorded};
use crate::service::names::Known;
use crate::service::{Place, Project, ProjectError, ServiceError};
use crate::store::{Filter, Store};

/// The folder of schedules.
const SCHEDULES: &str = "schedules";
/// The folder of calendars.
const CALENDARS: &str = "calendars";
/// The largest file of either that is read, in bytes.
const LARGEST: u64 = 16 << 20;
/// How many runs tell how long the next will take.
const RUNS: usize = 20;

/// The schedules and calendars of a project.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schedules {
    /// The schedules, by file and place in it.
    pub definitions: Vec<Definition>,
    /// The calendars, by name.
    pub calendars: Calendars,
    places: HashMap<String, usize>,
}

impl Schedules {
    fn new(definitions: Vec<Definition>, calendars: Calendars) -> Self {
        let places = definitions.iter().enumerate();
        let places = places.map(|(place, definition)| (definition.schedule.id.clone(), place)).collect();
        Self { definitions, calendars, places }
    }

    /// Returns the schedule of this name, however many there are.
    pub fn find(&self, id: &str) -> Option<&Definition> {
        self.definitions.get(*self.places.get(id)?)
    }
}

/// What the runbooks of schedules say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Looked {
    /// What is wrong with runbooks and parameters of schedules.
    pub findings: Vec<Diagnostic>,
    /// The locks that the runbook takes, by schedule.
    pub locks: BTreeMap<String, Vec<String>>,
}

impl Project {
    /// Reads `schedules/` and `calendars/`; everything that is wrong in them comes back at once.
    pub fn schedules(&self) -> Result<Schedules, ServiceError> {
        let mut errors = Vec::new();
        let calendars = self.calendars(&mut errors)?;
        let mut definitions: Vec<Definition> = Vec::new();
        for (file, text) in self.files(SCHEDULES, &["yaml", "yml"])? {
            match schedule::read(&text, &file, stem(&file)) {
                Ok(read) => definitions.extend(read),
                Err(found) => errors.extend(found),
            }
        }
        let mut seen: BTreeMap<&str, &Definition> = BTreeMap::new();
        for definition in &definitions {
            let (id, origin) = (definition.schedule.id.as_str(), &definition.origin);
            if let Some(first) = seen.insert(id, definition) {
                let place = format!("{}:{}", first.origin.file, first.origin.line());
                let error = Diagnostic::error("schedule", format!("there are two schedules `{id}`"));
                errors.push(origin.place(error, "").hint(format!("the other one is in {place}")));
            }
            for (key, names) in
                [("not_in", &definition.schedule.not_in), ("only_in", &definition.schedule.only_in)]
            {
                for name in names.iter().filter(|name| !calendars.contains_key(*name)) {
                    let error = Diagnostic::error("calendar", format!("there is no calendar `{name}`"));
                    let hint = did_you_mean(name, calendars.keys().map(String::as_str));
                    let hint = hint.unwrap_or_else(|| {
                        format!("calendars are `{CALENDARS}/NAME.yaml` or `{CALENDARS}/NAME.ics`")
                    });
                    errors.push(origin.place(error, key).hint(hint));
                }
            }
        }
        if errors.is_empty() {
            Ok(Schedules::new(definitions, calendars))
        } else {
            Err(ServiceError::Check(errors))
        }
    }

    fn calendars(&self, errors: &mut Vec<Diagnostic>) -> Result<Calendars, ServiceError> {
        let mut ics: BTreeMap<String, String> = self.files(CALENDARS, &["ics"])?.into_iter().collect();
        let mut found = Calendars::new();
        for (file, text) in self.files(CALENDARS, &["yaml", "yml"])? {
            let rules = match schedule::calendar::read(&text, &file) {
                Ok(rules) => rules,
                Err(more) => {
                    errors.extend(more);
                    continue;
                }
            };
            let Some(name) = rules.ics.clone() else {
                found.insert(stem(&file).to_owned(), rules.calendar);
                continue;
            };
            let path = format!("{CALENDARS}/{name}");
            let Some(text) = ics.remove(&path) else {
                let error = Diagnostic::error("calendar", format!("there is no file `{path}`"));
                errors.push(
                    error.at(&file, &text, 1, 1, 1).hint(format!("`ics` names a file in `{CALENDARS}/`")),
                );
                continue;
            };
            match Calendar::from_ics(&text, &path, Some(&rules.zone)) {
                Ok(calendar) => {
                    found.insert(stem(&file).to_owned(), rules.with(calendar));
                }
                Err(error) => errors.push(error),
            }
        }
        for (file, text) in ics {
            let name = stem(&file).to_owned();
            if found.contains_key(&name) {
                let error = Diagnostic::error("calendar", format!("there are two calendars `{name}`"));
                errors.push(
                    error
                        .at(&file, &text, 1, 1, 1)
                        .hint("name the file in the calendar in YAML with `ics`, or rename it"),
                );
                continue;
            }
            match Calendar::from_ics(&text, &file, None) {
                Ok(calendar) => {
                    found.insert(name, calendar);
                }
                Err(error) => errors.push(error),
            }
        }
        Ok(found)
    }

    /// Reads the files of a folder of the project with these endings, by name; without the folder there are none.
    pub(super) fn files(
        &self,
        folder: &str,
        endings: &[&str],
    ) -> Result<Vec<(String, String)>, ServiceError> {
        let read = |path: &Path| {
            let path = path.to_owned();
            move |source| ServiceError::from(ProjectError::Read { path, source })
        };
        let folder = self.root().join(folder);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(read(&folder))? {
            let path = entry.map_err(read(&folder))?.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            if ending.is_some_and(|ending| endings.contains(&ending)) && path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        let mut files = Vec::new();
        for path in paths {
            let size = path.metadata().map_err(read(&path))?.len();
            if size > LARGEST {
                let source = std::io::Error::other(format!("it has {size} bytes, and {LARGEST} are read"));
                return Err(read(&path)(source));
            }
            let text = std::fs::read_to_string(&path).map_err(read(&path))?;
            files.push((path.strip_prefix(self.root()).unwrap_or(&path).display().to_string(), text));
        }
        Ok(files)
    }

    /// Looks whether the runbooks of schedules are there, pass the check and take the parameters.
    pub fn look_at_schedules(&self, place: &Place, schedules: &Schedules) -> Result<Looked, ServiceError> {
        let mut looked = Looked::default();
        // Schedules with one inventory and one runbook share the work.
        let mut groups: BTreeMap<(Option<&str>, String), Vec<&Definition>> = BTreeMap::new();
        for definition in &schedules.definitions {
            let schedule = &definition.schedule;
            match self.runbook(&schedule.runbook, self.root()) {
                Ok(entry) => {
                    groups.entry((schedule.inventory.as_deref(), entry)).or_default().push(definition);
                }
                Err(error) => {
                    let hint = match &error {
                        ProjectError::NoRunbook { near: Some(near), .. } => {
                            Some(format!("did you mean `{near}`?"))
                        }
                        _ => None,
                    };
                    let error = Diagnostic::error("runbook", format!("schedule `{}`: {error}", schedule.id));
                    looked.findings.push(definition.origin.place(error.maybe_hint(hint), "runbook"));
                }
            }
        }
        let secrets = self.secrets(place).all_names().unwrap_or_default();
        for ((inventory, entry), definitions) in groups {
            let (inventory, _) = self.load_inventory(inventory.map(Path::new), self.root())?;
            let checked =
                self.check(std::slice::from_ref(&entry), &inventory, &secrets).pop().unwrap_or_default();
            let passes = checked.passes();
            for definition in definitions {
                let (schedule, origin) = (&definition.schedule, &definition.origin);
                let (Some(header), true) = (&checked.header, passes) else {
                    let error = Diagnostic::error(
                        "runbook",
                        format!("schedule `{}`: `{entry}` does not pass the check", schedule.id),
                    );
                    looked
                        .findings
                        .push(origin.place(error.hint(format!("`nlrun check {entry}` says why")), "runbook"));
                    continue;
                };
                looked.locks.insert(schedule.id.clone(), header.limits.locks.clone());
                let given =
                    schedule.params.iter().map(|(name, value)| (name.clone(), Given::Value(value.clone())));
                if let Err(errors) = bind(&header.params, &given.collect(), Some(&Known(&inventory))) {
                    for error in errors {
                        let error =
                            Diagnostic::error("parameter", format!("schedule `{}`: {error}", schedule.id));
                        looked.findings.push(origin.place(error, "params"));
                    }
                }
            }
        }
        Ok(looked)
    }

    /// Returns how long the last runs of each schedule's runbook took, by schedule, where the log knows some.
    pub fn recorded(
        &self,
        store: &Store,
        schedules: &Schedules,
    ) -> Result<BTreeMap<String, Recorded>, ServiceError> {
        let reader = store.reader()?;
        let mut known: BTreeMap<(String, bool), Option<Recorded>> = BTreeMap::new();
        let mut found = BTreeMap::new();
        for Definition { schedule, .. } in &schedules.definitions {
            let Ok(entry) = self.runbook(&schedule.runbook, self.root()) else { continue };
            let key = (entry.clone(), schedule.mode == Mode::Plan);
            let recorded = match known.get(&key) {
                Some(recorded) => *recorded,
                None => {
                    let filter = Filter {
                        runbook: Some(entry),
                        status: vec![Status::Done, Status::Partial, Status::Failed],
                        limit: RUNS,
                        ..Filter::default()
                    };
                    let runs = reader.runs(&filter)?;
                    let same = runs.iter().filter(|run| run.summary.mode == schedule.mode);
                    let lengths = same.filter_map(|run| u64::try_from(run.ended_at? - run.started_at).ok());
                    let recorded = typical(lengths.map(Duration::from_micros).collect());
                    known.insert(key, recorded);
                    recorded
                }
            };
            found.extend(recorded.map(|recorded| (schedule.id.clone(), recorded)));
        }
        Ok(found)
    }
}

/// Returns the median and the longest of some lengths.
fn typical(mut lengths: Vec<Duration>) -> Option<Recorded> {
    lengths.sort_unstable();
    let (typical, longest) = (*lengths.get(lengths.len() / 2)?, *lengths.last()?);
    Some(Recorded { typical, longest })
}

/// Returns the name of a file without folder and ending.
fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}
