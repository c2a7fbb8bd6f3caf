//! `cisco validate`: what is wrong with a configuration by itself.

use std::path::PathBuf;

use serde::Deserialize;

use super::read;
use crate::cisco::{self, Os, Rule, Severity};
use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::cli::table::{Cell, Table};
use crate::model::yaml;

/// A file of rules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rules: Vec<Rule>,
}

/// The rules of a site.
#[derive(Default)]
pub(super) struct Rules {
    data: Vec<Rule>,
}

impl Rules {
    pub(super) fn read(context: &Context, paths: &[PathBuf]) -> Result<Self, Problem> {
        let mut rules = Self::default();
        for path in paths {
            let (text, name) = (read(context, path)?, path.display().to_string());
            let file: File = yaml::from_str(&text, &name).map_err(|error| {
                Problem::usage(
                    format!("{}:{}: {}", error.file, error.line, error.message),
                    error.hint.clone(),
                )
            })?;
            rules.data.extend(file.rules);
        }
        Ok(rules)
    }
}

pub(super) fn validate(context: &Context, os: Os, text: &str, rules: &Rules) -> u8 {
    let out = &context.out;
    let findings = cisco::validate(os, text, &rules.data);
    if out.json {
        for finding in &findings {
            out.json(finding);
        }
    } else if !findings.is_empty() {
        let mut table = Table::new(out, &["line", "severity", "rule", "finding"], &[]);
        for finding in &findings {
            let severity = match finding.severity {
                Severity::Critical => Cell::bad("critical"),
                Severity::Error => Cell::bad("error"),
                Severity::Warning => Cell::odd("warning"),
            };
            let line = if finding.line == 0 { String::new() } else { finding.line.to_string() };
            table.row([Cell::new(&line), severity, Cell::new(&finding.rule), Cell::new(&finding.message)]);
        }
        out.raw(table.text().as_bytes());
    }
    let errors = findings.iter().filter(|finding| finding.severity > Severity::Warning).count();
    if errors == 0 {
        out.word("nothing in it is wrong");
    }
    u8::from(errors > 0)
}
