//! The project's triggers, read and compared with its runbooks.

use std::collections::BTreeMap;

use crate::model::diagnostic::Diagnostic;
use crate::model::hook::{self, Definition};
use crate::service::{Project, ServiceError};

/// The folder of triggers.
const TRIGGERS: &str = "triggers";

impl Project {
    /// Reads `triggers/`; everything that is wrong in it comes back at once.
    pub fn triggers(&self) -> Result<Vec<Definition>, ServiceError> {
        let (mut found, mut errors): (Vec<Definition>, Vec<Diagnostic>) = (Vec::new(), Vec::new());
        for (file, text) in self.files(TRIGGERS, &["yaml", "yml"])? {
            let stem =
                file.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(stem, _)| stem);
            match hook::read(&text, &file, stem) {
                Ok(read) => found.extend(read),
                Err(more) => errors.extend(more),
            }
        }
        let mut seen: BTreeMap<&str, &Definition> = BTreeMap::new();
        for definition in &found {
            let Definition { trigger, file, line } = definition;
            let finding = |message: String| Diagnostic {
                file: file.clone(),
                line: *line,
                column: 1,
                ..Diagnostic::error("trigger", message)
            };
            if let Some(first) = seen.insert(&trigger.id, definition) {
                let error = finding(format!("there are two triggers `{}`", trigger.id));
                errors.push(error.hint(format!("the other one is in {}:{}", first.file, first.line)));
            }
            // Those for merge requests may name what only the branch has.
            if trigger.mode == crate::model::run::Mode::Apply
                && let Err(error) = self.runbook(&trigger.runbook, self.root())
            {
                errors.push(finding(format!("trigger `{}`: {error}", trigger.id)));
            }
        }
        if errors.is_empty() { Ok(found) } else { Err(ServiceError::Check(errors)) }
    }
}
