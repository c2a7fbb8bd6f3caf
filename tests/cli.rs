//! The verbs of the command line that look, through the real binary, each in a project of its own.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Read as _};

use serde_json::Value;

use crate::support::project::{Output, Project, until};

/// Says hello with output, a kept file, a warning and a failed check, and ends with a failed read.
const GREET: &str = r#"//! Says hello.
const PARAMS = #{ name: "you" };
const NEEDS = ["ssh.exec:localhost", "ssh.read:localhost"];
step "Greet" {
    ssh_exec("localhost", ["sh", "-c", "echo hello $0; echo oops >&2", params.name]);
}
artifact("note.txt", "kept text\n");
warn("mind the gap");
check(1 == 2, "one is two");
ssh_read("localhost", "echo bad; exit 3");
"#;

/// Fans out to this machine under three names; one fails, one is skipped.
const FAN: &str = r#"//! Fans out.
const NEEDS = ["ssh.exec"];
each(hosts("web"), |h| {
    ssh_exec(h, "echo on");
    if h.name == "web-2" { skip_host("no need") }
    if h.name == "web-3" { ssh_exec(h, "exit 9") }
});
"#;

const HOSTS: &str = "hosts:
  web-1: { transport: local, groups: [web] }
  web-2: { transport: local, groups: [web] }
  web-3: { transport: local, groups: [web] }
  far: { user: op, jump: [bastion] }
  bastion: { address: 192.0.2.9, port: 2222 }
groups:
  web: { vars: { tier: front } }
";

/// Options of `runs`, and the runs that are listed.
type Case = (&'static [&'static str], &'static [i64]);

fn project() -> Project {
    Project::new().runbook("greet", GREET).runbook("fan", FAN).inventory(HOSTS)
}

/// A project with three runs: `greet` failed, `fan` partial, `fan` planned.
fn with_runs() -> Project {
    let project = project();
    project.args(["run", "greet", "--set", "name=ada"]).ends(1);
    project.args(["run", "fan"]).ends(4);
    project.args(["plan", "fan"]).success();
    project
}

fn numbers(output: &Output) -> Vec<i64> {
    output.json_lines().iter().map(|run| run["run"].as_i64().unwrap()).collect()
}

#[test]
fn runs_are_listed_newest_first_and_filtered() {
    let project = with_runs();
    let cases: &[Case] = &[
        (&[], &[3, 2, 1]),
        (&["--runbook", "fan"], &[3, 2]),
        (&["--runbook", "runbooks/greet.rhai"], &[1]),
        (&["--host", "web-3"], &[3, 2]),
        (&["--status", "failed", "--status", "partial"], &[2, 1]),
        (&["--limit", "1"], &[3]),
        (&["--since", "1h ago"], &[3, 2, 1]),
        (&["--until", "1h ago"], &[]),
        (&["--search", "oops"], &[1]),
        (&["--search", "on", "--status", "failed"], &[]),
    ];
    for (options, expected) in cases {
        let output = project.args([&["runs", "--json"], *options].concat()).success();
        assert_eq!(numbers(&output), *expected, "{options:?}");
    }
    let run = &project.args(["runs", "--json", "--runbook", "greet"]).json_lines()[0];
    assert_eq!(run["runbook"], "runbooks/greet.rhai");
    assert_eq!((&run["status"], &run["mode"]), (&"failed".into(), &"apply".into()));
    assert_eq!((&run["counts"]["failed"], &run["by"]["user"]), (&1.into(), &"tester".into()));
}

#[test]
fn the_table_of_runs_fits_into_eighty_columns_and_has_no_colours_in_a_pipe() {
    let project = with_runs();
    let text = project.args(["runs"]).success().stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("run") && lines[0].contains("status"), "{text}");
    assert!(lines[1].contains("fan") && lines[1].contains("plan"), "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let coloured = project.args(["runs", "--color", "always"]).success().stdout;
    assert!(coloured.contains('\u{1b}'), "{coloured}");
    let found = project.args(["runs", "--search", "oops"]).success().stdout;
    assert!(found.contains("run 1 greet failed") && found.contains("  1 oops"), "{found}");
}

#[test]
fn looking_makes_nothing_where_nothing_is() {
    let project = project();
    assert_eq!(project.args(["runs", "--json"]).success().stdout, "");
    for arguments in [["show", "last"], ["log", "1"], ["verify", "--all"], ["db", "check"]] {
        let output = project.args(arguments).ends(64);
        assert!(output.stderr.contains("there is no run log"), "{output:?}");
    }
    project.args(["doctor"]).success();
    assert!(!project.path(".nlrun").exists());
}

#[test]
fn show_tells_what_a_run_was_and_did() {
    let project = with_runs();
    let text = project.args(["show", "1"]).success().stdout;
    for part in [
        "run 1 · runbooks/greet.rhai · apply · failed",
        "name=\"ada\"",
        "by       tester",
        "ok          Greet",
        "one is two runbooks/greet.rhai:9",
        "kept note.txt",
        "1 check failed · 1 warning ·",
        "10 │ ssh_read(\"localhost\", \"echo bad; exit 3\");",
        "`nlrun log 1 --failed`",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let hosts = project.args(["show", "2"]).success().stdout;
    for part in ["failed         1  web-3", "skipped        1  web-2", "changed        1  web-1"] {
        assert!(hosts.contains(part), "`{part}` is not in\n{hosts}");
    }
    assert_eq!(project.args(["show", "last", "--json"]).success().json()["run"], 3);
}

#[test]
fn show_gives_the_parts_of_a_run_exactly() {
    let project = with_runs();
    let part = |arguments: &[&str]| project.args([&["show", "1"], arguments].concat()).success().stdout;
    assert_eq!(part(&["--output", "1"]), "hello ada\n");
    assert_eq!(part(&["--output", "1", "--stderr"]), "oops\n");
    assert_eq!(part(&["--artifact", "note.txt"]), "kept text\n");
    assert_eq!(part(&["--source"]), GREET);
    assert_eq!(serde_json::from_str::<Value>(&part(&["--params"])).unwrap()["name"], "ada");
    let run = project.args(["show", "1", "--json"]).json();
    assert_eq!(run["steps"][0]["name"], "Greet");
    assert_eq!(run["problems"][0]["text"], "one is two");
    assert_eq!(run["artifacts"][0], "note.txt");
    let effects = project.args(["show", "2", "--effects", "--json"]).json_lines();
    let failed: Vec<&Value> = effects.iter().filter(|effect| effect["verdict"] == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((&failed[0]["target"], &failed[0]["kind"]), (&"web-3".into(), &"act".into()));
    for (arguments, words) in [
        (["show", "1", "--artifact", "nothing"], "it kept note.txt"),
        (["show", "1", "--output", "77"], "--effects` lists their addresses"),
    ] {
        let output = project.args(arguments).ends(64);
        assert!(output.stderr.contains(words), "{output:?}");
    }
}

#[test]
fn the_log_has_the_lines_of_the_live_view() {
    let project = project();
    let live = project.args(["run", "greet", "--set", "name=ada"]).ends(1).stdout;
    let log = project.args(["log", "last"]).success().stdout;
    // What a read said is in the log only: a run that is watched shows what it says and what it changes.
    assert!(log.contains("localhost | bad\n") && !live.contains("localhost | bad\n"), "{log}");
    assert_eq!(log.replace("localhost | bad\n", ""), live);
    let events = project.args(["run", "greet", "--json"]).ends(1).stdout;
    assert_eq!(project.args(["log", "last", "--json"]).success().stdout, events);
}

#[test]
fn the_log_is_filtered_by_what_it_is_about() {
    let project = with_runs();
    let log = |arguments: &[&str]| project.args([&["log"], arguments].concat()).success().stdout;
    let failed = log(&["2", "--failed"]);
    assert!(failed.contains("failed      ssh.exec web-3 exit 9"), "{failed}");
    assert!(!failed.contains("web-1") && !failed.contains("echo on"), "{failed}");
    let output = log(&["1", "--failed"]);
    assert!(output.contains("localhost | bad") && output.contains("one is two"), "{output}");
    assert!(!output.contains("hello"), "{output}");
    let host = log(&["2", "--host", "web-1"]);
    assert!(host.contains("web-1 | on") && !host.contains("web-2"), "{host}");
    let address = log(&["2", "--address", "1[web-3]"]);
    assert!(address.contains("exit 9") && !address.contains("web-1"), "{address}");
    let reads = log(&["1", "--kind", "read"]);
    assert!(reads.contains("localhost | bad") && !reads.contains("hello"), "{reads}");
    assert_eq!(log(&["1", "--grep", "^localhost ! o+ps$"]), "localhost ! oops\n");
    assert_eq!(log(&["1", "--since", "2100-01-01"]), "");
    let stamped = log(&["1", "--timestamps", "--grep", "hello ada$"]);
    assert!(
        stamped.starts_with("20") && stamped.contains(':') && stamped.ends_with("hello ada\n"),
        "{stamped}"
    );
}

#[test]
fn the_log_follows_a_run_of_another_process_to_its_end() {
    // The time-out bounds the test: whatever goes wrong, both processes end.
    let project = Project::new().runbook(
        "wait",
        "const NEEDS = [\"ssh.read:localhost\"];\nconst PARAMS = #{ file: \"\" };\nconst LIMITS = #{ timeout: \"20s\" };\n\
         ssh_read(\"localhost\", \"echo begun\");\n\
         ssh_read(\"localhost\", \"until [ -e \" + params.file + \" ]; do sleep 0.05; done; echo over\");\n",
    );
    let file = project.path("go");
    let run = project.spawn(["run", "wait", "--set", &format!("file={}", file.display())]);
    until("the run is listed", || project.args(["runs", "--json"]).stdout.contains("\"running\""));
    let mut follower = project.spawn(["log", "last", "-f"]);
    let mut lines = BufReader::new(follower.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert_eq!(first, "localhost | begun\n");
    project.write("go", "");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("localhost | over"), "{rest}");
    let follower = Output::of(follower).success();
    assert!(follower.stderr.contains("run 1 done"), "{follower:?}");
    Output::of(run).success();
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let many = "for i in 0..20000 { print(`line ${i} of a run that says very much indeed`); }";
    let project = Project::new().runbook("many", &format!("const NEEDS = [];\n{many}"));
    project.args(["run", "many", "-q"]).success();
    let mut log = project.spawn(["log", "last"]);
    let mut first = String::new();
    BufReader::new(log.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "line 0 of a run that says very much indeed\n");
    let output = Output::of(log).success();
    assert!(!output.stderr.contains("panicked"), "{output:?}");
}

#[test]
fn check_finds_what_is_wrong_and_says_where() {
    let project = project();
    assert!(project.args(["check"]).success().stderr.contains("2 scripts: 0 errors, 0 warnings"));
    project.write("lib/odd.rhai", "fn f() { shh_read(\"web-1\", \"x\") }\n");
    let all = project.args(["check"]).ends(1);
    assert!(all.stderr.contains("lib/odd.rhai:1:10") && all.stderr.contains("`ssh_read`"), "{all:?}");
    project.args(["check", "runbooks"]).success();
    project.args(["check", "greet", "runbooks/fan.rhai"]).success();
    let found = project.args(["check", "lib", "--json"]).ends(1).json_lines();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0]["code"], &found[0]["line"]), (&"unknown-function".into(), &1.into()));
    project.args(["check", "stdlib"]).success();
    project.args(["check", "nowhere"]).ends(64);
}

#[test]
fn warnings_fail_the_check_only_when_asked() {
    let project =
        Project::new().runbook("late", "const NEEDS = [];\nfn f() { return 1; print(\"late\"); }\nf();\n");
    let found = project.args(["check", "--json"]).success().json_lines();
    assert_eq!(found[0]["severity"], "warning");
    project.args(["check", "--strict"]).ends(1);
    assert_eq!(project.args(["check", "-q"]).success().stderr, "");
}

#[test]
fn caps_proposes_needs_and_past_runs_narrow_them() {
    let text = "const PARAMS = #{ where: \"web-1\" };\nssh_read(params.where, [\"true\"]);\nssh_exec(\"far\", \"x\");\n";
    let project = Project::new().runbook("open", text).inventory(HOSTS);
    let proposed = "const NEEDS = [\n    \"ssh.exec:far\",\n    \"ssh.read\",\n];\n";
    assert_eq!(project.args(["caps", "open"]).success().stdout, proposed);
    for host in ["web-1", "web-2"] {
        let set = format!("where={host}");
        project
            .args(["plan", "open", "--set", &set, "--allow", "ssh.read:*", "--allow", "ssh.exec"])
            .success();
    }
    let needs = |arguments: [&str; 4]| project.args(arguments).success().json()["needs"].clone();
    let two = needs(["caps", "open", "--from-runs", "--json"]);
    assert_eq!(two, serde_json::json!(["ssh.exec:far", "ssh.read:web-1", "ssh.read:web-2"]));
    project
        .args(["plan", "open", "--set", "where=web-3", "--allow", "ssh.read:*", "--allow", "ssh.exec"])
        .success();
    let group = needs(["caps", "open", "--from-runs", "--json"]);
    assert_eq!(group, serde_json::json!(["ssh.exec:far", "ssh.read:@web"]));
}

#[test]
fn caps_proposes_what_stands_behind_links_beside_the_path_that_led_there() {
    let project = Project::new().file("other/told", "x").file("other/set", "x");
    std::os::unix::fs::symlink("other", project.path("app")).unwrap();
    let root = project.root().canonicalize().unwrap().display().to_string();
    let text = format!(
        "const PARAMS = #{{ host: \"localhost\", at: \"{root}/app/set\" }};
        file_put(\"localhost\", \"{root}/app/told\", \"new\");
        file_read(\"localhost\", \"{root}/app/told\");
        if file_stat(params.host, params.at).keys().contains(\"real\") {{ fail(\"not for scripts\") }}
        "
    );
    project.write("runbooks/linked.rhai", &text);
    project.args(["run", "linked", "--allow", "file.*"]).success();
    let needs = project.args(["caps", "linked", "--from-runs", "--json"]).success().json()["needs"].clone();
    let at = |verb: &str, path: &str| format!("file.{verb}:localhost:{root}/{path}");
    assert_eq!(
        needs,
        serde_json::json!([
            at("put", "app/told"),
            at("put", "other/told"),
            at("read", "app/told"),
            at("read", "other/told"),
            at("stat", "app/set"),
            at("stat", "other/set"),
        ])
    );
}

#[test]
fn hosts_shows_what_would_be_touched_with_the_ssh_configuration_in_it() {
    let project = project();
    let config = project.home().join(".ssh/config");
    project.write("../home/.ssh/config", "Host far\n  HostName 192.0.2.7\n  Port 2022\n  User nobody\n");
    assert!(config.exists());
    let hosts = project.args(["hosts", "web:far:!web-2", "--json"]).success().json_lines();
    let names: Vec<&Value> = hosts.iter().map(|host| &host["name"]).collect();
    assert_eq!(names, ["web-1", "web-3", "far"]);
    let far = &hosts[2];
    // The inventory's user wins; what it does not say comes from the configuration.
    assert_eq!(
        (&far["address"], &far["port"], &far["user"]),
        (&"192.0.2.7".into(), &2022.into(), &"op".into())
    );
    assert_eq!(far["jump"][0], "tester@192.0.2.9:2222");
    assert!(far.get("vars").is_none());
    let vars = project.args(["hosts", "web-1", "--vars", "--json"]).success().json();
    assert_eq!((&vars["vars"]["tier"], &vars["transport"]), (&"front".into(), &"local".into()));
    let groups = project.args(["hosts", "--groups", "--json"]).success().json_lines();
    assert!(
        groups.iter().any(|group| group["name"] == "web" && group["hosts"].as_array().unwrap().len() == 3)
    );
    let wrong = project.args(["hosts", "wbe"]).ends(64);
    assert!(wrong.stderr.contains("did you mean `web`?"), "{wrong:?}");
}

#[test]
fn pinging_hosts_goes_through_the_gate_and_is_recorded() {
    let project = Project::new().inventory(
        "hosts:\n  here: { transport: local }\n  gone: { address: 127.0.0.1, port: 1, user: op }\n",
    );
    let hosts = project.args(["hosts", "--ping", "--json"]).ends(4).json_lines();
    assert_eq!(hosts[0]["ping"]["ok"], true);
    assert_eq!((&hosts[1]["ping"]["ok"], &hosts[1]["ping"]["failure"]), (&false.into(), &"refused".into()));
    let run = &project.args(["runs", "--json"]).json_lines()[0];
    assert_eq!((&run["runbook"], &run["status"]), (&"nlrun:ping.rhai".into(), &"partial".into()));
}

#[test]
fn docs_has_a_page_for_every_function() {
    let project = Project::new();
    let functions = project.args(["docs", "--json"]).success().json_lines();
    let markdown = project.args(["docs", "--markdown"]).success().stdout;
    assert!(functions.len() > 15);
    for function in functions.iter().filter(|function| function.get("area").is_some()) {
        let name = function["name"].as_str().unwrap();
        let page = project.args(["docs", name]).success().stdout;
        let usage = function["usage"].as_str().unwrap();
        assert!(page.starts_with(usage) && page.contains("example"), "{page}");
        assert!(markdown.contains(usage), "{name}");
    }
    assert!(project.args(["docs", "ssh"]).success().stdout.contains("ssh_exec(host, command"));
    let wrong = project.args(["docs", "ssh_exce"]).ends(64);
    assert!(wrong.stderr.contains("did you mean `ssh_exec`?"), "{wrong:?}");
}

#[test]
fn verify_names_the_first_broken_link() {
    let project = with_runs();
    project.args(["verify", "1"]).success();
    let all = project.args(["verify", "--all", "--json"]).success().json_lines();
    assert!(all.len() == 3 && all.iter().all(|run| run["broken"].is_null()));
    let database = rusqlite::Connection::open(project.database()).unwrap();
    let changed = "UPDATE events SET body = body || ' ' WHERE id = (2 << 32) + 3";
    assert_eq!(database.execute(changed, []).unwrap(), 1);
    drop(database);
    let broken = project.args(["verify", "2"]).ends(1);
    assert!(broken.stdout.contains("broken run 2, event 3"), "{broken:?}");
    let all = project.args(["db", "check"]).ends(1);
    assert!(
        all.stdout.contains("run 2, event 3") && all.stderr.contains("3 runs verified, 1 broken"),
        "{all:?}"
    );
    project.args(["db", "check", "--quick"]).success();
}

#[test]
fn the_run_log_is_copied_and_pruned() {
    let project = with_runs();
    project.args(["db", "backup", "copy.db"]).success();
    let again = project.args(["db", "backup", "copy.db"]).ends(64);
    assert!(again.stderr.contains("`copy.db` exists already"), "{again:?}");
    let copied: i64 = rusqlite::Connection::open(project.path("copy.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM runs", [], |row| row.get(0))
        .unwrap();
    assert_eq!(copied, 3);
    project.args(["db", "prune"]).ends(64);
    let dry = project.args(["db", "prune", "--runs", "1", "--dry-run", "--json"]).success().json();
    assert_eq!((&dry["runs"], &dry["dry_run"]), (&serde_json::json!([1, 2]), &true.into()));
    assert_eq!(numbers(&project.args(["runs", "--json"])), [3, 2, 1]);
    project.write("nlrun.yaml", "retention:\n  runs: 1\n");
    let pruned = project.args(["db", "prune"]).success();
    assert!(pruned.stderr.contains("removed 2 runs (1 to 2)"), "{pruned:?}");
    assert_eq!(numbers(&project.args(["runs", "--json"])), [3]);
}

#[test]
fn doctor_says_what_is_in_the_way() {
    let project = with_runs();
    let found = |output: Output, check: &str, state: &str| {
        output.json_lines().into_iter().find(|finding| finding["check"] == check && finding["state"] == state)
    };
    assert!(found(project.args(["doctor", "--json"]).success(), "runbooks", "ok").is_some());
    // What a run leaves whose process was killed: a row that says `running`, and nobody who holds it.
    let database = rusqlite::Connection::open(project.database()).unwrap();
    let changed = "UPDATE runs SET status = 'running', summary = replace(summary, '\"status\":\"partial\"', \
                   '\"status\":\"running\"') WHERE id = 2";
    assert_eq!(database.execute(changed, []).unwrap(), 1);
    drop(database);
    let gone = found(project.args(["doctor", "--json"]).success(), "runs", "warn").unwrap();
    assert!(gone["text"].as_str().unwrap().contains("run 2"), "{gone}");
    assert_eq!(gone["hint"], "`nlrun resume 2` goes on");
    project.write("runbooks/bad.rhai", "nothing_like_it();\n");
    let bad = found(project.args(["doctor", "--json"]).ends(1), "runbooks", "fail").unwrap();
    assert!(bad["text"].as_str().unwrap().contains("runbooks/bad.rhai"), "{bad}");
    project.write("nlrun.yaml", "nonsense: 1\n");
    let config = project.args(["doctor"]).ends(1);
    assert!(config.stdout.contains("fail  nlrun.yaml") && config.stdout.contains("nonsense"), "{config:?}");
}

#[test]
fn secrets_are_kept_without_being_shown() {
    const VALUE: &str = "correct horse battery";
    let project = Project::new();
    let lines = project.args(["secrets", "init"]).success().stdout;
    project.write("nlrun.yaml", &lines);
    let mut said = String::new();
    let mut call = |arguments: &[&str], input: &str, code: i32| {
        let output = project.args_with_input(arguments, input.as_bytes()).ends(code);
        said += &output.stdout;
        said += &output.stderr;
        output
    };
    call(&["secrets", "set", "db/root"], &format!("{VALUE}\n"), 0);
    call(&["secrets", "set", "empty"], "\n", 64);
    let listed = call(&["secrets", "list", "--json"], "", 0).json();
    assert_eq!((&listed["name"], &listed["present"]), (&"db/root".into(), &true.into()));
    call(&["secrets", "test"], "", 0);
    assert!(call(&["secrets", "test", "db/rot"], "", 1).stdout.contains("db/root"));
    assert!(!project.read("secrets.json").contains(VALUE));
    assert!(!said.contains(VALUE), "{said}");
    project.args(["secrets", "remove", "db/root"]).success();
    project.args(["secrets", "remove", "db/root"]).ends(64);
    project.args(["secrets", "init"]).ends(64);
}

#[test]
fn secrets_are_edited_as_text_in_the_persons_editor() {
    let project = Project::new().variable("EDITOR", "sed -i s/old/new/");
    let lines = project.args(["secrets", "init"]).success().stdout;
    project.write("nlrun.yaml", &lines);
    project.args_with_input(["secrets", "set", "token"], b"old value").success();
    assert!(project.args(["secrets", "edit"]).success().stderr.contains("changed `token`"));
    assert!(project.args(["secrets", "edit"]).success().stderr.contains("nothing was changed"));
    let project = project.variable("EDITOR", "false");
    let output = project.args(["secrets", "edit"]).ends(64);
    assert!(output.stderr.contains("nothing was changed"), "{output:?}");
}

#[test]
fn problems_are_json_for_programs() {
    let project = with_runs();
    for arguments in [
        ["show", "99", "--json"],
        ["show", "first", "--json"],
        ["hosts", "wbe", "--json"],
        ["docs", "nothing-like-it", "--json"],
    ] {
        let output = project.args(arguments).ends(64);
        let error = &output.json()["error"];
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{output:?}");
        assert_eq!(error["exit_code"], 64);
    }
}

#[test]
fn every_verb_has_help_with_an_example() {
    let project = Project::new();
    for verb in [
        "runs",
        "show",
        "log",
        "check",
        "caps",
        "hosts",
        "docs",
        "verify",
        "doctor",
        "completions",
        "secrets",
        "db check",
        "db backup",
        "db prune",
    ] {
        let words: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
        let help = project.args(words).success().stdout;
        assert!(help.contains("Example") && help.contains(&format!("  nlrun {verb}")), "{help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(project.args(["completions", shell]).success().stdout.contains("nlrun"));
    }
}
