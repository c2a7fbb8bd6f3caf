//! `cisco validate`: what is wrong with a configuration by itself, and by the rules of a site.

use std::path::PathBuf;

use serde::Deserialize;

use super::read;
use crate::cisco::{self, Os, Rule, Severity};
use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::cli::table::{Cell, Table};
use crate::model::yaml;
use crate::runner::policy::Policy;

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
    functions: Vec<Policy>,
}

impl Rules {
    pub(super) fn read(context: &Context, paths: &[PathBuf]) -> Result<Self, Problem> {
        let mut rules = Self::default();
        for path in paths {
            let (text, name) = (read(context, path)?, path.display().to_string());
            if path.extension().is_some_and(|ending| ending == "rhai") {
                rules.functions.push(Policy::read(&name, &text).map_err(|found| {
                    Problem::usage(format!("{}:{}: {}", found.file, found.line, found.message), found.hint)
                })?);
                continue;
            }
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
    let mut findings = cisco::validate(os, text, &rules.data);
    findings.extend(rules.functions.iter().flat_map(|policy| policy.findings(os, text)));
    findings.sort_by_key(|finding| finding.line);
    // What is no configuration is said once.
    findings.dedup();
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
