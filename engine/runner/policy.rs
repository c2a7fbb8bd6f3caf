//! Rules of a site as functions in a file of their own: each public function with one parameter is one, gets a configuration and answers with
//! what is wrong. They run without any effect, within limits, and fail closed: a rule that cannot be asked is a finding.

use std::sync::Arc;
use std::time::Duration;

use rhai::{AST, Dynamic, Engine, EvalAltResult, EvalContext, Module, Position, Scope};

use crate::bindings::{LineValue, line};
use crate::cisco::{Finding, Os, Severity, usable};
use crate::model::diagnostic::Diagnostic;
use crate::runner::guard::{Ended, Guard};
use crate::runner::language::{self, Steps};
use crate::runner::sources::{SourceError, Sources};
use crate::runner::{failure, resident, syntax};

/// How long the rules of a file may take for one configuration.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How many operations they may use: a hundred for each line of a large configuration.
const OPERATIONS: u64 = 10_000_000;
/// How large the process may become meanwhile.
const MEMORY: u64 = 1 << 30;
/// How deep functions may call each other.
const DEEPEST: usize = 32;

/// The rules of one file.
pub struct Policy {
    file: String,
    text: Arc<str>,
    ast: AST,
    rules: Vec<String>,
}

impl Policy {
    /// Reads a file of rules.
    pub fn read(file: &str, text: &str) -> Result<Self, Diagnostic> {
        let ast = language::compile(&language::parser(), file, text, &Scope::new())
            .map_err(|error| syntax::diagnose(&error, file, text))?;
        let is_rule = |function: &rhai::ScriptFnMetadata<'_>| {
            function.access == rhai::FnAccess::Public
                && function.params.len() == 1
                && !function.name.contains('$')
        };
        let rules: Vec<String> =
            ast.iter_functions().filter(is_rule).map(|function| function.name.to_owned()).collect();
        if rules.is_empty() {
            let found = Diagnostic::error("no-rule", "there is no rule in it".to_owned());
            let hint = "a rule is a function with one parameter: `fn no_http(config) { config.find(\"ip http server\") }`";
            return Err(found.maybe_hint(Some(hint.to_owned())).at(file, text, 0, 0, 0));
        }
        Ok(Self { file: file.to_owned(), text: text.into(), ast, rules: sorted(rules) })
    }

    /// Asks every rule about a configuration.
    pub fn findings(&self, os: Os, configuration: &str) -> Vec<Finding> {
        if let Err(finding) = usable(os, configuration) {
            return vec![finding];
        }
        let engine = engine();
        let whole = LineValue::whole(os, configuration);
        self.rules.iter().flat_map(|rule| self.ask(&engine, rule, &whole)).collect()
    }

    fn ask(&self, engine: &Engine, rule: &str, whole: &LineValue) -> Vec<Finding> {
        let name = rule.replace('_', " ");
        match engine.call_fn::<Dynamic>(&mut Scope::new(), &self.ast, rule, (whole.clone(),)) {
            Ok(answer) => line::findings(&name, &answer),
            Err(error) => {
                let message = format!("the rule failed: {}", self.why(&error));
                vec![Finding { rule: name, severity: Severity::Critical, line: 0, message }]
            }
        }
    }

    fn why(&self, error: &EvalAltResult) -> String {
        if let EvalAltResult::ErrorTerminated(why, _) = error
            && let Some(ended) = why.read_lock::<Ended>()
        {
            return ended.to_string();
        }
        let found = failure::explain(error, &self.file, self, &[]);
        format!("{}:{}: {}", found.file, found.line, found.message)
    }
}

impl Sources for Policy {
    fn text(&self, _path: &str) -> Result<Arc<str>, SourceError> {
        Ok(self.text.clone())
    }
}

/// The order of a file is lost on the way; by name it is always the same.
fn sorted(mut rules: Vec<String>) -> Vec<String> {
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// An engine that has the language and lines of configurations, and nothing else.
fn engine() -> Engine {
    let guard = Guard::new(Some(TIMEOUT), OPERATIONS, MEMORY, Box::new(resident::bytes));
    let mut engine = language::engine(guard, Arc::new(Unheard));
    let mut module = Module::new();
    line::register(&mut module);
    module.build_index();
    engine.register_global_module(module.into());
    engine.set_max_call_levels(DEEPEST);
    // What a rule prints is for nobody.
    engine.on_print(|_| {}).on_debug(|_, _, _| {});
    engine
}

/// Steps of a rule, which is no run.
struct Unheard;

impl Steps for Unheard {
    fn begin(&self, _: &mut EvalContext, _: &str, _: Position) -> Result<(), Box<EvalAltResult>> {
        Ok(())
    }

    fn end(
        &self,
        _: &mut EvalContext,
        _: &str,
        _: Position,
        _: &Result<Dynamic, Box<EvalAltResult>>,
    ) -> Result<(), Box<EvalAltResult>> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREWALL: &str = "hostname fw01\ninterface Tunnel1\n nameif vti-a\ninterface Tunnel2\n nameif vti-b\nobject-group network INNER\n network-object object LAN\nobject-group network ALL\n group-object INNER\nusername ann password hunter2 pbkdf2\naccess-group V in interface vti-a\n";

    fn told(rules: &str) -> Vec<(String, Severity, usize, String)> {
        let policy = Policy::read("site.rhai", rules).unwrap();
        let findings = policy.findings(Os::Asa, FIREWALL).into_iter();
        findings.map(|one| (one.rule, one.severity, one.line, one.message)).collect()
    }

    #[test]
    fn a_rule_looks_at_lines_and_says_what_is_wrong() {
        let rules = r#"
            const SITE = "fw";
            private fn name_of(port) { port.value("nameif") }
            fn every_vti_is_filtered(config) {
                let wrong = [];
                for port in config.find("interface Tunnel*") {
                    let name = name_of(port);
                    if name != () && name.starts_with("vti-") && !config.has(`access-group * in interface ${name}`) {
                        wrong.push(#{ line: port, message: `${port} has no access-group`, severity: "critical" });
                    }
                }
                wrong
            }
            fn users_are_elsewhere(config) { config.find("username *") }
            fn lan_is_known(config) { if !config.members("ALL").contains("LAN") { "LAN is in no group" } }
            fn it_has_a_name(config) { if !config.value("hostname").starts_with(global::SITE) { "no name" } }
            fn lines_know_their_place(config) {
                let name = config.lines[1].lines[0];
                if name.above.text != "interface Tunnel1" || name.words != ["nameif", "vti-a"] || name.number != 3 { "no" }
            }
            fn helper(config, more) { "never asked" }
        "#;
        let user = "`username ann password ***** pbkdf2`".to_owned();
        assert_eq!(
            told(rules),
            [
                (
                    "every vti is filtered".to_owned(),
                    Severity::Critical,
                    4,
                    "interface Tunnel2 has no access-group".to_owned()
                ),
                ("users are elsewhere".to_owned(), Severity::Error, 10, user),
            ]
        );
    }

    #[test]
    fn what_a_rule_cannot_say_is_a_finding() {
        for (body, why) in [
            ("config.nothing()", "site.rhai:1: "),
            ("config.find(3)", "the rule failed"),
            ("unknown", "there is no variable `unknown`"),
            ("throw `no luck`", "no luck"),
            ("true", "it answers with a value of type bool"),
            ("42", "it answers with a value of type i64"),
            ("#{ message: `x`, sevrity: `error` }", "a finding has no `sevrity`"),
            ("#{ message: `x`, severity: `bad` }", "`warning`, `error` or `critical`"),
            ("#{ line: 3 }", "needs a text as its `message`"),
            ("#{ message: `x`, line: `three` }", "a line or its number"),
            ("[`fine`, 3.5]", "a value of type f64"),
            ("while true { }", "operations"),
            ("import `other` as o; ()", "cannot import `other`"),
            ("ssh(`host`, `reboot`)", "ssh"),
            ("a_rule(config)", "the rule failed"),
        ] {
            let found = told(&format!("fn a_rule(config) {{ {body} }}"));
            let worst = found.iter().find(|(_, severity, ..)| *severity == Severity::Critical);
            assert!(worst.is_some_and(|(.., message)| message.contains(why)), "{body}: {found:?}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_not_shown_to_rules() {
        let policy = Policy::read("site.rhai", "fn a(config) { }").unwrap();
        assert_eq!(policy.findings(Os::Asa, FIREWALL), []);
        let findings = policy.findings(Os::Asa, "");
        assert_eq!((findings.len(), findings[0].severity), (1, Severity::Critical));
    }

    #[test]
    fn a_file_without_a_rule_is_none() {
        for (text, why) in [
            ("private fn a(config) { }", "there is no rule in it"),
            ("fn a() { }", "there is no rule in it"),
            ("", "there is no rule in it"),
        ] {
            let found = Policy::read("site.rhai", text).err().unwrap();
            assert!(found.message.contains(why) && found.file == "site.rhai", "{found:?}");
        }
        let found = Policy::read("site.rhai", "fn a(config) {\n  let = 3;\n}").err().unwrap();
        assert_eq!((found.file.as_str(), found.line), ("site.rhai", 2), "{found:?}");
    }
}
