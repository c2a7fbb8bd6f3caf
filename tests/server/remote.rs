//! The command line at a server: the same verbs, words and exit codes as here, through whatever happens to the connection.

use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::project::{Output, Project, until};
use crate::support::server::{Server, token};
use crate::support::sshd::free_port;
use crate::support::web::{Nginx, Web};

fn project() -> Project {
    Project::new()
        .runbook(
            "hello",
            r#"
            //! Says hello.
            const PARAMS = #{ name: #{ type: "string", default: "you" }, fail: false };
            const NEEDS = ["ssh.exec:localhost", "file.put:localhost"];
            step "Greet" {
                print(`hello ${params.name}`);
                ssh_exec("localhost", "echo out; echo err >&2");
            }
            if params.fail { fail("as it was asked") }
            "#,
        )
        .runbook(
            "slow",
            r#"
            //! Waits, and cleans up.
            const NEEDS = ["ssh.exec:localhost"];
            defer(|| print("cleaned up by the script"));
            for i in 0..100 { print(`step ${i}`); sleep("200ms"); }
            "#,
        )
        .runbook(
            "some",
            r#"
            //! Takes a while.
            const NEEDS = [];
            for i in 0..25 { print(`step ${i}`); sleep("200ms"); }
            "#,
        )
        .runbook("ask", "//! Asks.\nconst NEEDS = [];\napprove(\"Go on?\");\nprint(\"went on\");\n")
        .runbook(
            "write",
            r#"
            //! Writes.
            const PARAMS = #{ path: #{ type: "string", required: true } };
            const NEEDS = ["file.put:localhost"];
            file_put("localhost", params.path, "text\n");
            artifact("report.txt", "kept");
            // No text, in pieces, under a name that an address does not hold as it is.
            artifact("50% größer?.bin", blob(900000, 254));
            "#,
        )
        .file("schedules/daily.yaml", "runbook: hello\ncron: 0 4 * * *\ntz: UTC\n")
}

/// A project with a server and a token, and the command line of somebody elsewhere.
struct Pair {
    // Another folder, so that nothing is read from the project by accident.
    elsewhere: Project,
    project: Project,
    server: Option<Server>,
    port: u16,
}

impl Pair {
    fn start() -> Self {
        let project = project();
        let operator = token(&project, "op", "operator");
        let port = free_port();
        let server = Server::start_at(&project, &format!("127.0.0.1:{port}"), &[]);
        let elsewhere =
            Project::new().variable("NLRUN_SERVER", &server.url).variable("NLRUN_TOKEN", &operator);
        Self { elsewhere, project, server: Some(server), port }
    }

    fn args(&self, words: &[&str]) -> Output {
        self.elsewhere.args(words)
    }

    fn spawn(&self, words: &[&str]) -> Child {
        let mut command = self.elsewhere.command(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn runs(&self) -> Vec<Value> {
        self.args(&["runs", "--json"]).success().json_lines()
    }

    fn is_running(&self) -> bool {
        self.runs().first().is_some_and(|run| run["status"] == "running")
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
}

/// Leaves out what two runs cannot have in common: numbers and times.
fn without_numbers(text: &str) -> String {
    let text = text.replace(|c: char| c.is_ascii_digit(), "");
    text.lines().map(|line| line.split(" · ").next().unwrap().to_owned() + "\n").collect()
}

#[test]
fn a_run_at_a_server_looks_and_ends_as_one_here() {
    let pair = Pair::start();
    for (words, code) in [
        (vec!["run", "hello", "--set", "name=me"], 0),
        (vec!["run", "hello", "--set", "fail=true"], 1),
        (vec!["plan", "hello", "--exit-code"], 2),
    ] {
        let there = pair.args(&words).ends(code);
        let here = pair.project.args(&words).ends(code);
        assert_eq!(there.stdout, here.stdout, "{words:?}");
        // The one at a server says first where it is.
        let rest = there.stderr.split_once('\n').unwrap().1;
        assert_eq!(without_numbers(rest), without_numbers(&here.stderr), "{words:?}");
    }
    let events = pair.args(&["run", "hello", "--json"]).success().json_lines();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((names[0], names[1], *names.last().unwrap()), ("queued", "started", "ended"), "{names:?}");
    let output = events.iter().find(|event| event["event"] == "output").unwrap();
    assert_eq!(output["text"], "out\n", "{output}");
    let wrong = pair.args(&["run", "helo"]).ends(64);
    assert!(wrong.stderr.contains("there is no runbook `helo`"), "{wrong:?}");
    let wrong = pair.args(&["run", "hello", "--set", "nme=x"]).ends(3);
    assert!(wrong.stderr.contains("no parameter `nme`"), "{wrong:?}");
    let here_only = pair.args(&["--server", "http://127.0.0.1:1", "check"]).ends(64);
    assert!(here_only.stderr.contains("is done here"), "{here_only:?}");
    let there_only = pair.project.args(["run", "hello", "--no-wait"]).ends(64);
    assert!(there_only.stderr.contains("`--no-wait` is for runs at a server"), "{there_only:?}");
}

#[test]
fn looking_back_is_the_same_there_and_here() {
    let pair = Pair::start();
    pair.args(&["run", "hello", "--set", "fail=true", "--quiet"]).ends(1);
    let path = pair.project.path("written").display().to_string();
    pair.args(&["run", "write", "--set", &format!("path={path}"), "--quiet"]).success();
    let address = {
        let effects = pair.args(&["show", "1", "--effects", "--json"]).success().json_lines();
        effects[0]["address"].as_str().unwrap().to_owned()
    };
    for words in [
        vec!["runs", "--json"],
        vec!["runs", "--status", "failed"],
        vec!["show", "1"],
        vec!["show", "1", "--json"],
        vec!["show", "1", "--effects"],
        vec!["show", "2", "--diff"],
        vec!["show", "1", "--output", &address],
        vec!["show", "1", "--output", &address, "--stderr"],
        vec!["show", "last", "--source"],
        vec!["show", "2", "--params"],
        vec!["show", "2", "--artifact", "report.txt"],
        vec!["show", "2"],
        vec!["log", "1"],
        vec!["log", "1", "--json"],
        vec!["log", "1", "--failed"],
        vec!["log", "last", "-f"],
        vec!["schedule", "status", "--json"],
    ] {
        let (there, here) = (pair.args(&words).success(), pair.project.args(&words).success());
        let plain = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
        assert_eq!(plain(&there.stdout), plain(&here.stdout), "{words:?}");
        assert_eq!(plain(&there.stderr), plain(&here.stderr), "{words:?}");
    }
    let hosts = pair.args(&["hosts", "--json"]).success().json_lines();
    assert_eq!(
        (&hosts[0]["name"], &hosts[0]["transport"]),
        (&json!("localhost"), &json!("local")),
        "{hosts:?}"
    );
    let bytes = |command: &mut std::process::Command| command.output().unwrap().stdout;
    let words = ["show", "2", "--artifact", "50% größer?.bin"];
    let (there, here) = (bytes(&mut pair.elsewhere.command(words)), bytes(&mut pair.project.command(words)));
    assert!(there == here && here == vec![254; 900_000], "{} bytes, and {} here", there.len(), here.len());
    for asked in [
        pair.args(&["show", "2", "--artifact", "other"]),
        pair.project.args(["show", "2", "--artifact", "other"]),
    ] {
        let asked = asked.ends(64);
        assert!(asked.stderr.contains("kept no `other`") && asked.stderr.contains("report.txt"), "{asked:?}");
    }
    let nothing = pair.args(&["show", "99"]).ends(64);
    assert!(nothing.stderr.contains("run 99"), "{nothing:?}");
}

#[test]
fn a_job_that_asks_again_gets_the_run_that_it_has() {
    let pair = Pair::start();
    let job = |number: &str, name: &str| {
        let mut command =
            pair.elsewhere.command(["run", "hello", "--set", &format!("name={name}"), "--no-wait"]);
        let output = command
            .env("CI", "true")
            .env("CI_JOB_ID", number)
            .env("CI_SERVER_URL", "https://gitlab.example.org")
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().parse::<i64>().unwrap()
    };
    let first = job("7", "a");
    assert_eq!(job("7", "a"), first);
    assert_ne!(job("7", "b"), first);
    assert_ne!(job("8", "a"), first);
    let followed = pair.args(&["run", "hello", "--key", "k"]).success();
    let again = pair.args(&["run", "hello", "--key", "k"]).success();
    assert_eq!(followed.stdout, again.stdout);
    assert!(again.stderr.contains("was asked for before"), "{again:?}");
}

#[test]
fn a_server_that_starts_again_is_waited_for_and_no_line_is_lost_or_doubled() {
    let mut pair = Pair::start();
    let child = pair.spawn(&["run", "some", "--json"]);
    until("it runs", || pair.is_running());
    pair.server.take().unwrap().kill();
    let server = Server::start_at(&pair.project, &format!("127.0.0.1:{}", pair.port), &[]);
    let output = Output::of(child).ends(0);
    assert!(output.stderr.contains("the connection is lost"), "{output:?}");
    let seqs: Vec<i64> = output.json_lines().iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>());
    assert_eq!(output.json_lines().last().unwrap()["status"], "done");
    drop(server);
}

#[test]
fn a_signal_ends_the_run_with_its_clean_up_and_another_one_leaves_it() {
    let pair = Pair::start();
    let child = pair.spawn(&["run", "slow"]);
    until("it runs", || pair.is_running());
    signal(&child, Signal::TERM);
    let output = Output::of(child).ends(5);
    assert!(output.stdout.contains("cleaned up by the script"), "{output:?}");
    assert!(output.stderr.contains("waiting for its clean-up"), "{output:?}");
    assert_eq!(pair.runs()[0]["status"], "cancelled");
    let stubborn = "//! Does not end at once.\nconst NEEDS = [];\ndefer(|| { sleep(\"4s\"); print(\"late\"); });\nsleep(\"60s\");\n";
    pair.project.write("runbooks/stubborn.rhai", stubborn);
    let mut child = pair.spawn(&["run", "stubborn"]);
    until("it runs", || pair.is_running());
    signal(&child, Signal::INT);
    let mut said = heard(&mut child, "waiting for its clean-up");
    signal(&child, Signal::INT);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut said, &mut rest).unwrap();
    let run = pair.runs()[0]["run"].as_i64().unwrap();
    assert!(rest.contains(&format!("run {run} goes on; `nlrun --server")), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let followed = pair.args(&["log", &run.to_string(), "-f"]).success();
    assert!(followed.stdout.contains("late"), "{followed:?}");
    let cancelled = pair.args(&["cancel", "last"]).ends(3);
    assert!(cancelled.stderr.contains("there is nothing to cancel"), "{cancelled:?}");
}

/// Reads lines until one has these words; returns the rest of the stream for later.
fn heard(child: &mut Child, words: &str) -> std::io::BufReader<std::process::ChildStderr> {
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(words) {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut said, &mut line).unwrap() > 0, "nothing says `{words}`");
    }
    said
}

#[test]
fn what_is_asked_while_the_server_is_away_is_asked_when_it_is_back() {
    let mut pair = Pair::start();
    let mut child = pair.spawn(&["run", "slow"]);
    until("it runs", || pair.is_running());
    pair.server.take().unwrap().kill();
    let said = heard(&mut child, "the connection is lost");
    signal(&child, Signal::TERM);
    let mut asking = pair.spawn(&["run", "hello", "--set", "name=again"]);
    let rest = heard(&mut asking, "the server takes nothing now");
    let server = Server::start_at(&pair.project, &format!("127.0.0.1:{}", pair.port), &[]);
    let output = Output::of(child).ends(5);
    assert!(output.stdout.contains("cleaned up by the script"), "{output:?}");
    let asked = Output::of(asking).ends(0);
    assert!(asked.stdout.contains("hello again"), "{asked:?}");
    let statuses: Vec<Value> = pair.runs().iter().map(|run| run["status"].clone()).collect();
    assert_eq!(statuses, ["done", "cancelled"]);
    drop((server, said, rest));
}

#[test]
fn cancel_waits_for_the_end_there_as_here() {
    let pair = Pair::start();
    let run = pair.args(&["run", "slow", "--no-wait"]).success().stdout.trim().to_owned();
    until("it runs", || pair.is_running());
    let cancelled = pair.args(&["cancel", &run]).success();
    assert!(cancelled.stderr.contains(&format!("run {run} is cancelled")), "{cancelled:?}");
}

#[test]
fn questions_are_answered_from_anywhere() {
    let pair = Pair::start();
    let yes = pair.args(&["run", "ask", "--yes"]).success();
    assert!(yes.stdout.contains("went on"), "{yes:?}");
    // Nobody is at this terminal: somebody else answers, at the server or here.
    for (no, code) in [(false, 0), (true, 3)] {
        let child = pair.spawn(&["run", "ask"]);
        let mut words = vec!["approve", "last"];
        words.extend(no.then_some("--no"));
        until("it asks", || {
            let answered = if no { pair.project.args(&words) } else { pair.args(&words) };
            answered.code == 0
        });
        let output = Output::of(child);
        assert!(output.code == code || (no && output.code == 1), "{output:?}");
    }
    let nothing = pair.args(&["approve"]).ends(64);
    assert!(nothing.stderr.contains("no run asks anything"), "{nothing:?}");
}

#[test]
fn a_plan_made_there_is_applied_there_and_nowhere_else() {
    let pair = Pair::start();
    let path = pair.project.path("written").display().to_string();
    let set = format!("path={path}");
    let report = ["--junit", "junit.xml", "--dotenv", "nlrun.env"];
    pair.args(&["plan", "write", "--set", &set, "-o", "plan.json"]).success();
    assert!(!pair.project.path("written").exists());
    let applied = pair.args(&[&["apply", "plan.json"][..], &report].concat()).success();
    assert!(applied.stdout.contains("changed"), "{applied:?}");
    assert_eq!(pair.project.read("written"), "text\n");
    let xml = pair.elsewhere.read("junit.xml");
    let told = pair.elsewhere.read("nlrun.env");
    assert!(told.contains("NLRUN_RUN=2\n") && told.contains("NLRUN_STATUS=done\n"), "{told}");
    assert!(xml.contains("file.put") && xml.contains("failures=\"0\""), "{xml}");
    let again = pair.args(&["apply", "plan.json"]);
    assert!(again.code == 3 && again.stderr.contains("plan"), "{again:?}");
    // A plan of this machine is no plan of that server, although there is a run of that number.
    pair.project.write("runbooks/write.rhai", "//! Other.\nconst NEEDS = [];\nprint(2);\n");
    let mut text: Value = serde_json::from_str(&pair.elsewhere.read("plan.json")).unwrap();
    text["params"]["path"] = "/tmp/other".into();
    pair.elsewhere.write("other.json", &text.to_string());
    let refused = pair.args(&["apply", "other.json"]).ends(64);
    assert!(refused.stderr.contains("is no plan of this server"), "{refused:?}");
}

#[test]
fn schedules_are_stopped_and_let_go_on_from_elsewhere() {
    let pair = Pair::start();
    until("the scheduler has seen it", || {
        pair.args(&["schedule", "list", "--json"])
            .success()
            .json_lines()
            .first()
            .is_some_and(|one| one["cursor"].is_object())
    });
    pair.args(&["schedule", "pause", "daily", "--reason", "holidays"]).success();
    let listed = pair.project.args(["schedule", "status"]).success();
    assert!(listed.stdout.contains("token op: holidays"), "{listed:?}");
    pair.project.args(["schedule", "resume", "daily", "--reason", "over"]).success();
    let listed = pair.args(&["schedule", "list", "--json"]).success().json_lines();
    assert!(listed[0]["paused"].is_null(), "{listed:?}");
    pair.args(&["schedule", "fates"]).success();
    let unknown = pair.args(&["schedule", "pause", "dayly", "--reason", "x"]).ends(64);
    assert!(unknown.stderr.contains("there is no schedule `dayly`"), "{unknown:?}");
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let pair = Pair::start();
    let url = pair.server.as_ref().unwrap().url.clone();
    let plain = Project::new();
    let try_it = |url: &str, token: &str| {
        let mut command = plain.command(["--server", url, "runs"]);
        if !token.is_empty() {
            command.env("NLRUN_TOKEN", token);
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let says = |(code, text): (i32, String), expected: i32, parts: &[&str]| {
        assert_eq!(code, expected, "{text}");
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
    };
    says(try_it(&url, ""), 64, &["asks who you are", "NLRUN_TOKEN"]);
    says(try_it(&url, "nlr_00"), 64, &["does not know this token", "nlrun token list"]);
    says(try_it("nlrun.example.net", "x"), 64, &["is no address of a server"]);
    says(
        try_it(&format!("http://127.0.0.1:{}", free_port()), "x"),
        1,
        &["connection refused", "nlrun serve"],
    );
    let other = Web::says("404 Not Found", "<html>nothing here");
    says(try_it(&other.url(""), "x"), 64, &["is no nlrun server"]);
    let page = Web::says("200 OK", "<html>welcome");
    says(try_it(&page.url("/app"), "x"), 64, &["is no nlrun server"]);
    says(try_it(&url.replace("http:", "https:"), "x"), 1, &["TLS", "`http`"]);
    let future = Web::start(|_, _, stream| {
        let headers = "nlrun-version: 9.3.0\r\nContent-Type: application/json\r\n";
        crate::support::web::reply(stream, "200 OK", headers, b"{\"items\": [{\"run\": \"one\"}]}");
    });
    says(try_it(&future.url(""), "x"), 1, &["the server is nlrun 9.3.0, this is nlrun", "does not know"]);
    let viewer = token(&pair.project, "see", "viewer");
    let mut command = plain.command(["--server", &url, "run", "hello"]);
    let refused = command.env("NLRUN_TOKEN", &viewer).output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("this takes the role operator"), "{refused:?}");
    plain.write("token", &format!("{viewer}\n"));
    plain.args(["--server", &url, "--token-file", "token", "runs"]).success();
    if let Some(nginx) = Nginx::start() {
        let unknown = try_it(&format!("https://localhost:{}", nginx.ports[0]), "x");
        says(unknown, 1, &["TLS", "--ca FILE"]);
    }
}
