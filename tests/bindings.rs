//! Properties of every binding: names, documentation, and examples that pass the check and can be planned.

use nlrun::bindings;
use nlrun::model::effect::Kind;

use crate::support::certificates::Forge;
use crate::support::project::Project;

/// Words of the language of runs; everything else is `area_verb`.
const CONTROL: [&str; 22] = [
    "each",
    "retry",
    "defer",
    "check",
    "warn",
    "fail",
    "lock",
    "approve",
    "report",
    "artifact",
    "now",
    "random",
    "run",
    "sleep",
    "param",
    "secret",
    "hosts",
    "host",
    "group",
    "skip_host",
    "ping",
    "wait_until",
];

#[test]
fn names_are_area_and_verb_and_everything_is_documented() {
    let mut seen = std::collections::BTreeSet::new();
    for signature in bindings::signatures() {
        let name = signature.name;
        assert!(seen.insert(name), "`{name}` is there twice");
        assert!(CONTROL.contains(&name) || name.contains('_'), "`{name}` is no `area_verb`");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "`{name}`");
        let first = signature.doc.lines().next().unwrap_or_default();
        assert!(first.len() > 10 && first.contains(['.', ';', ':']), "`{name}`: {first}");
        assert!(!signature.returns.is_empty() && !signature.example.is_empty(), "`{name}`");
        for option in signature.options {
            assert!(option.doc.ends_with('.'), "option `{}` of `{name}`: {}", option.name, option.doc);
        }
        for required in signature.required_options {
            assert!(signature.options.iter().any(|option| option.name == *required), "`{name}`: {required}");
        }
        if let Some(performs) = signature.performs {
            assert!(performs.effect.contains('.'), "`{name}` performs `{}`", performs.effect);
        }
    }
    assert!(seen.len() > 30, "{seen:?}");
}

#[test]
fn every_example_passes_the_check_and_can_be_planned() {
    let forge = Forge::chain();
    let (site, key) = (forge.join(&["leaf.pem", "middle.pem"]), forge.read("leaf.key"));
    for signature in bindings::signatures() {
        let (name, example) = (signature.name, signature.example);
        let project = Project::new()
            .variable("NLRUN_SECRET_DB_ROOT", "correct horse battery")
            .variable("NLRUN_SECRET_SITE_KEY", &key)
            .file("files/notes.txt", "notes\n")
            .file("files/site.pem", &site)
            .runbook("example", &format!("//! An example.\nconst NEEDS = [\"*\"];\n{example}\n"));
        let output = project.args(["plan", "example"]);
        let planned = output.code == 0 || (output.code == 1 && signature.name == "fail");
        assert!(planned, "the example of `{name}` ends with {}:\n{example}\n{}", output.code, output.stderr);
        // A plan does nothing: what it would have made is not there.
        let acts = signature.performs.is_some_and(|performs| performs.kind != Kind::Read);
        assert!(!acts || !output.stdout.contains("changed     "), "`{name}`: {}", output.stdout);
    }
}
