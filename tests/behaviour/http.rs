//! Requests: against a real nginx, and against servers that do what no good one does.

use std::io::Write as _;
use std::time::{Duration, Instant};

use nlrun::model::run::Status;
use rustix::process::{Pid, Signal, kill_process};

use super::{call, finish, store, verified};
use crate::support::project::{Output, Project, until};
use crate::support::web::{Nginx, Web, hold, reply, tunnel};

fn project(body: &str) -> Project {
    Project::new().runbook("asks", &format!("const NEEDS = [\"http.*:**\"];\n{body}"))
}

fn run(body: &str) -> Output {
    call(&project(body), ["run", "asks"])
}

/// Runs a script that prints what a call came to: its status, or the kind and the cause of its failure.
fn comes_to(call: &str) -> String {
    let output = run(&format!(
        "try {{ print({call}.status) }} catch (e) {{ print(`${{e.kind}} ${{e.cause}}`); print(e.message) }}"
    ));
    output.success().stdout
}

#[track_caller]
fn shows(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in\n{text}");
}

#[test]
fn a_real_server_is_asked_over_both_protocols_and_connections_are_used_again() {
    let Some(nginx) = Nginx::start() else { return };
    let [tls, .., plain] = nginx.ports;
    let body = format!(
        r#"let o = #{{ ca: "ca.pem" }};
        let first = http_get("https://localhost:{tls}/info", o).json;
        let second = http_get("https://localhost:{tls}/info?again", o).json;
        print(`${{first.protocol}} ${{second.requests}} ${{first.connection == second.connection}}`);
        print(http_get("http://127.0.0.1:{plain}/info").json.protocol);
        print(http_get("http://127.0.0.1:{plain}/moved").url);
        print(`packed ${{http_get("http://127.0.0.1:{plain}/large").body.len()}}`);
        let named = http_get("https://127.0.0.1:{tls}/info", #{{ ca: "ca.pem", sni: "api.example.com" }}).json;
        print(`named ${{named.host}} ${{named.name}}`);
        print(http_get("http://127.0.0.1:{plain}/info", #{{ sni: "api.example.com" }}).json.host);
        print(http_read("HEAD", "http://127.0.0.1:{plain}/large").headers["content-type"]);
        try {{ http_get("http://127.0.0.1:{plain}/missing?secret=hunter2") }} catch (e) {{ print(`${{e.message}} ${{e.status}}`) }}
        wait_http("http://127.0.0.1:{plain}/info", #{{ contains: "HTTP/1.1" }});
        print(`ok ${{http_ok("http://127.0.0.1:{plain}/info")}} ${{http_ok("http://127.0.0.1:{plain}/missing")}}`);"#
    );
    let project = project(&body).file("ca.pem", &nginx.authority());
    let text = call(&project, ["run", "asks"]).success().stdout;
    for part in [
        "HTTP/2.0 2 true",
        "HTTP/1.1",
        &format!("http://127.0.0.1:{plain}/info"),
        "packed 100000",
        "named api.example.com api.example.com",
        "application/json",
        &format!("GET http://127.0.0.1:{plain}/missing: 404 Not Found: no such thing 404"),
        "ok true false",
    ] {
        shows(&text, part);
    }
    assert!(!text.contains("hunter2"), "{text}");
    let replayed = call(&project, ["replay", "1"]).success().stdout;
    shows(&replayed, "packed 100000");
}

#[test]
fn a_certificate_is_trusted_for_a_reason_or_not_at_all() {
    let Some(nginx) = Nginx::start() else { return };
    let [right, expired, other, plain] = nginx.ports;
    let (good, bad) = (nginx.pin("right"), nginx.pin("other"));
    let authority = format!("ca: `{}`", nginx.authority());
    for (port, options, expected) in [
        (right, String::new(), "tls unknown_issuer"),
        (right, authority.clone(), "200"),
        (right, format!("pin: \"{good}\""), "200"),
        (right, format!("pin: \"{}\"", good.replace(':', "").to_lowercase()), "200"),
        (right, format!("pin: \"{bad}\""), "tls other_pin"),
        (expired, authority.clone(), "tls expired"),
        (other, authority.clone(), "tls name_mismatch"),
        (other, format!("{authority}, sni: \"other.example.com\""), "200"),
        (other, format!("pin: \"{bad}\""), "200"),
        (plain, authority.clone(), "tls handshake"),
        (right, "ca: \"-----BEGIN NOTHING\"".to_owned(), "invalid"),
        (right, "pin: \"12:34\"".to_owned(), "invalid"),
    ] {
        let text = comes_to(&format!("http_get(\"https://localhost:{port}/info\", #{{ {options} }})"));
        shows(&text, expected);
        if expected.contains("other_pin") {
            shows(&text, &good.replace(':', "").to_lowercase());
        }
    }
}

#[test]
fn each_kind_of_bad_server_is_told_apart() {
    let raw = |text: &'static str| {
        Web::start(move |_, _, stream| {
            let _ = stream.write_all(text.as_bytes());
        })
    };
    let hang = Web::start(|_, _, stream| hold(stream));
    let cut = raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
    let mute = raw("");
    let garbage = raw("SSH-2.0-OpenSSH_9.2\r\n\r\n");
    let endless = Web::start(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let slow = Web::start(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(100));
        }
    });
    let bomb = Web::start(|_, _, stream| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&vec![0; 64 << 20]).unwrap();
        reply(stream, "200 OK", "Content-Encoding: gzip\r\n", &packed.finish().unwrap());
    });
    let around = Web::start(|_, _, stream| reply(stream, "302 Found", "Location: /again\r\n", b""));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (call, expected) in [
        (format!("http_get(\"{}\", #{{ timeout: \"300ms\" }})", hang.url("/")), "timed_out"),
        (format!("http_get(\"{}\", #{{ timeout: \"400ms\" }})", slow.url("/")), "timed_out"),
        (format!("http_get(\"{}\")", cut.url("/")), "lost"),
        (format!("http_get(\"{}\")", mute.url("/")), "lost"),
        (format!("http_get(\"{}\")", garbage.url("/")), "protocol"),
        (format!("http_get(\"{}\")", endless.url("/")), "too_large"),
        (format!("http_get(\"{}\", #{{ max_bytes: 1000000 }})", bomb.url("/")), "too_large"),
        (format!("http_get(\"{}\")", around.url("/")), "redirect"),
        (format!("http_get(\"http://127.0.0.1:{closed}/\")"), "refused"),
        ("http_get(\"http://nowhere.invalid/\")".to_owned(), "unreachable"),
        ("http_get(\"http://op:hunter2@127.0.0.1/\")".to_owned(), "invalid"),
        ("http_get(\"ftp://127.0.0.1/\")".to_owned(), "invalid"),
    ] {
        let text = comes_to(&call);
        shows(&text, &format!("{expected} "));
    }
    assert_eq!(around.requests().len(), 6, "one request and five redirects");
}

#[test]
fn what_passes_is_tried_again_and_each_try_is_told() {
    let down = |failures: usize, headers: &'static str| {
        Web::start(move |_, number, stream| {
            let is_up = number > failures;
            reply(stream, if is_up { "200 OK" } else { "503 Service Unavailable" }, headers, b"{}");
        })
    };
    let web = down(2, "Retry-After: 1\r\n");
    let begun = Instant::now();
    let body = format!("print(`tries ${{http_post(\"{}\", #{{ retry: 3 }}).attempts}}`);", web.url("/"));
    let project = project(&body);
    shows(&call(&project, ["run", "asks"]).success().stdout, "tries 3");
    assert!(begun.elapsed() >= Duration::from_secs(2), "the server asked for a second each time");
    let events = call(&project, ["log", "1", "--json"]).success().stdout;
    shows(&events, "503 Service Unavailable, tried again after 1s");

    // Without `retry` nothing is sent twice; longer than the call may take nobody waits.
    let web = down(9, "Retry-After: 3600\r\n");
    shows(&comes_to(&format!("http_post(\"{}\")", web.url("/"))), "status ");
    shows(&comes_to(&format!("http_get(\"{}\", #{{ retry: 5 }})", web.url("/"))), "503 Service Unavailable");
    assert_eq!(web.requests().len(), 2);
    let web = down(9, "");
    let options = "#{ retry: #{ times: 3, delay: \"1ms\", on: [503] } }";
    shows(&comes_to(&format!("http_get(\"{}\", {options})", web.url("/"))), "(try 3)");
    assert_eq!(web.requests().len(), 3);

    // What may have happened is not done twice.
    let web = Web::start(|_, _, _| {});
    shows(&comes_to(&format!("http_post(\"{}\", {options})", web.url("/"))), "lost");
    assert_eq!(web.requests().len(), 1);
    shows(&comes_to(&format!("http_put(\"{}\", {options})", web.url("/"))), "lost");
    assert_eq!(web.requests().len(), 4);
}

#[test]
fn a_redirect_is_held_against_needs_and_takes_no_credentials_along() {
    let there = Web::says("200 OK", r#"{"there":true}"#);
    let to = there.url("/there?token=hunter2");
    let here = Web::start(move |_, _, stream| {
        reply(stream, "307 Temporary Redirect", &format!("Location: {to}\r\n"), b"");
    });
    let (here_url, there_url) = (here.url("/a"), there.url("/there"));
    let asks = |needs: &str, body: &str| {
        let text = format!("const NEEDS = [{needs}, \"secret.read\"];\nlet s = secret(\"api\");\n{body}");
        let project = Project::new().runbook("asks", &text).variable("NLRUN_SECRET_API", "correct horse");
        call(&project, ["run", "asks"])
    };
    let both = format!("\"http.*:{here_url}\", \"http.*:{there_url}\"");
    let get = format!("print(http_get(\"{here_url}\", #{{ bearer: s, headers: #{{ \"X-Key\": s }} }}).url);");
    shows(&asks(&both, &get).success().stdout, &there_url);
    let arrived = there.requests().join("\n");
    assert!(arrived.contains("GET /there?token=hunter2") && !arrived.contains("correct horse"), "{arrived}");
    shows(&here.requests()[0], "authorization: Bearer correct horse");

    let one = format!("\"http.*:{here_url}\"");
    let output = asks(&one, &get).ends(1);
    shows(&output.stderr, &format!("http.get:{there_url}"));
    assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    asks(&one, &format!("http_ok(\"{here_url}\", #{{ bearer: s }});")).ends(1);
    let post = format!("http_post(\"{here_url}\", #{{ bearer: s, json: 1 }});");
    shows(&asks(&both, &post).ends(1).stderr, "307 Temporary Redirect");
    let read = format!("http_read(\"POST\", \"{here_url}\", #{{ json: #{{ s: s }} }});");
    shows(&asks(&both, &read).ends(1).stderr, "with its body to another server");
    let given = format!("print(http_get(\"{here_url}\", #{{ ok: 307 }}).status);");
    shows(&asks(&one, &given).success().stdout, "307");
    assert_eq!(there.requests().len(), 1);
}

#[test]
fn a_plan_looks_and_lists_and_the_check_knows_the_capability() {
    let web = Web::says("200 OK", r#"{"id":7}"#);
    let url = web.url("/v1/hosts");
    let body = format!(
        "let id = http_get(\"{url}\").json.id; print(`id ${{id}}`);
         let made = http_post(\"{url}\", #{{ json: #{{ id: id }}, expect: #{{ status: 201, json: #{{ name: \"x\" }} }} }});
         print(`made ${{made.status}} ${{made.json.name}}`);
         http_delete(\"{url}/7\");"
    );
    let output = call(&project(&body), ["plan", "asks"]).success();
    for part in ["id 7", "made 201 x", "http.post", "http.delete"] {
        shows(&output.stdout, part);
    }
    assert_eq!(web.requests().len(), 1, "a plan only looks");

    let needs = |need: &str| {
        let text = format!(
            "const NEEDS = [\"{need}\"];\nhttp_read(\"POST\", \"HTTPS://A.example.com:443/v1/x?q=1\");"
        );
        call(&Project::new().runbook("asks", &text), ["check", "asks"])
    };
    needs("http.read:https://a.example.com/v1/**").success();
    needs("http.read:https://*.example.com/v1/x").success();
    for need in ["http.get:**", "http.read:https://*/x", "http.read:https://a.example.com/v2/**"] {
        shows(&needs(need).ends(1).stderr, "http.read:https://a.example.com/v1/x");
    }
}

#[test]
fn an_act_in_doubt_is_left_to_a_person_and_a_read_is_repeated() {
    let web = Web::start(|request, _, stream| {
        if request.starts_with("POST") {
            // Never answered: the run is killed meanwhile, or may be.
            hold(stream);
        } else {
            reply(stream, "200 OK", "", b"[1]");
        }
    });
    for (call_text, kill, code) in [
        (format!("http_post(\"{}\", #{{ json: #{{ a: 1 }} }});", web.url("/act")), 2, 3),
        (format!("print(http_get(\"{}\").json.len());", web.url("/read")), 2, 0),
    ] {
        let project = project(&call_text);
        let mut command = project.command(["run", "asks"]);
        command.env("NLRUN_TEST_KILL_AFTER", kill.to_string()).stdout(std::process::Stdio::null());
        assert_eq!(finish(command.spawn().unwrap()).code, -1);
        let output = call(&project, ["resume", "1"]).ends(code);
        if code == 3 {
            shows(&output.stderr, &format!("`http.post` on `{}`", web.url("/act")));
            let output = call(&project, ["resume", "1", "--done", "1"]).success();
            assert!(!output.stderr.contains("panicked"), "{output:?}");
        }
        assert_eq!(verified(&store(&project), 1), Status::Done);
    }
    assert!(web.requests().iter().any(|request| request.starts_with("GET /read")));
}

#[test]
fn a_secret_that_an_act_answered_is_lost_with_the_run_and_never_sent_as_a_mark() {
    let web = Web::says("200 OK", r#"{"token":"correct horse battery"}"#);
    let body = format!(
        "let token = http_post(\"{0}\", #{{ secrets: [\"/token\"] }}).json.token;
         http_post(\"{0}\", #{{ bearer: token }});",
        web.url("/")
    );
    let project = project(&body);
    let mut command = project.command(["run", "asks"]);
    // Begun, then what the first request was, what it said, and how it ended.
    command.env("NLRUN_TEST_KILL_AFTER", "4").stdout(std::process::Stdio::null());
    assert_eq!(finish(command.spawn().unwrap()).code, -1);
    let before = web.requests().len();
    let output = call(&project, ["resume", "1"]).ends(1);
    shows(&output.stderr, "`answer/token` came in an answer");
    assert_eq!(web.requests().len(), before);
}

#[test]
fn a_cancelled_run_does_not_wait_for_an_answer_and_still_cleans_up() {
    let web = Web::start(|request, _, stream| {
        if request.starts_with("GET") { hold(stream) } else { reply(stream, "204 No Content", "", b"") }
    });
    let body = format!(
        "defer(|| http_delete(\"{0}\")); try {{ http_get(\"{0}\") }} catch {{ }} http_put(\"{0}\");",
        web.url("/")
    );
    let project = project(&body);
    let child = project.spawn(["run", "asks"]);
    until("the server is asked", || !web.requests().is_empty());
    let begun = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    finish(child).ends(5);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let methods: Vec<_> = web.requests().iter().map(|request| request[..3].to_owned()).collect();
    assert_eq!(methods, ["GET", "DEL"]);
}

#[test]
fn a_body_arrives_as_it_was_described() {
    let web = Web::says("201 Created", r#"{"ok":true}"#);
    let url = web.url("/");
    let body = format!(
        r#"http_post("{url}", #{{ form: #{{ a: "x y&", n: [1, 2] }} }});
        http_put("{url}", #{{ multipart: #{{ f: #{{ file: "notes.txt", type: "text/plain" }} }} }});
        http_patch("{url}", #{{ body: "raw", headers: #{{ "Content-Type": "text/csv" }} }});
        http_post("{url}?a=1", #{{ query: #{{ b: "ü&" }}, json: #{{ list: [1, "x", ()] }} }});
        print(http_delete("{url}").status);"#
    );
    let output = call(&project(&body).file("notes.txt", "two\nlines"), ["run", "asks"]).success();
    shows(&output.stdout, "201");
    let requests = web.requests();
    for (request, parts) in requests.iter().zip([
        vec![
            "POST / HTTP/1.1",
            "application/x-www-form-urlencoded",
            "\r\n\r\na=x+y%26&n=1&n=2",
            "user-agent: nlrun/",
        ],
        vec![
            "PUT ",
            "multipart/form-data; boundary=nlrun-",
            "filename=\"notes.txt\"\r\nContent-Type: text/plain\r\n\r\ntwo\nlines\r\n--",
        ],
        vec!["PATCH ", "content-type: text/csv", "\r\n\r\nraw"],
        vec!["POST /?a=1&b=%C3%BC%26 ", "application/json", r#"{"list":[1,"x",null]}"#],
        vec!["DELETE "],
    ]) {
        for part in parts {
            shows(request, part);
        }
    }
    assert_eq!(requests.len(), 5);
}

#[test]
fn the_proxy_of_the_environment_is_asked_unless_an_address_is_given() {
    let proxy = Web::says("200 OK", r#"{"by":"proxy"}"#);
    let own = Web::says("200 OK", r#"{"by":"server"}"#);
    let body = format!(
        "print(http_get(\"http://nowhere.invalid/x\").json.by);
         print(http_get(\"{}\", #{{ sni: \"nowhere.invalid\" }}).json.by);",
        own.url("/")
    );
    let project = project(&body).variable("http_proxy", &proxy.url(""));
    let output = call(&project, ["run", "asks"]).success();
    assert!(output.stdout.contains("proxy") && output.stdout.contains("server"), "{}", output.stdout);
    shows(&proxy.requests()[0], "GET http://nowhere.invalid/x HTTP/1.1");
    shows(&own.requests()[0], "host: nowhere.invalid");
}

#[test]
fn a_proxy_gets_a_tunnel_for_tls_and_sees_nothing_of_what_goes_through() {
    let Some(nginx) = Nginx::start() else { return };
    let [tls, _, other, _] = nginx.ports;
    let text = |url: &str, options: &str| {
        format!(
            "const NEEDS = [\"http.*:**\", \"secret.read\"];
             try {{ print(http_get(\"{url}\", #{{ bearer: secret(\"api\"), {options} }}).json.name) }}
             catch (e) {{ print(`${{e.kind}} ${{e.cause}} ${{e.message}}`) }}"
        )
    };
    let asks = |proxy: &str, url: &str, options: &str, more: &[(&str, &str)]| {
        let mut project = Project::new()
            .runbook("asks", &text(url, options))
            .file("ca.pem", &nginx.authority())
            .variable("NLRUN_SECRET_API", "correct horse")
            .variable("https_proxy", proxy);
        for (name, value) in more {
            project = project.variable(name, value);
        }
        call(&project, ["run", "asks"]).success().stdout
    };
    let url = "https://api.example.com/info";
    for host in ["127.0.0.1", "[::1]"] {
        if host == "[::1]" && std::net::TcpListener::bind("[::1]:0").is_err() {
            eprintln!("skipped: this machine has no IPv6");
            continue;
        }
        let proxy = tunnel(host, tls);
        // The name is for the proxy to find, and its certificate is held against the same authorities as ever.
        shows(&asks(&proxy.url(""), url, "ca: \"ca.pem\"", &[]), "api.example.com");
        shows(&asks(&proxy.url(""), url, "", &[]), "tls unknown_issuer");
        let seen = proxy.requests().concat();
        shows(&seen, "CONNECT api.example.com:443 HTTP/1.1");
        assert!(!seen.contains("correct horse") && !seen.contains("/info"), "{seen}");
    }
    let proxy = tunnel("127.0.0.1", other);
    shows(&asks(&proxy.url(""), url, "ca: \"ca.pem\"", &[]), "tls name_mismatch");
    // Addresses of version 6 go through it in brackets.
    let pin = format!("pin: \"{}\"", nginx.pin("other"));
    asks(&proxy.url(""), "https://[2001:db8::7]:8443/info", &pin, &[]);
    shows(&proxy.requests().concat(), "CONNECT [2001:db8::7]:8443 HTTP/1.1");

    // What is excepted does not pass it: by name, and by an address of version 6.
    let count = proxy.requests().len();
    let near = format!("https://localhost:{tls}/info");
    shows(
        &asks(&proxy.url(""), &near, "ca: \"ca.pem\"", &[("no_proxy", "localhost,[::1],::1")]),
        "localhost",
    );
    let [closed] = crate::support::sshd::free_ports();
    let here = asks(&proxy.url(""), &format!("https://[::1]:{closed}/x"), "", &[("no_proxy", "::1")]);
    assert!(here.starts_with("refused") || here.starts_with("unreachable"), "{here}");
    assert_eq!(proxy.requests().len(), count);

    let refusing = Web::says("407 Proxy Authentication Required", "who are you?");
    let said = asks(&refusing.url(""), url, "ca: \"ca.pem\"", &[]);
    shows(&said, "unreachable");
    shows(&said, "proxy");
    let [closed] = crate::support::sshd::free_ports();
    shows(&asks(&format!("http://127.0.0.1:{closed}"), url, "", &[]), "refused");
}

#[test]
fn what_is_no_text_comes_as_bytes() {
    let packed: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let sent = packed.clone();
    let web = Web::start(move |_, _, stream| {
        reply(stream, "200 OK", "Content-Type: application/octet-stream\r\n", &sent);
    });
    let target = tempfile::tempdir().unwrap();
    let path = target.path().join("backup").display().to_string();
    let body = format!(
        "let a = http_get(\"{}\", #{{ bytes: true }}); print(`${{a.body.len()}} ${{a.json.type_of()}}`);
         artifact(\"backup\", a.body); file_put(\"localhost\", \"{path}\", a.body);",
        web.url("/")
    );
    let project = Project::new()
        .runbook("asks", &format!("const NEEDS = [\"http.*:**\", \"file.put:localhost:/**\"];\n{body}"));
    shows(&call(&project, ["run", "asks"]).success().stdout, "70000 ()");
    assert_eq!(std::fs::read(&path).unwrap(), packed);
    let kept = project.command(["show", "1", "--artifact", "backup"]).output().unwrap();
    assert_eq!(kept.stdout, packed);
    drop(web);
    shows(&call(&project, ["replay", "1"]).success().stdout, "70000 ()");
    let both = "http_get(\"http://127.0.0.1:9/\", #{ bytes: true, secrets: [\"/x\"] });";
    shows(&run(both).ends(1).stderr, "leave `bytes` out");
}

/// An appliance as many are: a form with a token, a login that answers with a redirect, a session that moves.
fn appliance() -> Web {
    Web::start(|request, _, stream| {
        let cookie = request.lines().find_map(|line| line.strip_prefix("cookie: ")).unwrap_or_default();
        let (status, set) = match (request.split(' ').nth(1).unwrap(), cookie) {
            ("/form", "") => {
                ("200 OK", "Set-Cookie: pre=0123456789abcdef-first; Path=/\r\nSet-Cookie: lang=en\r\n")
            }
            ("/login", "pre=0123456789abcdef-first; lang=en")
                if request.ends_with("password=correct+horse") =>
            {
                (
                    "302 Found",
                    "Location: /home\r\nSet-Cookie: sid=0123456789abcdef-second; HttpOnly\r\nSet-Cookie: pre=; Max-Age=0\r\n",
                )
            }
            ("/home", "lang=en; sid=0123456789abcdef-second") => ("200 OK", ""),
            ("/logout", "lang=en; sid=0123456789abcdef-second") => {
                ("200 OK", "Set-Cookie: sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT\r\n")
            }
            _ => ("403 Forbidden", ""),
        };
        // Some repeat what they were sent.
        reply(stream, status, set, format!("hello {cookie}").as_bytes());
    })
}

const SESSION: &str = "let s = http_get(\"AT/form\", #{ cookies: true }).cookies;
    let login = #{ password: secret(\"api\") };
    s = http_read(\"POST\", \"AT/login\", #{ form: login, headers: #{ cookie: s }, cookies: true, ok: 302 }).cookies;
    print(http_get(\"AT/home\", #{ headers: #{ cookie: s } }).body);
    let left = http_read(\"POST\", \"AT/logout\", #{ headers: #{ cookie: s }, cookies: true }).cookies;
    try { http_get(\"AT/home\", #{ headers: #{ cookie: left } }) } catch (e) { print(e.status) }";

#[test]
fn a_session_is_kept_by_a_secret_and_never_recorded() {
    let web = appliance();
    let text = SESSION.replace("AT/", &web.url("/"));
    let text = format!("const NEEDS = [\"http.*:**\", \"secret.read\"];\n{text}");
    let project = Project::new().runbook("asks", &text).variable("NLRUN_SECRET_API", "correct horse");
    let output = call(&project, ["run", "asks"]).success();
    shows(&output.stdout, "403");
    let events = call(&project, ["log", "1", "--json"]).success().stdout;
    for text in [&output.stdout, &output.stderr, &events] {
        assert!(!text.contains("0123456789abcdef"), "{text}");
    }
    assert!(!std::fs::read(project.database()).unwrap().windows(16).any(|part| part == b"0123456789abcdef"));
    let count = web.requests().len();
    shows(&call(&project, ["replay", "1"]).success().stdout, "403");
    assert_eq!(web.requests().len(), count);

    // Killed behind the login, the run logs in again when it is resumed; nothing sends the mark of a cookie.
    for kill in [6, 8, 10] {
        let mut command = project.command(["run", "asks"]);
        command.env("NLRUN_TEST_KILL_AFTER", kill.to_string()).stdout(std::process::Stdio::null());
        assert_eq!(finish(command.spawn().unwrap()).code, -1, "{kill}");
        shows(&call(&project, ["resume", "last"]).success().stdout, "403");
    }
    assert!(!web.requests().concat().contains("secret:"));
}
