//! The templates in `ci/`: they are what GitLab takes, and every call of nlrun in them is one that nlrun takes.

#![expect(clippy::disallowed_methods, reason = "a job is a shell that starts nlrun")]

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::project::Project;

fn template() -> BTreeMap<String, Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/nlrun.gitlab-ci.yml");
    nlrun::model::yaml::from_str(&std::fs::read_to_string(path).unwrap(), "ci/nlrun.gitlab-ci.yml").unwrap()
}

/// Returns a job with everything that it extends.
fn whole(jobs: &BTreeMap<String, Value>, name: &str) -> Value {
    let own = jobs.get(name).unwrap_or_else(|| panic!("there is no job `{name}`"));
    let mut job = match own["extends"].as_str() {
        Some(base) => whole(jobs, base),
        None => Value::Object(serde_json::Map::new()),
    };
    merge(&mut job, own);
    job
}

/// Maps are merged and everything else is replaced, as GitLab does with `extends`.
fn merge(base: &mut Value, own: &Value) {
    match (base, own) {
        (Value::Object(base), Value::Object(own)) => {
            for (key, value) in own {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, own) => *base = own.clone(),
    }
}

#[test]
fn the_jobs_are_hidden_and_have_keys_that_gitlab_knows() {
    const KEYS: [&str; 12] = [
        "extends",
        "image",
        "interruptible",
        "variables",
        "artifacts",
        "script",
        "rules",
        "allow_failure",
        "resource_group",
        "id_tokens",
        "needs",
        "stage",
    ];
    let jobs = template();
    assert!(jobs.len() >= 8);
    for (name, job) in &jobs {
        assert!(name.starts_with('.'), "`{name}` would run wherever the file is included");
        for key in job.as_object().unwrap().keys() {
            assert!(KEYS.contains(&key.as_str()), "{name}: {key}");
        }
    }
    for kind in ["plan", "apply", "drift"] {
        for name in [format!(".nlrun:{kind}"), format!(".nlrun:server:{kind}")] {
            let job = whole(&jobs, &name);
            assert_eq!(job["artifacts"]["when"], "always", "{name}");
            assert_eq!(job["artifacts"]["reports"]["junit"], "nlrun-junit.xml", "{name}");
            assert_eq!(job["artifacts"]["reports"]["dotenv"], "nlrun.env", "{name}");
            let script = job["script"].to_string();
            assert!(script.contains("--junit nlrun-junit.xml --dotenv nlrun.env"), "{name}: {script}");
            assert!(!job["rules"].as_array().unwrap().is_empty(), "{name}");
            let drifts = job["allow_failure"]["exit_codes"] == serde_json::json!([2]);
            assert_eq!(drifts, kind == "drift", "{name}");
        }
    }
}

#[test]
fn what_runs_in_the_job_does_what_the_template_says() {
    let jobs = template();
    let project = Project::new()
        .variable("GITLAB_CI", "true")
        .variable("CI", "true")
        .variable("CI_JOB_ID", "77")
        .runbook(
            "web",
            r#"//! Changes a file.
const PARAMS = #{ path: #{ type: "string" } };
const NEEDS = ["file.put:localhost"];
step "Write" { step "Inside" { file_put("localhost", params.path, "x\n"); } }
#{ version: "1.2", note: "two\nlines" }
"#,
        );
    let path = project.path("written").display().to_string();
    let project =
        project.variable("NLRUN_RUNBOOK", "web").variable("NLRUN_ARGS", &format!("--set path={path}"));
    let program =
        std::path::Path::new(crate::support::project::NLRUN).parent().unwrap().display().to_string();
    let run = |name: &str| {
        let job = whole(&jobs, name);
        let mut code = 0;
        let mut text = String::new();
        for line in job["script"].as_array().unwrap() {
            let mut command = std::process::Command::new("sh");
            let nlrun = project.command(["-h"]);
            command.env_clear().envs(nlrun.get_envs().filter_map(|(key, value)| Some((key, value?))));
            command.env("PATH", format!("{program}:/usr/bin:/bin"));
            let output =
                command.args(["-c", line.as_str().unwrap()]).current_dir(project.root()).output().unwrap();
            text.push_str(&String::from_utf8_lossy(&output.stdout));
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            code = output.status.code().unwrap();
            if code != 0 {
                break;
            }
        }
        (code, text)
    };
    let (code, text) = run(".nlrun:plan");
    assert_eq!(code, 0, "{text}");
    assert!(
        project.read("nlrun.env").contains("NLRUN_STATUS=done\n")
            && project.read("nlrun.env").contains("NLRUN_CHANGES=1\n")
    );
    assert!(
        project.read("nlrun-junit.xml").starts_with("<?xml")
            && project.read("nlrun.plan.json").contains("file.put")
    );
    let (code, text) = run(".nlrun:drift");
    assert_eq!(code, 2, "{text}");
    let (code, text) = run(".nlrun:apply");
    assert_eq!((code, project.read("written").as_str()), (0, "x\n"), "{text}");
    let env = project.read("nlrun.env");
    assert!(env.contains("NLRUN_RESULT_VERSION=1.2\n") && !env.contains("NLRUN_RESULT_NOTE"), "{env}");
    assert!(text.contains("`NLRUN_RESULT_NOTE` is left out: it has more than one line"), "{text}");
    // Each section that begins ends, the inner one first, with the same name.
    let marks: Vec<&str> =
        text.split("\u{1b}[0Ksection_").skip(1).map(|part| part.split('\r').next().unwrap()).collect();
    let names: Vec<(&str, &str)> = marks
        .iter()
        .map(|mark| {
            let parts: Vec<&str> = mark.split(':').collect();
            assert!(parts[1].parse::<u64>().unwrap() > 1_700_000_000, "{mark}");
            (parts[0], parts[2])
        })
        .collect();
    assert_eq!(names, [("start", "nlrun_1"), ("start", "nlrun_2"), ("end", "nlrun_2"), ("end", "nlrun_1")]);
    let (code, text) = run(".nlrun:drift");
    assert_eq!(code, 0, "{text}");
}
