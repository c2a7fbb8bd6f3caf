use super::super::remote::{Place, Script};
use super::*;
use crate::gate::{Done, Effect, Halt, Permit, Seen};
use crate::model::effect::{Kind, Target};

#[test]
fn a_file_is_made_once_and_a_second_pass_sends_nothing() {
    let lab = Lab::new();
    let script = r#"file_put("localhost", dir + "/a", "hello\n", #{ mode: "0640" })"#;
    let planned = lab.plan(script);
    assert!(lab.names().is_empty());
    assert!(planned.diff().ends_with("@@ -0,0 +1 @@\n+hello\n"), "{}", planned.diff());
    lab.settles(script);
    assert_eq!((lab.read("a").as_str(), lab.mode("a")), ("hello\n", 0o640));
    assert_eq!(lab.names(), ["a"]);
}

#[test]
fn a_changed_content_is_shown_as_a_diff_and_keeps_mode_and_owner() {
    let lab = Lab::new();
    let path = lab.file("a", "one\ntwo\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4711)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(&path, Some(12345), Some(54321)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4711)).unwrap();
    }
    let ran = lab.apply(r#"file_put("localhost", dir + "/a", "one\n2\n")"#);
    assert!(ran.diff().ends_with("@@ -1,2 +1,2 @@\n one\n-two\n+2\n"), "{}", ran.diff());
    let found = fs::metadata(&path).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o4711);
    if is_root {
        assert_eq!((found.uid(), found.gid()), (12345, 54321));
    }
}

#[test]
fn only_mode_and_owner_are_set_when_the_content_is_equal() {
    let lab = Lab::new();
    lab.file("a", "x");
    let inode = lab.inode("a");
    let script = r#"file_put("localhost", dir + "/a", "x", #{ mode: "0600" })"#;
    assert_eq!(lab.plan(script).diff(), "mode 0644 → 0600\n");
    lab.settles(script);
    assert_eq!((lab.inode("a"), lab.mode("a")), (inode, 0o600));
    if rustix::process::geteuid().is_root() {
        lab.settles(r#"file_put("localhost", dir + "/a", "x", #{ owner: "nobody", group: 12345 })"#);
        let found = fs::metadata(lab.at("a")).unwrap();
        assert_eq!((found.uid(), found.gid(), found.ino()), (65534, 12345, inode));
    }
}

#[test]
fn contents_come_as_text_bytes_or_from_the_project() {
    let lab = Lab::new();
    let bytes: Vec<u8> = (0..=255u8).cycle().take(3000).collect();
    lab.source("files/blob", &bytes);
    lab.settles(r#"file_put("localhost", dir + "/a", #{ source: "files/blob" })"#);
    assert_eq!(fs::read(lab.at("a")).unwrap(), bytes);
    lab.settles(r#"let b = blob(3, 0); b[1] = 255; file_put("localhost", dir + "/b", b)"#);
    assert_eq!(fs::read(lab.at("b")).unwrap(), [0, 255, 0]);
    lab.settles(r#"file_put("localhost", dir + "/c", #{ content: "" })"#);
    assert_eq!(lab.read("c"), "");
    for wrong in [
        r#"file_put("localhost", dir + "/d")"#,
        r#"file_put("localhost", dir + "/d", "x", #{ source: "files/blob" })"#,
        r#"file_put("localhost", dir + "/d", #{ source: "../outside" })"#,
        r#"file_put("localhost", dir + "/d", "x", #{ mode: 644 })"#,
        r#"file_put("localhost", dir + "/d", "x", #{ mode: "rw" })"#,
        r#"file_put("localhost", dir + "/d", "x", #{ owner: "-R" })"#,
        r#"file_put("localhost", dir + "/d", "x", #{ validate: "true" })"#,
        r#"file_put("localhost", dir + "/d", "x", #{ moed: "0600" })"#,
        r#"file_put("localhost", "d", "x")"#,
        r#"file_put("localhost", dir + "/../d", "x")"#,
    ] {
        assert_eq!(lab.apply(wrong).failure().kind, "invalid", "{wrong}");
    }
    assert_eq!(lab.names(), ["a", "b", "c"]);
}

#[test]
fn a_large_file_is_not_shown_and_arrives_whole() {
    let lab = Lab::new();
    let large: Vec<u8> = (0..20u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    lab.source("files/large", &large);
    let script = r#"file_put("localhost", dir + "/large", #{ source: "files/large" })"#;
    lab.settles(script);
    assert!(fs::read(lab.at("large")).unwrap() == large);
    let diff = lab.plan(r#"file_put("localhost", dir + "/large", "x")"#).diff();
    assert!(diff.contains("content: 20971520 bytes, sha256 ") && diff.len() < 600, "{diff}");
}

#[test]
fn any_name_is_taken_as_it_is() {
    let lab = Lab::new();
    for name in ["a b", "-n", "it's", "\"q\"", "$HOME", "a\nb", "`id`", "*", "ä", "a\\b", &"x".repeat(250)] {
        let literal = serde_json::to_string(name).unwrap();
        lab.settles(&format!("file_put(\"localhost\", dir + \"/\" + {literal}, {literal})"));
        assert_eq!(lab.read(name), name);
        lab.settles(&format!("line_ensure(\"localhost\", dir + \"/\" + {literal}, \"more\")"));
        lab.settles(&format!("file_absent(\"localhost\", dir + \"/\" + {literal})"));
    }
    assert!(lab.names().is_empty());
}

#[test]
fn what_does_not_pass_its_validation_does_not_become_live() {
    let lab = Lab::new();
    lab.file("a", "good\n");
    let put = |text: &str, validate: &str| {
        lab.apply(&format!(r#"file_put("localhost", dir + "/a", "{text}", #{{ validate: "{validate}" }})"#))
    };
    let ran = put("bad\\n", "echo nonsense in line 1 >&2; grep -q good %s");
    assert_eq!(ran.reason(), "validate");
    assert!(ran.failure().message.contains("nonsense in line 1"), "{}", ran.failure().message);
    assert_eq!((lab.read("a").as_str(), lab.names()), ("good\n", vec!["a".to_owned()]));
    assert_eq!(put("good too\\n", "grep -q good '%s'").changes(), 1);
    assert_eq!(lab.read("a"), "good too\n");
}

#[test]
fn the_old_file_is_kept_on_request() {
    let lab = Lab::new();
    lab.file("a", "old");
    let ran = lab.apply(r#"file_put("localhost", dir + "/a", "new", #{ backup: true })"#);
    let map = ran.value().cast::<rhai::Map>();
    let backup = PathBuf::from(map["backup"].clone().into_string().unwrap());
    assert_eq!((fs::read_to_string(&backup).unwrap().as_str(), lab.read("a").as_str()), ("old", "new"));
    assert!(map["changed"].as_bool().unwrap());
    let again = lab.apply(r#"file_put("localhost", dir + "/a", "new", #{ backup: true })"#);
    assert!(again.value().cast::<rhai::Map>()["backup"].is_unit());
    assert_eq!(lab.names().len(), 2);
}

#[test]
fn a_link_stays_unless_it_shall_be_replaced() {
    let lab = Lab::new();
    lab.file("real/a", "old");
    let link = |name: &str, to: &str| std::os::unix::fs::symlink(to, lab.at(name)).unwrap();
    link("link", "real/a");
    link("chain", "link");
    lab.settles(r#"file_put("localhost", dir + "/chain", "new")"#);
    assert_eq!(lab.read("real/a"), "new");
    assert!(fs::symlink_metadata(lab.at("link")).unwrap().is_symlink());
    lab.settles(r#"file_put("localhost", dir + "/link", "own", #{ follow: false })"#);
    assert!(fs::symlink_metadata(lab.at("link")).unwrap().is_file());
    link("folder", "real");
    assert_eq!(lab.apply(r#"file_put("localhost", dir + "/folder", "x")"#).reason(), "directory");
    lab.settles(r#"file_put("localhost", dir + "/folder", "x", #{ follow: false })"#);
    assert_eq!((lab.read("folder").as_str(), lab.read("real/a").as_str()), ("x", "new"));
    link("round", "round");
    assert_eq!(lab.apply(r#"file_put("localhost", dir + "/round", "x")"#).reason(), "loop");
    link("dangling", "real/b");
    lab.settles(r#"file_put("localhost", dir + "/dangling", "x")"#);
    assert_eq!(lab.read("real/b"), "x");
}

#[test]
fn what_stands_in_the_way_is_named() {
    let lab = Lab::new();
    lab.file("file", "x");
    lab.file("folder/x", "x");
    let reason = |path: &str| {
        lab.apply(&format!(r#"file_put("localhost", dir + "/{path}", "x", #{{ mode: "0600" }})"#)).reason()
    };
    assert_eq!(reason("folder"), "directory");
    assert_eq!(reason("missing/a"), "parent");
    assert_eq!(reason("file/a"), "not_directory");
    assert_eq!(lab.plan(r#"file_put("localhost", dir + "/missing/a", "x")"#).changes(), 1);
    lab.settles(r#"file_put("localhost", dir + "/p/q/a", "x", #{ parents: true, mode: "0600" })"#);
    assert_eq!((lab.mode("p/q"), lab.mode("p/q/a")), (0o755, 0o600));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        lab.at("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert_eq!(reason("pipe"), "special");
}

#[test]
fn what_may_not_be_touched_is_no_absence() {
    let lab = Lab::new();
    lab.file("closed/a", "x");
    fs::set_permissions(lab.at("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    if is_root && !Path::new("/usr/bin/sudo").exists() {
        return;
    }
    // The folder of the test belongs to root and is closed, so for anyone else nothing in it can be seen.
    let options = if is_root { r#"#{ sudo: "nobody" }"# } else { "#{ }" };
    if !is_root {
        fs::set_permissions(lab.at("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    }
    for call in
        ["file_put(h, p, \"y\", o)", "file_stat(h, p, o)", "file_absent(h, p, o)", "file_read(h, p, o)"]
    {
        let script = format!("let h = \"localhost\"; let p = dir + \"/closed/a\"; let o = {options}; {call}");
        let ran = lab.apply(&script);
        assert_eq!(ran.reason(), "denied", "{call}");
        assert!(ran.failure().message.contains("permission denied"), "{call}");
    }
    fs::set_permissions(lab.at("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_secret_is_in_the_file_and_nowhere_else() {
    let lab = Lab::new();
    lab.secret("db", "correct horse battery");
    lab.source("templates/c.j2", "user={{ user }}\npassword={{ db.password }}\n");
    let direct = r#"file_put("localhost", dir + "/a", secret("db"), #{ mode: "0600" })"#;
    let template = r#"template_put("localhost", dir + "/b", "templates/c.j2", #{ user: "u", db: #{ password: secret("db") } }, #{ mode: "0600" })"#;
    for (script, name) in [(direct, "a"), (template, "b")] {
        lab.file(name, "old secret value");
        let planned = lab.plan(script);
        assert!(planned.diff().contains("content (secret) would change\n"), "{}", planned.diff());
        lab.settles(script);
        assert!(lab.read(name).contains("correct horse battery"));
        let hash = crate::store::sha256(lab.read(name).as_bytes());
        for json in [planned.json(), lab.plan(script).json(), lab.apply(script).json()] {
            assert!(
                json.contains("$secret") && !json.contains(&hash) && !json.contains("old secret"),
                "{json}"
            );
        }
    }
    let refused = lab.apply(
        r#"file_put("localhost", dir + "/a", secret("db"), #{ mode: "0640", validate: "cat %s >&2; false" })"#,
    );
    assert_eq!(refused.changes(), 1, "nothing is validated when only the mode changes");
    lab.file("a", "other");
    let refused = lab.apply(
        r#"file_put("localhost", dir + "/a", secret("db"), #{ validate: "cut -c1-9 %s >&2; false" })"#,
    );
    assert_eq!(refused.reason(), "validate");
    let mut files = 0;
    for entry in fs::read_dir(lab.dir.path().join("state")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files += 1;
            let bytes = fs::read(&path).unwrap();
            for needle in ["correct horse", "correct h", "old secret value"] {
                assert!(
                    !bytes.windows(needle.len()).any(|part| part == needle.as_bytes()),
                    "{path:?} {needle}"
                );
            }
        }
    }
    assert!(files >= 2);
}

#[test]
fn a_secret_beside_what_changes_is_not_in_the_diff() {
    let lab = Lab::new();
    lab.secret("db", "correct horse battery");
    lab.file("a", "password=correct horse battery\n");
    let script = r#"secret("db"); line_ensure("localhost", dir + "/a", "more")"#;
    for ran in [lab.plan(script), lab.apply(script)] {
        assert!(ran.diff().contains(" password=«secret:db»\n+more\n"), "{}", ran.diff());
        assert!(!ran.json().contains("correct horse"));
    }
    assert_eq!(lab.read("a"), "password=correct horse battery\nmore\n");
}

#[test]
fn a_secret_in_an_answer_is_for_the_script_and_not_for_the_log() {
    let lab = Lab::new();
    lab.secret("db", "correct horse battery");
    std::os::unix::fs::symlink("/srv/correct horse battery", lab.at("link")).unwrap();
    let ran = lab.apply(r#"secret("db"); file_stat("localhost", dir + "/link").target"#);
    assert_eq!(ran.value().into_string().unwrap(), "/srv/correct horse battery");
    assert!(
        ran.json().contains("/srv/«secret:db»") && !ran.json().contains("correct horse"),
        "{}",
        ran.json()
    );
}

#[test]
fn a_secret_in_a_name_or_across_an_edge_is_not_recorded() {
    let lab = Lab::new();
    lab.secret("db", "correct horse battery");
    lab.file("correct horse battery", "x".repeat(65530) + "correct horse battery");
    let session = lab.session(Mode::Apply);
    let gate = session.gate().clone();
    let script = r#"secret("db"); let p = dir + "/correct horse battery";
        file_read("localhost", p); file_fetch("localhost", p, "correct horse battery"); file_put("localhost", p, "new")"#;
    let ran = lab.run_session(session, script);
    assert_eq!(ran.changes(), 1);
    assert!(ran.json().contains("/«secret:db»") && !ran.json().contains("correct horse"), "{}", ran.json());
    let (reader, run) = (gate.store.reader().unwrap(), gate.recorder.run());
    let mut kept = Vec::new();
    for record in reader.events(run, crate::model::run::Seq(0), 1000).unwrap() {
        kept.extend(reader.bytes(run, record.seq).unwrap_or_default());
    }
    assert!(kept.len() > 65530 && !String::from_utf8_lossy(&kept).contains("horse"));
}

#[test]
fn a_template_is_rendered_for_each_host() {
    let lab = Lab::new();
    lab.source("templates/h.j2", "{{ inventory_hostname }} {{ role }} {{ n }}\n");
    let script =
        r#"template_put(["one", "two"], dir + "/same", "templates/h.j2", #{ n: 1 }, #{ parallel: 1 })"#;
    let ran = lab.apply(script);
    assert!(
        ran.diff().contains("+one one 1\n") && ran.diff().contains("-one one 1\n+two two 1\n"),
        "{}",
        ran.diff()
    );
    let results = ran.value().cast::<rhai::Array>();
    assert_eq!(results.len(), 2);
    let failed = lab.apply(r#"template_put("one", dir + "/x", "templates/h.j2", #{ m: 1 })"#).failure();
    assert_eq!(failed.kind, "template");
    assert!(
        failed.message.contains("templates/h.j2:1") && failed.message.contains("`n`"),
        "{}",
        failed.message
    );
}

/// Sends less than it announces.
#[derive(serde::Serialize)]
struct Cut {
    #[serde(skip)]
    place: Place,
    #[serde(skip)]
    header: bool,
}

impl Effect for Cut {
    const NAME: &'static str = "file.put";
    const KIND: Kind = Kind::Ensure;
    type Output = ();

    fn target(&self) -> Target {
        bindings::call::on_host(&self.place.host, Some(&self.place.path))
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<()>) -> Result<Done<()>, Failure> {
        let whole = b"0123456789";
        let sum = crate::store::sha256(whole);
        let (size, stdin) = if self.header {
            ("-", format!("10 {sum}\n01234").into_bytes())
        } else {
            ("10", whole[..5].to_vec())
        };
        let arguments = [self.place.path.as_str(), "", "", "", "", "", "token", size, &sum, ""];
        self.place.run(permit, Script::Put, &arguments, stdin.into(), 1024).await.map(|_| Done::changed(()))
    }
}

#[test]
fn half_a_content_does_not_become_live() {
    let lab = Lab::new();
    let path = lab.file("a", "old").to_str().unwrap().to_owned();
    for header in [false, true] {
        let session = lab.session(Mode::Apply);
        let host = session.gate().inventory.host("localhost").unwrap().clone();
        let place =
            Place { effect: Cut::NAME, host, path: path.clone(), sudo: bindings::sudo::Become::default() };
        match session.perform(None, &Cut { place, header }) {
            Err(Halt::Failure(failure)) => assert_eq!(failure.details["reason"], "truncated"),
            other => panic!("{:?}", other.is_ok()),
        }
    }
    assert_eq!((lab.read("a").as_str(), lab.names()), ("old", vec!["a".to_owned()]));
}

#[test]
fn an_edit_keeps_what_somebody_else_writes_meanwhile() {
    let lab = Lab::new();
    lab.file("a", "one\n");
    for (name, theirs) in [("a", "two\n"), ("new", "mine\n")] {
        let path = lab.at(name).to_str().unwrap().replace('\'', "'\\''");
        // A validation that writes stands for somebody who writes at the worst moment.
        let validate = format!("printf '{theirs}' >'{path}'; true %s");
        let options = format!("#{{ create: true, validate: {} }}", serde_json::to_string(&validate).unwrap());
        let ran = lab.apply(&format!(r#"line_ensure("localhost", dir + "/{name}", "line", {options})"#));
        assert_eq!((ran.reason().as_str(), lab.read(name).as_str()), ("meanwhile", theirs), "{name}");
    }
    assert_eq!(lab.names(), ["a", "new"]);
}

#[test]
fn a_run_that_was_cancelled_begins_nothing_more() {
    let lab = Lab::new();
    let session = lab.session(Mode::Apply);
    session.gate().cancellation.cancel(crate::gate::Stop::Cancelled { by: "op".to_owned() });
    let ran = lab.run_session(session, r#"try { file_put("localhost", dir + "/a", "x") } catch { } 1"#);
    assert!(ran.result.is_err());
    let begun = ran.events.iter().any(|event| matches!(event, Event::Intent { .. }));
    assert!(!begun && lab.names().is_empty(), "{:?}", ran.events);
}

#[test]
fn a_cancelled_write_leaves_nothing_behind() {
    let lab = Lab::new();
    lab.file("a", "old");
    let session = lab.session(Mode::Apply);
    let gate = session.gate().clone();
    let mut engine = Engine::new();
    engine.register_global_module(bindings::module());
    engine.set_default_tag(Dynamic::from(session));
    let script = format!(
        r#"file_put("localhost", {}, "new", #{{ validate: "sleep 600; true %s" }})"#,
        serde_json::to_string(lab.at("a").to_str().unwrap()).unwrap()
    );
    let ended = std::thread::scope(|scope| {
        let running = scope.spawn(|| engine.eval::<Dynamic>(&script).is_err());
        let begun = std::time::Instant::now();
        while lab.names().len() < 2 {
            assert!(begun.elapsed().as_secs() < 20, "the write should begin");
            std::thread::yield_now();
        }
        gate.cancellation.cancel(crate::gate::Stop::Cancelled { by: "op".to_owned() });
        running.join().unwrap()
    });
    assert!(ended);
    assert_eq!((lab.read("a").as_str(), lab.names()), ("old", vec!["a".to_owned()]));
}

#[test]
fn in_a_plan_each_effect_sees_what_the_one_before_promised() {
    let lab = Lab::new();
    lab.file("old", "a\n");
    let script = r#"
        let h = "localhost";
        dir_ensure(h, dir + "/conf", #{ mode: "0750" });
        dir_ensure(h, dir + "/conf", #{ mode: "0750" });
        file_put(h, dir + "/conf/a", "one\n");
        line_ensure(h, dir + "/conf/a", "two");
        line_ensure(h, dir + "/conf/a", "two");
        file_put(h, dir + "/conf/a", "one\ntwo\n", #{ mode: "0600" });
        line_ensure(h, dir + "/old", "b");
        line_ensure(h, dir + "/old", "c", #{ after: "a" });
        file_absent(h, dir + "/old");
        link_ensure(h, dir + "/old", "conf");
        link_ensure(h, dir + "/old", "conf");
    "#;
    let planned = lab.plan(script);
    let applied = lab.apply(script);
    assert_eq!((planned.changes(), applied.changes()), (8, 8));
    assert_eq!(planned.states(), applied.states(), "a plan can be applied");
    assert_eq!(planned.diff(), applied.diff());
}

#[test]
fn a_link_does_not_lead_out_of_what_the_run_may_touch() {
    let lab = Lab::new();
    lab.file("other/secret", "old");
    fs::create_dir(lab.at("own")).unwrap();
    std::os::unix::fs::symlink("../other/secret", lab.at("own/link")).unwrap();
    let need = format!("file.*:*:{}/**", globset::escape(lab.at("own").to_str().unwrap()));
    let run = |mode: Mode, call: &str| {
        let session = harness::session(lab.dir.path(), mode, &[&need]);
        lab.run_session(session, &format!("let p = dir + \"/own/link\"; {call}"))
    };
    for mode in [Mode::Plan, Mode::Apply] {
        for call in [
            r#"file_put("localhost", p, "new")"#,
            r#"line_ensure("localhost", p, "new")"#,
            r#"file_read("localhost", p)"#,
            r#"file_stat("localhost", p, #{ follow: true })"#,
        ] {
            assert_eq!(run(mode, call).reason(), "link", "{call}");
        }
    }
    assert_eq!(lab.read("other/secret"), "old");
    assert_eq!(run(Mode::Apply, r#"file_put("localhost", p, "new", #{ follow: false })"#).changes(), 1);
    assert_eq!((lab.read("other/secret").as_str(), lab.read("own/link").as_str()), ("old", "new"));
}

#[test]
fn one_byte_of_a_long_file_makes_it_another() {
    let lab = Lab::new();
    let mut content = vec![b'x'; 100_000];
    lab.source("files/long", &content);
    let script = r#"file_put("localhost", dir + "/a", #{ source: "files/long" })"#;
    lab.settles(script);
    content[99_999] = b'y';
    lab.file("a", &content);
    let ran = lab.apply(script);
    assert_eq!(ran.changes(), 1);
    // The plan compares the host's own digest, not ours.
    let seen = |ran: &Ran| {
        ran.events.iter().find_map(|event| match event {
            Event::Intent { pre, .. } => pre["sha256"].as_str().map(str::to_owned),
            _ => None,
        })
    };
    assert_eq!(seen(&ran), Some(crate::store::sha256(&content)));
    content[99_999] = b'x';
    assert_eq!(lab.read("a").as_bytes(), content);
    assert_eq!(seen(&lab.apply(script)), Some(crate::store::sha256(&content)));
}
