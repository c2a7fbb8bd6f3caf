//! Users, sessions, tokens: who comes in, what they may, and that every decision is put down.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use crate::support::browser::{Browser, PASSWORD, user};
use crate::support::project::Project;
use crate::support::server::{Answer, Server, token};

fn project() -> Project {
    Project::new().runbook("hello", "//! Says hello.\nconst NEEDS = [];\nprint(\"hello\");\n")
}

fn audit(project: &Project, arguments: &[&str]) -> Vec<Value> {
    let output = project.args(["audit", "--json", "-n", "1000"].iter().chain(arguments));
    assert_eq!(output.code, 0, "{output:?}");
    output.json_lines()
}

fn hello() -> Value {
    json!({ "runbook": "hello" })
}

fn is_problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{answer:?}");
    assert_eq!(answer.json()["status"], status, "{answer:?}");
}

#[test]
fn a_user_signs_in_runs_something_and_signs_out() {
    let project = project();
    user(&project, "ann", "operator");
    let server = Server::start(&project);
    let mut ann = Browser::new(&server);
    is_problem(&ann.sign_in("ann", "wrong horse battery staple"), 401);
    is_problem(&ann.sign_in("nobody-here", PASSWORD), 401);
    assert!(ann.cookies.is_empty());
    let answer = ann.sign_in("ann", PASSWORD);
    assert_eq!((answer.status, answer.json()["role"].as_str()), (200, Some("operator")), "{answer:?}");
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("nlrun=") && cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(
        cookie.contains("; Path=/; ") && !cookie.contains("Secure") && !cookie.contains("Domain"),
        "{cookie}"
    );
    let run = ann.send("POST", "/api/v1/runs", Some(&hello()));
    assert_eq!(run.status, 202, "{run:?}");
    let shown = ann.get(&format!("/api/v1/runs/{}", run.json()["run"])).json();
    assert_eq!(shown["by"], "ann", "{shown}");
    let before = ann.cookies.clone();
    assert_eq!(ann.send("DELETE", "/api/v1/session", None).status, 204);
    assert!(ann.cookies.is_empty());
    ann.cookies = before;
    is_problem(&ann.get("/api/v1/session"), 401);
}

#[test]
fn the_pages_work_without_script() {
    let project = project();
    user(&project, "ann", "viewer");
    let server = Server::start(&project);
    let mut ann = Browser::new(&server);
    let page = ann.open("/login?next=/runs%3Fa%3D%22b");
    assert!(page.status == 200 && page.text.contains("<form method=\"post\" action=\"/login\">"), "{page:?}");
    assert!(!page.text.contains("<script") && !page.text.contains("a=\"b"), "{}", page.text);
    let wrong = ann.post_form("/login", "name=ann&password=wrong&next=%2F%3Cb%3E");
    assert!(
        wrong.status == 401 && wrong.text.contains("role=\"alert\"") && !wrong.text.contains("<b>"),
        "{wrong:?}"
    );
    let right = |next: &str| format!("name=ann&password={}&next={next}", PASSWORD.replace(' ', "+"));
    let elsewhere = ann.post_form("/login", &right("%2F%2Fevil.example"));
    assert_eq!((elsewhere.status, elsewhere.headers["location"].to_str().unwrap()), (303, "/"));
    let answer = ann.post_form("/login", &right("%2Fruns"));
    assert_eq!((answer.status, answer.headers["location"].to_str().unwrap()), (303, "/runs"));
    let page = ann.open("/login").text;
    assert!(page.contains("signed in as <b>ann</b>"), "{page}");
    let csrf = page.split_once("name=\"csrf\" value=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    is_problem(&ann.post_form("/logout", "csrf=0000"), 403);
    is_problem(&ann.post_form("/logout", ""), 403);
    assert_eq!(ann.post_form("/logout", &format!("csrf={csrf}")).status, 303);
    is_problem(&ann.get("/api/v1/session"), 401);
}

#[test]
fn all_sessions_end_when_role_or_password_change_or_the_user_goes() {
    let project = project();
    user(&project, "ann", "operator");
    let server = Server::start(&project);
    let change = |arguments: &[&str], input: &str| {
        let mut browsers = [Browser::of(&server, "ann"), Browser::of(&server, "ann")];
        let output = project.args_with_input(arguments, input.as_bytes());
        assert_eq!(output.code, 0, "{output:?}");
        for browser in &mut browsers {
            is_problem(&browser.get("/api/v1/session"), 401);
        }
    };
    change(&["user", "role", "ann", "viewer"], "");
    assert_eq!(Browser::of(&server, "ann").get("/api/v1/session").json()["role"], "viewer");
    change(&["user", "password", "ann"], PASSWORD);
    // The same by the API.
    user(&project, "root", "admin");
    let mut root = Browser::of(&server, "root");
    let mut ann = Browser::of(&server, "ann");
    let answer = root.send("PATCH", "/api/v1/users/ann", Some(&json!({ "role": "operator" })));
    assert_eq!(answer.status, 204, "{answer:?}");
    is_problem(&ann.get("/api/v1/session"), 401);
    change(&["user", "remove", "ann"], "");
    is_problem(&Browser::new(&server).sign_in("ann", PASSWORD), 401);
    let weak = project.args_with_input(["user", "add", "bob", "--role", "viewer"], b"short\n");
    assert!(weak.code == 64 && weak.stderr.contains("fewer than 12"), "{weak:?}");
    // Nobody types a password for a name that cannot be had.
    for (name, part) in [("root", "there is a user `root`"), ("a b", "`a b` cannot be a name")] {
        let refused = project.args_with_input(["user", "add", name, "--role", "viewer"], b"");
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    let made = project.args_with_input(["user", "add", "bob", "--role", "viewer"], PASSWORD.as_bytes());
    assert!(made.code == 0 && made.stderr.contains("bob signs in as viewer"), "{made:?}");
}

#[test]
fn a_session_is_never_one_that_the_browser_brought_along() {
    let project = project();
    user(&project, "ann", "operator");
    let server = Server::start(&project);
    let mut ann = Browser::new(&server);
    let planted = "0".repeat(64);
    ann.cookies.insert("nlrun".to_owned(), planted.clone());
    assert_eq!(ann.sign_in("ann", PASSWORD).status, 200);
    assert_ne!(ann.cookies["nlrun"], planted);
    let mut thief = Browser::new(&server);
    thief.cookies.insert("nlrun".to_owned(), planted);
    is_problem(&thief.get("/api/v1/session"), 401);
    // Who signs in again gets a new session, and the one before is over.
    let first = ann.cookies.clone();
    assert_eq!(ann.sign_in("ann", PASSWORD).status, 200);
    assert_ne!(ann.cookies, first);
    thief.cookies = first;
    is_problem(&thief.get("/api/v1/session"), 401);
    assert_eq!(ann.get("/api/v1/session").status, 200);
}

#[test]
fn what_other_sites_send_changes_nothing() {
    let project = project();
    user(&project, "ann", "operator");
    let server = Server::start(&project);
    let mut ann = Browser::of(&server, "ann");
    let (own, csrf) = (server.url.clone(), ann.csrf.clone());
    let right = [("origin", own.as_str()), ("x-csrf-token", csrf.as_str())];
    for headers in [
        &[][..],
        &[("x-csrf-token", csrf.as_str())],
        &[("origin", own.as_str())],
        &[("origin", own.as_str()), ("x-csrf-token", "0000")],
        &[("origin", "https://evil.example"), right[1]],
        &[("origin", "null"), right[1]],
        &[("origin", "http://127.0.0.1:1"), right[1]],
        &[("sec-fetch-site", "cross-site"), right[0], right[1]],
        &[("sec-fetch-site", "same-site"), right[0], right[1]],
    ] {
        is_problem(&ann.send_with("POST", "/api/v1/runs", headers, Some(&hello())), 403);
    }
    // The token of another session is no better.
    let other = Browser::of(&server, "ann").csrf;
    is_problem(
        &ann.send_with("POST", "/api/v1/runs", &[right[0], ("x-csrf-token", &other)], Some(&hello())),
        403,
    );
    assert_eq!(ann.get("/api/v1/runs").json()["items"], json!([]));
    assert_eq!(ann.send_with("POST", "/api/v1/runs", &right, Some(&hello())).status, 202);
    let fetched = [("sec-fetch-site", "same-origin"), right[1]];
    assert_eq!(ann.send_with("POST", "/api/v1/runs", &fetched, Some(&hello())).status, 202);
    // Nobody is signed in by another site, as somebody of its choice.
    let login = json!({ "name": "ann", "password": PASSWORD });
    let mut victim = Browser::new(&server);
    is_problem(
        &victim.send_with("POST", "/api/v1/session", &[("origin", "https://evil.example")], Some(&login)),
        403,
    );
    let answer = victim.send_with("POST", "/login", &[("sec-fetch-site", "cross-site")], None);
    is_problem(&answer, 403);
    assert!(victim.cookies.is_empty());
}

#[test]
fn guessing_is_slowed_down() {
    let project = project().file("nlrun.yaml", "server: { requests: { burst: 5, per_second: 1 } }\n");
    user(&project, "ann", "operator");
    user(&project, "bob", "operator");
    let viewer = token(&project, "see", "viewer");
    let server = Server::start(&project);
    let mut browser = Browser::new(&server);
    let tries = |browser: &mut Browser, name: &str| {
        let guesses = (0..100).map(|number| browser.sign_in(name, &format!("guess {number}")).status);
        let mut seen = Vec::new();
        for status in guesses {
            seen.push(status);
            if status == 429 {
                break;
            }
        }
        seen
    };
    let answers = tries(&mut browser, "ann");
    assert_eq!((answers[..10].to_vec(), answers.last()), (vec![401; 10], Some(&429)), "{answers:?}");
    let slowed = browser.sign_in("ANN", PASSWORD);
    is_problem(&slowed, 429);
    let wait: u64 = slowed.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=16).contains(&wait), "{wait}");
    // Somebody else still comes in, until the address has had its share.
    assert_eq!(Browser::new(&server).sign_in("bob", PASSWORD).status, 200);
    let statuses: Vec<u16> =
        (0..60).map(|number| browser.sign_in(&format!("name{number}"), "guess").status).collect();
    assert!(statuses[0] == 401 && statuses.contains(&429), "{statuses:?}");
    let told: Vec<Value> = audit(&project, &["--action", "session.create", "--refused"]);
    let too_many = |about: &str| {
        let rows = told.iter().filter(|row| row["target"] == about);
        rows.filter(|row| row["reason"].as_str().unwrap().starts_with("too many")).count()
    };
    assert_eq!(too_many("ann"), 1, "one line about it is enough: {told:?}");
    // The API, by caller.
    let see = server.caller(&viewer);
    let answers: Vec<Answer> = (0..60).map(|_| see.get("/api/v1/runs")).collect();
    assert_eq!(answers[0].status, 200);
    is_problem(answers.iter().find(|answer| answer.status == 429).expect("sixty in a row are too many"), 429);
}

#[test]
fn who_shows_nonsense_may_not_go_on_for_ever() {
    let project = project();
    let viewer = token(&project, "see", "viewer");
    let server = Server::start(&project);
    let liar = server.caller("nlr_0000");
    let first = (0..2000).position(|_| liar.get("/api/v1/runs").status == 429);
    assert!(first.is_some_and(|first| first >= 60), "{first:?}");
    assert_eq!(server.caller(&viewer).get("/api/v1/runs").status, 200, "who shows a token is not held up");
}

#[test]
fn a_viewer_may_write_nothing() {
    let project = project();
    let viewer = token(&project, "see", "viewer");
    user(&project, "vera", "viewer");
    let server = Server::start(&project);
    let described = server.nobody().get("/openapi.json").json();
    let mut writes = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if ["post", "put", "patch", "delete"].contains(&method.as_str()) {
                writes.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    assert!(writes.len() >= 9, "{writes:?}");
    let mut vera = Browser::of(&server, "vera");
    let mut tried = 0;
    for (method, path) in &writes {
        // Signing in and out is everybody's, and a check changes nothing.
        if ["/api/v1/session", "/api/v1/check"].contains(&path.as_str()) {
            continue;
        }
        let mut target = path.clone();
        while let (Some(start), Some(end)) = (target.find('{'), target.find('}')) {
            target.replace_range(start..=end, "1");
        }
        let body = json!({});
        is_problem(&server.caller(&viewer).send(method, &target, &[], Some(&body)), 403);
        is_problem(&vera.send(method, &target, Some(&body)), 403);
        is_problem(&server.nobody().send(method, &target, &[], Some(&body)), 401);
        tried += 3;
    }
    let refused = audit(&project, &["--refused"]);
    assert_eq!(refused.len(), tried, "{refused:?}");
    for row in &refused {
        let action = row["action"].as_str().unwrap();
        assert!(!action.contains('/'), "the API's description names it: {action}");
        assert!(["token see", "vera", "nobody"].contains(&row["who"].as_str().unwrap()), "{row}");
    }
    assert_eq!(server.caller(&viewer).get("/api/v1/runs").json()["items"], json!([]));
}

#[test]
fn admins_keep_users_and_tokens_and_give_no_more_than_they_have() {
    let project = project();
    let admin = token(&project, "root", "admin");
    let narrow = project.args(["token", "add", "narrow", "--role", "admin", "--grant", "ssh.read"]);
    let narrow = narrow.stdout.trim().to_owned();
    let editor = token(&project, "edit", "editor");
    let server = Server::start(&project);
    let (admin, narrow) = (server.caller(&admin), server.caller(&narrow));
    for path in ["/api/v1/users", "/api/v1/tokens"] {
        is_problem(&server.caller(&editor).get(path), 403);
    }
    let bob =
        json!({ "name": "bob", "password": PASSWORD, "role": "operator", "runbooks": ["runbooks/other/*"] });
    assert_eq!(admin.post("/api/v1/users", &bob).status, 201);
    is_problem(&admin.post("/api/v1/users", &bob), 409);
    is_problem(
        &admin.post("/api/v1/users", &json!({ "name": "x y", "password": PASSWORD, "role": "viewer" })),
        422,
    );
    is_problem(
        &admin.post("/api/v1/users", &json!({ "name": "x", "password": "short", "role": "viewer" })),
        422,
    );
    is_problem(
        &admin.post("/api/v1/users", &json!({ "name": "x", "password": PASSWORD, "role": "god" })),
        422,
    );
    is_problem(&admin.send("PATCH", "/api/v1/users/carl", &[], Some(&json!({}))), 404);
    let mut browser = Browser::of(&server, "bob");
    is_problem(&browser.send("POST", "/api/v1/runs", Some(&hello())), 403);
    // Whoever has `ssh.read` makes nobody who has more.
    let wish = |grants: Value| json!({ "name": "more", "role": "admin", "grants": grants });
    is_problem(&narrow.post("/api/v1/tokens", &wish(json!([]))), 403);
    is_problem(&narrow.post("/api/v1/tokens", &wish(json!(["ssh.exec"]))), 403);
    is_problem(&narrow.send("PATCH", "/api/v1/users/bob", &[], Some(&json!({ "grants": ["*"] }))), 403);
    assert_eq!(narrow.post("/api/v1/tokens", &wish(json!(["ssh.read"]))).status, 201);
    let made = admin
        .post("/api/v1/tokens", &json!({ "name": "ci", "role": "viewer", "ends": "2999-01-01T00:00:00Z" }));
    assert_eq!(made.status, 201, "{made:?}");
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    let listed = |name: &str| {
        let all = admin.get("/api/v1/tokens").json();
        all["items"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
    };
    assert!(listed("ci").get("used").is_none());
    assert_eq!(server.caller(&secret).get("/api/v1/runs").status, 200);
    assert!(listed("ci")["used"].is_string() && !listed("ci").to_string().contains(&secret));
    assert_eq!(admin.send("DELETE", "/api/v1/tokens/ci", &[], None).status, 204);
    is_problem(&admin.send("DELETE", "/api/v1/tokens/ci", &[], None), 404);
    is_problem(&server.caller(&secret).get("/api/v1/runs"), 401);
    let over = json!({ "name": "over", "role": "viewer", "ends": "2001-01-01T00:00:00Z" });
    let over = admin.post("/api/v1/tokens", &over).json()["secret"].as_str().unwrap().to_owned();
    is_problem(&server.caller(&over).get("/api/v1/runs"), 401);
    assert_eq!(admin.send("DELETE", "/api/v1/users/bob", &[], None).status, 204);
    is_problem(&browser.get("/api/v1/session"), 401);
}

#[test]
fn what_a_role_has_goes_for_who_has_nothing_of_their_own() {
    let yaml = "server: { roles: { operator: { grants: ['ssh.read'], runbooks: ['runbooks/safe/**'] } } }\n";
    let project = project().file("nlrun.yaml", yaml).runbook(
        "safe/ask",
        "//! Asks.\nconst NEEDS = [\"ssh.read:localhost\", \"ssh.exec:localhost\"];\nssh_read(\"localhost\", \"true\");\nssh_exec(\"localhost\", \"true\");\n",
    );
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let who = op.get("/api/v1/session").json();
    assert_eq!((&who["grants"], &who["runbooks"]), (&json!(["ssh.read"]), &json!(["runbooks/safe/**"])));
    is_problem(&op.post("/api/v1/runs", &hello()), 403);
    let run = op.run(&json!({ "runbook": "safe/ask" }));
    let shown = op.wait(run, &["done", "failed", "stopped"]);
    assert_eq!(shown["status"], "stopped", "NEEDS has ssh.exec, and the role does not: {shown}");
}

#[test]
fn every_decision_is_in_the_audit_and_no_secret_anywhere() {
    let project = project();
    user(&project, "ann", "operator");
    let admin = token(&project, "root", "admin");
    let server = Server::start_with(&project, &["-vvv"]);
    let mut ann = Browser::of(&server, "ann");
    ann.sign_in("hunter2-typed-as-name", "hunter2-typed-as-password");
    ann.send("POST", "/api/v1/runs", Some(&hello()));
    ann.send("POST", "/api/v1/runs/1/cancel", None);
    ann.send("DELETE", "/api/v1/users/ann", None);
    ann.get("/api/v1/tokens");
    ann.get("/api/v1/runs");
    let made =
        server.caller(&admin).post("/api/v1/tokens", &json!({ "name": "ci", "role": "viewer" })).json();
    server.caller("nlr_wrong").get("/api/v1/runs");
    let session = ann.cookies["nlrun"].clone();
    ann.send("DELETE", "/api/v1/session", None);
    let rows: Vec<String> = audit(&project, &[])
        .iter()
        .rev()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            let verdict = if row["allowed"] == true { "allowed" } else { "refused" };
            format!("{} {} {} {} {verdict}", text("who"), text("address"), text("action"), text("target"))
        })
        .filter(|row| !row.contains("runs.cancel"))
        .collect();
    assert_eq!(
        rows,
        [
            "tester terminal users.create users/ann operator allowed",
            "tester terminal tokens.create tokens/root admin allowed",
            "ann 127.0.0.1 session.create ann allowed",
            "ann 127.0.0.1 session.create (no such user) refused",
            "ann 127.0.0.1 runs.create runs/1 apply runbooks/hello.rhai allowed",
            "ann 127.0.0.1 users.remove users/ann refused",
            "ann 127.0.0.1 tokens.list tokens refused",
            "token root 127.0.0.1 tokens.create tokens/ci viewer allowed",
            "nobody 127.0.0.1 runs.list runs refused",
            "ann 127.0.0.1 session.delete session allowed",
        ]
    );
    // By page, and for people who are no admins only what is their own.
    let all = server.caller(&admin);
    let page = all.get("/api/v1/audit?limit=3").json();
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    let next = all.get(&format!("/api/v1/audit?limit=1&before={}", page["next"])).json();
    assert!(next["items"][0]["id"].as_i64() < page["items"][2]["id"].as_i64(), "{next}");
    let refused = all.get("/api/v1/audit?action=tokens.*&allowed=false").json();
    assert_eq!(refused["items"].as_array().unwrap().len(), 1, "{refused}");
    let mut ann = Browser::of(&server, "ann");
    let own = ann.get("/api/v1/audit?who=token%20root&limit=500").json();
    assert!(own["items"].as_array().unwrap().iter().all(|row| row["who"] == "ann"), "{own}");
    assert!(!own["items"].as_array().unwrap().is_empty());
    // Neither what the server says nor what it keeps holds what somebody could come in with.
    let mut kept = server.said().into_bytes();
    assert!(String::from_utf8_lossy(&kept).contains("this server starts runs"), "it says much");
    for entry in std::fs::read_dir(project.path(".nlrun")).unwrap().flatten() {
        if entry.path().is_file() {
            std::fs::File::open(entry.path()).unwrap().read_to_end(&mut kept).unwrap();
        }
    }
    let made = made["secret"].as_str().unwrap();
    let hidden = [PASSWORD, &admin, made, &session, &ann.csrf, "hunter2", "nlr_wrong"];
    for secret in hidden {
        let found = kept.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!found, "`{secret}` is told");
    }
}

#[test]
fn malformed_and_oversized_requests_are_problems() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let json = |text: &str| Some(("application/json", text.to_owned()));
    is_problem(&op.send_text("POST", "/api/v1/runs", &[], json("{")), 400);
    is_problem(&op.send_text("POST", "/api/v1/runs", &[], json("{\"runbook\": 1}")), 422);
    is_problem(&op.send_text("POST", "/api/v1/runs", &[], json("{\"nonsense\": 1}")), 422);
    // What was sent is repeated in part only.
    let long = op.send_text("POST", "/api/v1/runs", &[], json(&format!("\"{}\"", "x".repeat(100_000))));
    is_problem(&long, 422);
    assert!(long.text.len() < 3000, "{} bytes", long.text.len());
    is_problem(&op.send_text("POST", "/api/v1/runs", &[], Some(("text/plain", "{}".into()))), 415);
    is_problem(
        &op.send_text("POST", "/api/v1/runs", &[], json(&format!("\"{}\"", "x".repeat((1 << 20) + 1000)))),
        413,
    );
    is_problem(&op.get("/api/v1/runs/x"), 404);
    is_problem(&op.get("/api/v1/runs?limit=x"), 422);
    is_problem(&op.get("/api/v1/runs/9223372036854775808"), 404);
    is_problem(&op.get("/api/v1/nothing"), 404);
    is_problem(&op.send("DELETE", "/api/v1/runs", &[], None), 405);
    is_problem(&server.nobody().send("GET", "/api/v1/runs", &[("authorization", "Basic eDp5")], None), 401);
    let address = server.url.strip_prefix("http://").unwrap();
    for raw in [
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n", "x".repeat(200_000)),
        format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(200_000)),
    ] {
        #[expect(clippy::disallowed_methods, reason = "a test sends what no client sends")]
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        // The server may have had enough before the end.
        let _ = stream.write_all(raw.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        assert!(bytes.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    let answer = op.get("/api/v1/runs");
    assert_eq!(answer.status, 200, "it still serves");
    assert!(!server.said().contains("panicked"), "{}", server.said());
}

#[test]
fn every_answer_says_what_a_browser_may_do_with_it() {
    let project = project();
    let server = Server::start(&project);
    for path in ["/login", "/healthz", "/openapi.json", "/api/v1/runs", "/nothing"] {
        let answer = server.nobody().get(path);
        let header =
            |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
        let policy = header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path} {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path} {policy}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("strict-transport-security"), "", "{path} came by http");
    }
    // People are sent to the page for signing in, programs are told.
    let page = Browser::new(&server).open("/api/v1/runs");
    assert_eq!(page.status, 401);
}

#[test]
fn a_server_that_others_could_listen_to_does_not_start() {
    let project = project();
    let refused = project.args(["serve", "--listen", "0.0.0.0:0"]);
    assert!(
        refused.code == 64 && refused.stderr.contains("no TLS") && refused.stderr.contains("--insecure"),
        "{refused:?}"
    );
    project.write("nlrun.yaml", "server: { url: 'http://nlrun.example.net' }\n");
    assert_eq!(project.args(["serve", "--listen", "0.0.0.0:0"]).code, 64);
    project.write("nlrun.yaml", "server: { url: 'nlrun.example.net' }\n");
    assert_eq!(project.args(["serve"]).code, 64);
    project.write("nlrun.yaml", "server: { tls: { certificate: c.pem, key: k.pem } }\n");
    let missing = project.args(["serve", "--listen", "127.0.0.1:0"]);
    assert!(missing.code == 64 && missing.stderr.contains("c.pem"), "{missing:?}");
    // The first start tells how somebody can come in.
    project.write("nlrun.yaml", "");
    let server = Server::start(&project);
    assert!(server.said().contains("nlrun user add"), "{}", server.said());
    drop(server);
    user(&project, "ann", "admin");
    let server = Server::start(&project);
    assert!(!server.said().contains("nlrun user add"), "{}", server.said());
}
