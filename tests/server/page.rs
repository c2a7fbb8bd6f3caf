//! The web page: what the server sends, and what people rely on, tried in a real Chromium where there is one.
#![expect(clippy::disallowed_methods, reason = "a client that takes nothing opens its own connection")]
use std::io::Write as _;
use std::net::TcpStream;

use serde_json::json;

use crate::support::chromium::{PASSWORD, tests_of};
use crate::support::project::{Project, until};
use crate::support::server::{Server, token};

fn project() -> Project {
    Project::new()
        .inventory(
            "hosts:\n  web-1: { transport: local, vars: { role: \"<b class=injected>front</b>\" } }\n  web-2: { transport: local }\n  old-1: { transport: local }\n\
             groups:\n  web: { hosts: [web-1, web-2] }\n",
        )
        .file(
            "schedules/all.yaml",
            "schedules:\n  nightly: { runbook: files, cron: \"0 3 * * *\", tz: Europe/Amsterdam, doc: \"<b class=injected>Nightly</b>\" }\n",
        )
        .runbook(
            "form",
            r#"
            //! Says something to somebody, more than once.
            const PARAMS = #{
                name: #{ type: "string", doc: "to whom" },
                count: #{ type: "int", default: 2, min: 1, max: 9, doc: "how often" },
                ring: #{ type: "choice", choices: ["one", "all"], default: "one" },
                where: #{ type: "hosts", default: "web" },
                first: #{ type: "host", group: "web", default: "web-1" },
                loud: false,
                pause: #{ type: "duration", default: "400ms" },
                more: #{ type: "json", default: [1, 2] },
            };
            const NEEDS = ["ssh.exec:localhost"];
            const LIMITS = #{ timeout: "5m", locks: ["form"] };
            for round in 1..=params.count {
                step `Round ${round}` {
                    print(`round ${round} for ${params.name}`);
                    ssh_exec("localhost", "echo said");
                    sleep(params.pause);
                }
            }
            "#,
        )
        .runbook(
            "files",
            r#"
            //! Puts a file.
            const PARAMS = #{ text: "one\n" };
            const NEEDS = ["file.put:localhost:/**"];
            let folder = "FOLDER";
            file_put("localhost", `${folder}/kept.conf`, params.text);
            artifact("report.txt", "all is well");
            #{ done: true }
            "#,
        )
        .runbook(
            "markup",
            r#"
            //! <script>window.hacked=1</script> is in its documentation.
            const NEEDS = ["ssh.exec:@web"];
            step "<b class=injected>step</b>" { print("<script>window.hacked=1</script>"); }
            each(hosts("web"), |host| {
                ssh_exec(host, "echo '<img src=x onerror=window.hacked=1>'; echo '<b class=injected>err</b>' >&2");
                if host.name == "web-2" { fail("<img src=x onerror=window.hacked=1> failed"); }
            });
            "#,
        )
        .runbook(
            "lines",
            "//! Says a million lines.\nconst NEEDS = [\"ssh.exec:localhost\"];\nssh_exec(\"localhost\", \"seq 1000000; echo the last of them\");\n",
        )
        .runbook(
            "ask",
            "//! Asks.\nconst NEEDS = [];\napprove(\"Fail over to <b>edge-2</b>?\");\nprint(\"it was approved\");\n",
        )
        .runbook(
            "slow",
            "//! Takes its time.\nconst NEEDS = [\"ssh.exec:localhost\"];\nssh_exec(\"localhost\", \"echo begun; sleep 30\");\n",
        )
        .runbook(
            "doubt",
            "//! Is lost in the middle.\nconst NEEDS = [\"ssh.exec:localhost\"];\nssh_exec(\"localhost\", \"echo begun; sleep 30\");\nprint(\"past it\");\n",
        )
        .runbook("edited", "//! Is edited.\nconst NEEDS = [\"ssh.exec:localhost\"];\n")
}

/// Makes a user of this role, who signs in with [`PASSWORD`].
pub(super) fn user(project: &Project, name: &str, role: &str) {
    let output = project.args_with_input(["user", "add", name, "--role", role], PASSWORD.as_bytes());
    assert_eq!(output.code, 0, "{output:?}");
}

/// Makes `files` write into the project's own folder.
fn placed(project: Project) -> Project {
    let text =
        project.read("runbooks/files.rhai").replace("FOLDER", &project.path("kept").display().to_string());
    project.write("runbooks/files.rhai", &text);
    std::fs::create_dir(project.path("kept")).unwrap();
    project
}

/// Puts a run of a million events into the run log, as plain rows: what it shows is tried here, not how it is written.
fn million(project: &Project) -> i64 {
    assert_eq!(project.args(["runs"]).code, 0);
    let file = project.path(".nlrun/nlrun.db");
    let connection = rusqlite::Connection::open(file).unwrap();
    let start = r#"{"event":"started","runbook":"runbooks/long.rhai","sources":{},"commit":null,"dirty":false,"params":null,"inventory":"","grants":[],"trigger":{"by":"person","user":"op"},"mode":"apply","version":"0"}"#;
    let summary = r#"{"status":"done","mode":"apply","runbook":"runbooks/long.rhai","counts":{"events":1000000,"reads":0,"ensures":0,"acts":0,"changed":0,"failed":0,"output":0,"checks":0,"warnings":0}}"#;
    let ended = r#"{"event":"ended","status":"done"}"#;
    let output = format!(
        r#"{{"event":"output","address":"1","stream":"out","bytes":17,"sha256":"{}"}}"#,
        "0".repeat(64)
    );
    connection
        .execute(
            "INSERT INTO runs (runbook, status, mode, started_at, ended_at, last_seq, last_hash, summary)
             VALUES ('runbooks/long.rhai', 'done', 'apply', 1790000000000000, 1790000900000000, 1000000, zeroblob(32), ?1)",
            [summary],
        )
        .unwrap();
    let run = connection.last_insert_rowid();
    connection
        .execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
             INSERT INTO events (id, at, body, hash)
             SELECT ?1 << 32 | i, 1790000000000000 + i * 900, CASE i
                 WHEN 1 THEN ?2 WHEN 777777 THEN ?4 WHEN 1000000 THEN ?3
                 ELSE '{\"event\":\"message\",\"level\":\"info\",\"text\":\"line ' || i || '\",\"site\":null,\"branch\":\"\"}' END,
                 zeroblob(32) FROM n",
            rusqlite::params![run, start, ended, output],
        )
        .unwrap();
    connection
        .execute(
            "INSERT INTO chunks (id, address, stream, codec, length, data) VALUES (?1 << 32 | 777777, '1', 'out', 0, 17, ?2)",
            rusqlite::params![run, b"a needle is here\n"],
        )
        .unwrap();
    run
}

#[test]
fn people_can_work_with_it_in_a_real_browser() {
    let project = placed(project());
    let editor = token(&project, "ed", "editor");
    user(&project, "ed", "editor");
    user(&project, "vera", "viewer");
    let long = million(&project).to_string();
    let server = Server::start(&project);
    let more = [("NLRUN_PROJECT", project.root().into_os_string()), ("NLRUN_LONG", long.into())];
    let more: Vec<_> = more.iter().map(|(name, value)| (*name, value.as_os_str())).collect();
    tests_of("page.mjs", &server, &editor, &more, 14);
}

#[test]
fn pages_are_for_people_and_their_parts_may_be_kept() {
    let project = placed(project());
    let (operator, viewer) = (token(&project, "op", "operator"), token(&project, "see", "viewer"));
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let html = [("accept", "text/html,*/*")];
    let page = op.send("GET", "/runs", &html, None);
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    // No script or style stands in the page itself.
    assert!(
        !page.text.contains("<style") && !page.text.contains("style=\"") && !page.text.contains("onclick")
    );
    for tag in page.text.split("<script").skip(1) {
        assert!(tag.split('>').next().unwrap().contains("src="), "{tag}");
    }
    let (_, rest) = page.text.split_once("rel=\"stylesheet\" href=\"").unwrap();
    let sheet = rest.split('"').next().unwrap().replace("&#x2f;", "/");
    let style = server.nobody().get(&sheet);
    assert_eq!(style.status, 200, "{sheet}");
    assert!(style.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let tag = style.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(server.nobody().send("GET", &sheet, &[("if-none-match", &tag)], None).status, 304);
    assert_eq!(server.nobody().get("/assets/0000000000000000/app.css").status, 404);
    // What a project says is text, whatever it looks like.
    for path in ["/runbooks", "/runbook/runbooks/markup.rhai", "/schedules", "/inventory/host/web-1"] {
        let text = op.send("GET", path, &html, None).text;
        assert!(text.contains("&lt;") && !text.contains("<b class") && !text.contains("<script>"), "{path}");
    }
    // Who is not signed in is sent to sign in, and comes back; programs are told.
    let sent = server.nobody().send("GET", "/runs?status=bad", &html, None);
    assert!(sent.status == 303 || sent.status == 302, "{sent:?}");
    let to = sent.headers["location"].to_str().unwrap();
    assert!(to.starts_with("/login?") && to.contains("status%3Dbad"), "{to}");
    assert_eq!(server.nobody().get("/runs").status, 401);
    // What is not there is a page, too.
    let missing = op.send("GET", "/runs/4711", &html, None);
    assert!(missing.status == 404 && missing.text.contains("<h1>"), "{missing:?}");
    let nothing = op.send("GET", "/nothing", &html, None);
    assert!(nothing.status == 404 && nothing.text.contains("<nav aria-label=\"Pages\">"), "{nothing:?}");
    assert!(op.get("/nothing").text.starts_with('{'), "programs get JSON");
    for path in [
        "/runbook/nlrun.yaml/..%2f..%2fetc%2fpasswd",
        "/runbook/%2Fetc%2Fpasswd",
        "/editor/runbooks/..%2F..%2F..%2Fetc%2Fpasswd.txt",
        "/editor/nlrun.yaml",
        "/api/v1/file?path=../../etc/passwd",
        "/api/v1/file?path=.nlrun/x.txt",
    ] {
        let answer = op.send("GET", path, &html, None);
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert!(!answer.text.contains("root:"), "{path}");
    }
    // Reading is for everybody who may look, writing is not.
    let body = json!({ "text": "//! x\n", "before": "" });
    let save = "/api/v1/file?path=runbooks/new.rhai";
    assert_eq!(op.send("PUT", save, &[], Some(&body)).status, 403);
    let pause = json!({ "reason": "x" });
    assert_eq!(server.caller(&viewer).post("/api/v1/schedules/nightly/pause", &pause).status, 403);
    assert!(!project.path("runbooks/new.rhai").exists());
}

#[test]
fn a_page_carries_what_its_buttons_need_and_shows_none_that_do_not_work() {
    let project = placed(project());
    user(&project, "op", "operator");
    user(&project, "vera", "viewer");
    let less =
        project.args(["token", "add", "less", "--role", "operator", "--runbook", "runbooks/form.rhai"]);
    assert_eq!(less.code, 0, "{less:?}");
    let server = Server::start(&project);
    let sign_in = |name: &str| {
        let own = [("origin", server.url.as_str())];
        let login = json!({ "name": name, "password": PASSWORD });
        let answer = server.nobody().send("POST", "/api/v1/session", &own, Some(&login));
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        (cookie, answer.json()["csrf"].as_str().unwrap().to_owned())
    };
    let open = |cookie: &str, path: &str| {
        server.nobody().send("GET", path, &[("accept", "text/html"), ("cookie", cookie)], None).text
    };
    let (operator, csrf) = sign_in("op");
    let page = open(&operator, "/runbook/runbooks/form.rhai");
    assert!(page.contains(&format!("<meta name=\"csrf\" content=\"{csrf}\">")), "{page}");
    assert!(page.contains("action=\"/logout\"") && page.contains("<form data-run"), "{page}");
    let body = json!({ "runbook": "form", "params": { "name": "x", "count": 1 } });
    let ask = |shown: &str| {
        let headers = [("origin", server.url.as_str()), ("cookie", &operator), ("x-csrf-token", shown)];
        server.nobody().send("POST", "/api/v1/runs", &headers, Some(&body)).status
    };
    assert_eq!((ask("0000"), ask(&csrf)), (403, 202));
    let (viewer, _) = sign_in("vera");
    for path in [
        "/runs",
        "/runs/1",
        "/runbook/runbooks/form.rhai",
        "/schedule/nightly",
        "/queue",
        "/editor/runbooks/form.rhai",
    ] {
        let page = open(&viewer, path);
        assert!(page.contains("vera") && page.contains("action=\"/logout\""), "{path}: {page}");
        assert!(
            !page.contains("data-send") && !page.contains("<form data-run") && !page.contains("id=\"save\""),
            "{path}"
        );
    }
    // Whose role would do, but whose runbooks are others, is told so.
    let less = server.caller(less.stdout.trim());
    let html = [("accept", "text/html")];
    assert!(less.send("GET", "/runbook/runbooks/form.rhai", &html, None).text.contains("<form data-run"));
    let page = less.send("GET", "/runbook/runbooks/files.rhai", &html, None).text;
    assert!(page.contains("may not run") && !page.contains("<form data-run"), "{page}");
    // The audit of a person is theirs, as in the API.
    let page = open(&operator, "/audit");
    assert!(page.contains("runs.create") && !page.contains("vera"), "{page}");
}

#[test]
fn slow_and_vanishing_browsers_hold_up_nobody() {
    const SLOW: usize = 60;
    let project = Project::new().runbook(
        "much",
        r#"
        //! Says much.
        const NEEDS = ["ssh.exec:localhost"];
        ssh_exec("localhost", "head -c 9000000 /dev/urandom | base64 -w 99");
        "#,
    );
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let about = format!("/proc/{}", server.id());
    let sockets = || {
        let all = std::fs::read_dir(format!("{about}/fd")).unwrap();
        let target = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_link(entry.ok()?.path()).ok();
        all.filter_map(target).filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    };
    let megabytes = || -> usize {
        let status = std::fs::read_to_string(format!("{about}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    };
    let run = op.run(&json!({ "runbook": "much" }));
    let (before, size) = (sockets(), megabytes());
    let address = server.url.trim_start_matches("http://");
    let ask = |path: &str, end: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let text =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {operator}\r\n{end}");
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let events = format!("/api/v1/runs/{run}/events?output=true");
    // They ask and take nothing; some do not even end their question.
    let mut slow: Vec<TcpStream> = (0..SLOW).map(|_| ask(&events, "\r\n")).collect();
    slow.extend((0..5).map(|_| ask("/api/v1/news", "\r\n")));
    slow.extend((0..5).map(|_| ask("/runs", "accept: te")));
    let shown = op.wait(run, &["done", "failed", "stopped"]);
    assert_eq!(shown["status"], "done", "{shown}");
    assert_eq!(op.get("/runs").status, 200);
    let grown = megabytes().saturating_sub(size);
    // Each would be sent twelve megabytes.
    assert!(grown < 300, "{grown} MB more for clients that take nothing");
    until("the slow ones to be there", || sockets() >= before + SLOW);
    slow.drain(..SLOW / 2);
    until("those who vanished to be forgotten", || sockets() <= before + SLOW / 2 + 10);
    assert_eq!(op.get("/queue").status, 200);
    assert_eq!(server.stop(), Some(0), "it ends although some are still there");
    drop(slow);
}

#[test]
fn a_file_is_saved_when_it_passes_and_nobody_was_faster() {
    let project = placed(project());
    let editor = token(&project, "ed", "editor");
    let server = Server::start(&project);
    let ed = server.caller(&editor);
    let path = "/api/v1/file?path=runbooks/edited.rhai";
    let read = ed.get(path).json();
    assert_eq!(read["text"], project.read("runbooks/edited.rhai"));
    let save = |text: &str, before: &serde_json::Value| {
        ed.send("PUT", path, &[], Some(&json!({ "text": text, "before": before })))
    };
    let refused = save("//! x\nprnt(1);\n", &read["hash"]);
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.json()["errors"][0]["message"].as_str().unwrap().contains("prnt"), "{refused:?}");
    let saved = save("//! Is new.\nconst NEEDS = [];\n", &read["hash"]);
    assert_eq!(saved.status, 200, "{saved:?}");
    assert_eq!(project.read("runbooks/edited.rhai"), "//! Is new.\nconst NEEDS = [];\n");
    assert_eq!(save("//! Too late.\n", &read["hash"]).status, 409);
    assert_eq!(save("//! Next.\nconst NEEDS = [];\n", &saved.json()["hash"]).status, 200);
    let check = json!({ "path": "schedules/all.yaml", "text": "schedules:\n  x: { runbook: a, cron: \"0 3 * *\" }\n" });
    let found = ed.post("/api/v1/check", &check).json();
    assert!(found["findings"].as_array().is_some_and(|found| !found.is_empty()), "{found}");
    let params = json!({ "path": "form", "params": { "count": "12", "nam": "x" } });
    let wrong = ed.post("/api/v1/check", &params).json();
    let names: Vec<&str> =
        wrong["params"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    for name in ["count", "nam", "name"] {
        assert!(names.contains(&name), "{wrong}");
    }
}
