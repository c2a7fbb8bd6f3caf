//! Small scripts and what the check says about them.

use std::sync::Arc;

use super::*;
use crate::model::effect::Kind;
use crate::model::signature::{Opt, Param, Performs, Touches, Type};
use crate::runner::sources::Pinned;

struct Inventory;

impl Names for Inventory {
    fn host(&self, name: &str) -> bool {
        ["edge-1", "edge-2", "db-1", "w-1", "localhost"].contains(&name)
    }
    fn group(&self, name: &str) -> bool {
        ["edge", "db", "workers"].contains(&name)
    }
    fn hosts_in(&self, pattern: &str) -> Result<Vec<String>, String> {
        let mut hosts = Vec::new();
        for part in pattern.split(':') {
            match part {
                "edge" => hosts.extend(["edge-1".to_owned(), "edge-2".to_owned()]),
                "db" => hosts.push("db-1".to_owned()),
                "workers" => hosts.push("w-1".to_owned()),
                host if self.host(host) => hosts.push(host.to_owned()),
                other => return Err(format!("pattern `{pattern}`: `{other}` is neither a host nor a group")),
            }
        }
        Ok(hosts)
    }
    fn nearest_host(&self, name: &str) -> Option<String> {
        nearest(name, ["edge-1", "edge-2", "db-1", "w-1"]).map(str::to_owned)
    }
    fn nearest_group(&self, name: &str) -> Option<String> {
        nearest(name, ["edge", "db", "workers"]).map(str::to_owned)
    }
}

const fn param(name: &'static str, ty: Type) -> Param {
    Param { name, ty, optional: false }
}

const fn opt(name: &'static str, ty: Type) -> Opt {
    Opt { name, ty, doc: "What it means." }
}

const fn plain(name: &'static str, params: &'static [Param]) -> Signature {
    Signature {
        name,
        params,
        options: &[],
        required_options: &[],
        returns: "",
        performs: None,
        doc: "",
        example: "",
    }
}

const fn performs(effect: &'static str, kind: Kind, touches: Touches) -> Performs {
    Performs { effect, kind, touches }
}

const COMMAND: &[Param] = &[param("host", Type::Hosts), param("command", Type::Command)];

static SSH_EXEC: Signature = Signature {
    options: &[opt("timeout", Type::Duration), opt("sudo", Type::Bool), opt("stdin", Type::Content)],
    performs: Some(performs("ssh.exec", Kind::Act, Touches::Host)),
    ..plain("ssh_exec", COMMAND)
};
static SSH_READ: Signature = Signature {
    performs: Some(performs("ssh.read", Kind::Read, Touches::Host)),
    ..plain("ssh_read", COMMAND)
};
static FILE_PUT: Signature = Signature {
    options: &[opt("content", Type::Content), opt("mode", Type::String)],
    required_options: &["content"],
    performs: Some(performs("file.put", Kind::Ensure, Touches::HostPath(1))),
    ..plain("file_put", &[param("host", Type::Host), param("path", Type::RemotePath)])
};
static EACH: Signature = Signature {
    options: &[opt("parallel", Type::Int), opt("serial", Type::Int)],
    ..plain("each", &[param("hosts", Type::Items), param("body", Type::Function(1))])
};
static HOSTS: Signature = plain("hosts", &[param("pattern", Type::Pattern)]);
static SECRET: Signature = Signature {
    performs: Some(performs("secret.read", Kind::Read, Touches::Text(0))),
    ..plain("secret", &[param("name", Type::SecretName)])
};
static FAIL: Signature = plain("fail", &[param("message", Type::String)]);
static DEFER: Signature = plain("defer", &[param("body", Type::Function(0))]);
static REPORT: Signature = Signature {
    performs: Some(performs("report.write", Kind::Act, Touches::Nothing)),
    ..plain("report", &[param("data", Type::Map)])
};
static K8S_DRAIN: Signature = Signature {
    options: &[opt("timeout", Type::Duration)],
    performs: Some(performs("k8s.drain", Kind::Ensure, Touches::Cluster)),
    ..plain("k8s_drain", &[param("cluster", Type::String), param("node", Type::String)])
};
static K8S_UNCORDON: Signature = Signature {
    performs: Some(performs("k8s.drain", Kind::Ensure, Touches::Cluster)),
    ..plain("k8s_uncordon", &[param("cluster", Type::String), param("node", Type::String)])
};
static HOST_REBOOT: Signature = Signature {
    performs: Some(performs("ssh.exec", Kind::Act, Touches::Host)),
    ..plain("host_reboot", &[param("host", Type::Host)])
};

const VOCABULARY: [&Signature; 12] = [
    &SSH_EXEC,
    &SSH_READ,
    &FILE_PUT,
    &EACH,
    &HOSTS,
    &SECRET,
    &FAIL,
    &DEFER,
    &REPORT,
    &K8S_DRAIN,
    &K8S_UNCORDON,
    &HOST_REBOOT,
];

const APT: &str = "/// Upgrades.\nfn upgrade(host) { run(host) }\nfn unused(host) { file_put(host, \"/x\", #{ content: \"\" }) }\nprivate fn run(host) { ssh_exec(host, \"apt-get upgrade\"); ssh_read(host, [\"ls\"]) }\n";

fn checked(files: &[(&str, &str)]) -> Checked {
    let sources = Pinned(files.iter().map(|(path, text)| ((*path).to_owned(), Arc::from(*text))).collect());
    let secrets = ["db/root".to_owned(), "mail".to_owned()];
    check(&sources, files[0].0, &VOCABULARY, &Inventory, Some(&secrets))
}

fn said(script: &str) -> Vec<String> {
    let checked = checked(&[("a.rhai", script), ("lib/apt.rhai", APT)]);
    checked.diagnostics.iter().map(|d| format!("{} {}:{}+{}", d.code, d.line, d.column, d.length)).collect()
}

#[test]
fn a_realistic_runbook_is_clean() {
    let script = r#"//! Drains a worker, patches it and returns it to service.
const PARAMS = #{
    node:   #{ type: "host", group: "workers", doc: "the node to patch" },
    reboot: true,
};
const NEEDS  = ["ssh.exec:@workers", "ssh.read:@workers", "k8s.drain:nl/*"];
const LIMITS = #{ timeout: "30m", locks: ["cluster/nl"] };

import "apt" as apt;

fn describe(host, result) {
    let text = `${host}: ${result.code}`;
    if result.code != 0 { fail(`${text} failed`) }
    text.trim().replace("a", "b")
}

step "Drain" {
    k8s_drain("nl", params.node, #{ timeout: "5m" });
    defer(|| k8s_uncordon("nl", params.node));
}
let report = step "Patch" { apt::upgrade(params.node) };
if params.reboot && report.reboot_required { host_reboot(params.node) }
let results = each(hosts("workers"), #{ parallel: 5 }, |h| {
    let out = ssh_read(h, ["uname", "-r"]);
    let lines = [];
    for line in out.out.split("\n") { lines.push(line.trim()); }
    lines.len()
});
for (result, index) in results {
    print(`${index} ${result}`);
    describe("w-1", result);
}
let counts = #{};
for name in ["a", "b"] { counts[name] = (counts.get(name) ?? 0) + 1; }
switch counts.len() { 0 => fail("none"), 1..5 => print("few"), _ => print("many") }
try { ssh_exec("w-1", "true", #{ sudo: true }); } catch (error) { print(error); }
"#;
    let checked = checked(&[("runbooks/a.rhai", script), ("lib/apt.rhai", APT)]);
    assert_eq!(checked.diagnostics, []);
    assert_eq!(checked.header.expect("a header").params.len(), 2);
    let uses: Vec<String> =
        checked.capabilities.iter().map(|one| format!("{} {:?}", one.verb, one.target)).collect();
    assert!(uses.iter().any(|one| one == "k8s.drain Below(\"nl\")"), "{uses:?}");
    assert!(uses.iter().all(|one| !one.contains("file.put")), "only what is reachable: {uses:?}");
}

#[test]
fn each_mistake_is_found_where_it_is() {
    let cases: &[(&str, &[&str])] = &[
        // functions
        ("ssh_exce(\"edge-1\", \"x\");", &["unknown-function 1:1+8"]),
        ("if false { let x = 1; foo_bar(x); }", &["unreachable 1:1+2", "unknown-function 1:23+7"]),
        ("let f = || { ssh_raed(\"edge-1\", \"x\") };", &["unknown-function 1:14+8"]),
        ("fn f() { nothing() }", &["unknown-function 1:10+7"]),
        ("let a = [1]; a.puhs(2);", &["unknown-function 1:16+4"]),
        ("let x = `${nothing(1)}`;", &["unknown-function 1:12+7"]),
        ("let f = Fn(\"nothing\");", &["unknown-function 1:12+9"]),
        ("import \"apt\" as apt;\napt::upgrad(\"edge-1\");", &["unknown-function 2:6+6"]),
        ("import \"apt\" as apt;\napt::run(\"edge-1\");", &["unknown-function 2:6+3"]),
        ("apt::upgrade(\"edge-1\");", &["unknown-module 1:1+3"]),
        ("let x = timestamp();", &["unknown-function 1:9+9"]),
        // arity
        ("ssh_exec(\"edge-1\");", &["wrong-arity 1:1+8"]),
        ("ssh_read(\"edge-1\", \"x\", #{ });", &["wrong-arity 1:1+8"]),
        ("fn f(a) { a } f(1, 2);", &["wrong-arity 1:15+1"]),
        ("let x = \"a\".trim(1);", &["wrong-arity 1:13+4"]),
        ("import \"apt\" as apt;\napt::upgrade();", &["wrong-arity 2:6+12"]),
        ("each(hosts(\"edge\"), |a, b| a);", &["wrong-type 1:21+1"]),
        ("each(\"edge-1\", |h| h);", &["wrong-type 1:6+1"]),
        ("each([#{ name: \"one\" }], |item| item.name);", &[]),
        // options and types
        ("ssh_exec(\"edge-1\", \"x\", #{ timout: \"5m\" });", &["unknown-option 1:28+6"]),
        ("ssh_exec(\"edge-1\", \"x\", #{ timeout: \"soon\" });", &["wrong-type 1:37+1"]),
        ("ssh_exec(\"edge-1\", \"x\", #{ sudo: \"yes\" });", &["wrong-type 1:34+1"]),
        ("ssh_exec(\"edge-1\", 5);", &["wrong-type 1:20+1"]),
        ("file_put(\"edge-1\", \"/a\", #{ mode: \"0644\" });", &["missing-option 1:1+8"]),
        ("file_put(\"edge-1\", \"/a\");", &["missing-option 1:1+8", "wrong-arity 1:1+8"]),
        // parameters
        ("const PARAMS = #{ a: 1 };\nlet x = params.b;", &["unknown-parameter 2:16+1"]),
        ("const PARAMS = #{ node: \"x\" };\nlet x = params[\"nod\"];", &["unknown-parameter 2:16+5"]),
        ("const PARAMS = #{ a: 1 };\nfn f() { params.a }", &["undefined-variable 2:10+6"]),
        ("const PARAMS = #{ a: 1 };\nlet f = || params.b;", &["unknown-parameter 2:19+1"]),
        ("const PARAMS = #{ a: #{ typ: 1 } };", &["header 1:25+3"]),
        ("const PARAMS = #{ a: #{ type: \"host\", group: \"wokers\" } };", &["unknown-group 1:46+8"]),
        // variables
        ("let host = 1; let x = hots;", &["undefined-variable 1:23+4"]),
        ("let a = 1; fn f() { a }", &["undefined-variable 1:21+1"]),
        ("if true { let a = 1; } let b = a;", &["undefined-variable 1:32+1"]),
        ("let f = |x| x + y;", &["undefined-variable 1:17+1"]),
        ("x = 1;", &["undefined-variable 1:1+1"]),
        // imports
        ("import \"nothing\" as n;", &["missing-import 1:8+9"]),
        ("import \"../x\" as n;", &["missing-import 1:8+6"]),
        ("let a = \"x\"; import a + \"y\" as n;", &["computed-import 1:21+1"]),
        ("import \"./a\" as a;", &["circular-import 1:8+5"]),
        // names
        ("ssh_exec(\"edge-3\", \"x\");", &["unknown-host 1:10+8"]),
        ("ssh_exec([\"edge-1\", \"egde-2\"], \"x\");", &["unknown-host 1:21+8"]),
        ("ssh_exec(\"edge\", \"x\");", &["unknown-host 1:10+6"]),
        ("let h = hosts(\"egde\");", &["unknown-host 1:15+6"]),
        ("let s = secret(\"db/rot\");", &["unknown-secret 1:16+8"]),
        ("for name in [\"db/root\", \"db/root\"] { secret(name); }", &[]),
        ("for name in [1, 2] { secret(name); }", &[]),
        // needs
        ("const NEEDS = [\"ssh.exce\"];", &["unknown-capability 1:16+10"]),
        ("const NEEDS = [\"ssh.exec:@egde\"];", &["unknown-group 1:16+16"]),
        ("const NEEDS = [\"ssh.exec:@\"];", &["malformed-capability 1:16+12"]),
        ("const NEEDS = [\"ssh.read\"];\nssh_exec(\"edge-1\", \"x\");", &["missing-need 2:1+8"]),
        ("const NEEDS = [\"ssh.exec:@edge\"];\nssh_exec(\"db-1\", \"x\");", &["missing-need 2:1+8"]),
        ("const NEEDS = [\"k8s.drain:nl/*\"];\nk8s_drain(\"nl\", \"w\");", &[]),
        ("const NEEDS = [\"k8s.drain:*\"];\nk8s_drain(\"nl\", \"w\");", &[]),
        ("const NEEDS = [\"k8s.drain:n?/w-*\"];\nk8s_drain(\"nl\", \"w\");", &[]),
        ("const NEEDS = [\"k8s.drain\"];\nk8s_drain(\"nl\", \"w\");", &[]),
        ("const NEEDS = [\"k8s.drain:gr/*\"];\nk8s_drain(\"nl\", \"w\");", &["missing-need 2:1+9"]),
        (
            "const NEEDS = [\"k8s.get\"];\nk8s_drain(\"nl\", \"w\");",
            &["unknown-capability 1:16+9", "missing-need 2:1+9"],
        ),
        (
            "const NEEDS = [\"ssh.exec:@edge\"];\nssh_exec([\"edge-1\", \"db-1\"], \"x\");",
            &["missing-need 2:1+8"],
        ),
        ("const NEEDS = [\"ssh.exec:@edge\"];\nssh_exec(\"edge-1\", \"x\");", &[]),
        (
            "const NEEDS = [\"ssh.exec:@edge\"];\nfor h in hosts(\"db\") { ssh_exec(h, \"x\"); }",
            &["missing-need 2:24+8"],
        ),
        (
            "const NEEDS = [\"ssh.exec:@edge\"];\neach(hosts(\"db\"), |h| ssh_exec(h, \"x\"));",
            &["missing-need 2:23+8"],
        ),
        ("const NEEDS = [\"ssh.exec:@edge\"];\neach(hosts(\"edge\"), |h| ssh_exec(h, \"x\"));", &[]),
        ("const NEEDS = [\"ssh.exec:@edge\"];\nlet h = print(\"\"); ssh_exec(h, \"x\");", &[]),
        (
            "const PARAMS = #{ n: #{ type: \"host\", group: \"db\" } };\nconst NEEDS = [\"ssh.exec:@edge\"];\nssh_exec(params.n, \"x\");",
            &["missing-need 3:1+8"],
        ),
        (
            "const NEEDS = [\"file.put:edge-*:/etc/**\"];\nfile_put(\"edge-1\", \"/etc/a\", #{ content: \"\" });",
            &[],
        ),
        (
            "const NEEDS = [\"file.put:edge-*:/etc/**\"];\nfile_put(\"edge-1\", \"/var/a\", #{ content: \"\" });",
            &["missing-need 2:1+8"],
        ),
        (
            "const NEEDS = [\"file.put:edge-*:/etc/**\"];\nlet p = print(\"\"); file_put(\"edge-1\", p, #{ content: \"\" });",
            &[],
        ),
        ("const NEEDS = [];\nreport(#{ a: 1 });", &[]),
        (
            "const NEEDS = [\"ssh.exec\"];\nimport \"apt\" as apt;\napt::upgrade(\"db-1\");",
            &["missing-need 4:59+8"],
        ),
        ("const NEEDS = [];\nfn never() { ssh_exec(\"db-1\", \"x\") }", &[]),
        // control flow
        ("fn f() { return 1; print(\"x\"); }", &["unreachable 1:20+1"]),
        ("fail(\"x\"); print(\"y\"); print(\"z\");", &["unreachable 1:12+1"]),
        ("throw \"x\"; print(\"y\");", &["unreachable 1:12+1"]),
        ("loop { break; print(\"y\"); }", &["unreachable 1:15+1"]),
        ("while true { print(\"x\"); } print(\"y\");", &["unreachable 1:28+1"]),
        ("while true { if true { break; } } print(\"y\");", &[]),
        ("fn f(a) { if a { return 1; } else { return 2; } print(\"x\"); }", &["unreachable 1:49+1"]),
        // lints
        ("let x = \"a\"; x.trim();", &["unused-result 1:16+4"]),
        ("let x = \"a\"; let y = x.trim();", &[]),
        ("let n = 0; each(hosts(\"edge\"), |h| { n += 1; });", &["lost-write 1:38+1"]),
        ("let n = []; each(hosts(\"edge\"), |h| { n.push(h); });", &["lost-write 1:39+1"]),
        ("let n = 0; each(hosts(\"edge\"), |h| n + 1);", &[]),
        ("let a = [#{ n: 1 }]; for h in a { h.n = 2; }", &["lost-write 1:35+1"]),
        ("let x = 1; print(\"a ${x} b\");", &["no-interpolation 1:18+10"]),
        ("ssh_exec(\"edge-1\", \"echo ${HOME}\");", &[]),
        ("if \"1\" == 1 { }", &["mixed-comparison 1:8+2"]),
        ("const PARAMS = #{ n: 1 };\nif params.n == \"1\" { }", &["mixed-comparison 2:13+2"]),
        // syntax
        ("let x = 'text';", &["syntax 1:9+6"]),
        ("print(1); /* never closed", &["open-comment 1:11+2"]),
        ("eval(\"1\");", &["no-eval 1:1+4"]),
        ("let x = ;", &["syntax 1:9+1"]),
        ("fn f() { apt::upgrade(1) }\nimport \"apt\" as apt;", &["unknown-module 1:10+3"]),
    ];
    let mut wrong = Vec::new();
    for (script, expected) in cases {
        let said = said(script);
        if said != *expected {
            wrong.push(format!("{script}\n    said     {said:?}\n    expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn hints_tell_what_to_write() {
    let cases = [
        ("ssh_exce(\"edge-1\", \"x\");", "did you mean `ssh_exec`?"),
        ("import \"apt\" as apt;\napt::upgrad(\"edge-1\");", "did you mean `apt::upgrade`?"),
        ("import \"apt\" as apt;\nupgrade(\"edge-1\");", "did you mean `apt::upgrade`?"),
        ("ssh_exec(\"edge-1\");", "write `ssh_exec(host, command, [#{ … }])`"),
        ("ssh_exec(\"edge-1\", \"x\", #{ timout: \"5m\" });", "did you mean `timeout`?"),
        ("ssh_exec(\"edge\", \"x\");", "`edge` is a pattern: write `hosts(\"edge\")`"),
        ("const NEEDS = [\"ssh.exce\"];", "did you mean `ssh.exec`?"),
        ("const NEEDS = [];\nssh_exec(\"db-1\", \"x\");", "add \"ssh.exec:db-1\" to NEEDS of a.rhai"),
        (
            "const NEEDS = [];\nfor h in hosts(\"db\") { ssh_exec(h, \"x\"); }",
            "add \"ssh.exec:@db\" to NEEDS of a.rhai",
        ),
        ("let f = |x| x; f(1);", "call the closure in it with `f.call(…)`"),
        ("apt::upgrade(\"edge-1\");", "add `import \"apt\" as apt;`"),
    ];
    for (script, hint) in cases {
        let checked = checked(&[("a.rhai", script), ("lib/apt.rhai", APT)]);
        let hints: Vec<_> = checked.diagnostics.iter().filter_map(|found| found.hint.as_deref()).collect();
        assert_eq!(hints, [hint], "{script}: {:?}", checked.diagnostics);
    }
}

#[test]
fn findings_carry_file_and_line_and_several_are_told() {
    let files = [
        ("a.rhai", "import \"./b\" as b;\nfoo();\nlet x = y;\nb::g();"),
        ("b.rhai", "fn f() {\n    params.x;\n    bar()\n}"),
    ];
    let checked = checked(&files);
    let said: Vec<_> = checked
        .diagnostics
        .iter()
        .map(|d| (d.code.as_ref(), d.file.as_str(), d.line, d.source_line.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(
        said,
        [
            ("unknown-function", "a.rhai", 2, "foo();"),
            ("undefined-variable", "a.rhai", 3, "let x = y;"),
            ("unknown-function", "a.rhai", 4, "b::g();"),
            ("undefined-variable", "b.rhai", 2, "    params.x;"),
            ("unknown-function", "b.rhai", 3, "    bar()"),
        ]
    );
    assert!(!checked.passes());
}

#[test]
fn imported_scripts_have_no_effect_of_their_own() {
    let found = checked(&[
        ("a.rhai", "import \"./b\" as b;"),
        ("b.rhai", "ssh_exec(\"db-1\", \"x\");\nfn f() { report(#{}) }"),
    ]);
    let said: Vec<_> = found.diagnostics.iter().map(|d| (d.code.as_ref(), d.file.as_str(), d.line)).collect();
    assert_eq!(said, [("import-effect", "b.rhai", 1)]);
}

#[test]
fn collect_takes_what_is_imported() {
    let sources = |files: &[(&str, &str)]| {
        Pinned(files.iter().map(|(path, text)| ((*path).to_owned(), Arc::from(*text))).collect())
    };
    let pinned =
        sources(&[("a.rhai", "import \"apt\" as apt;"), ("lib/apt.rhai", APT), ("lib/other.rhai", "")]);
    let all = collect(&pinned, "a.rhai").expect("all there");
    assert_eq!(all.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["a.rhai", "lib/apt.rhai"]);
    assert_eq!(collect(&sources(&[]), "a.rhai").expect_err("nothing there").code, "missing-script");
    let computed = collect(&sources(&[("a.rhai", "let x = \"\"; import x as y;")]), "a.rhai");
    assert_eq!(computed.expect_err("computed").code, "computed-import");
}

#[test]
fn hostile_scripts_do_not_harm_the_check() {
    let many = 5_000;
    let scripts = [
        format!("{}1{}", "(".repeat(many), ")".repeat(many)),
        format!("let x = 1; x{};", " + x".repeat(many)),
        format!("let x = 1; x{};", ".f()".repeat(many)),
        "loop { }".repeat(many),
        "if true { } else ".repeat(many) + "{ }",
        "fn f() { f() } f();".to_owned(),
        "/*".repeat(many),
        "/* \" ".repeat(many),
        "|a| ".repeat(many),
        "step \"a\" { ".repeat(many),
        "const PARAMS = ".to_owned() + &"#{ a: ".repeat(many),
        "\u{feff}let x = 1;".to_owned(),
        "let \u{202e} = 1;".to_owned(),
        "let x = 1;\r\nlet y = x;\r\n".to_owned(),
        "\0".to_owned(),
        String::new(),
        (0..500).map(|n| format!("fn f{n}() {{ f{}() }} ", n + 1)).collect::<Vec<_>>().concat(),
    ];
    let thread = std::thread::Builder::new().stack_size(language::STACK_SIZE).spawn(move || {
        for script in &scripts {
            let begun = std::time::Instant::now();
            let checked = checked(&[("a.rhai", script)]);
            let shown: String = script.chars().take(30).collect();
            assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{shown}");
            assert!(checked.diagnostics.len() < 6_000, "{shown}");
        }
    });
    thread.expect("a thread").join().expect("no panic");
}

#[test]
fn a_host_function_shadows_the_library_and_a_script_function_both() {
    let cases: [(&str, &[&str]); 5] = [
        ("fn report(a, b) { a + b } report(1, 2);", &[]),
        ("fn trim(a, b) { a + b } trim(1, 2); \"x\".len();", &[]),
        ("let m = #{ f: || 1 }; m.f.call();", &[]),
        ("fn f() { this.a + 1 } let m = #{ a: 1 }; m.f();", &[]),
        ("let hosts_of = hosts(\"edge\"); hosts_of.len()", &[]),
    ];
    for (script, expected) in cases {
        assert_eq!(said(script), expected, "{script}");
    }
}
