//! Certificates through the real binary: on the command line, and in scripts.

use crate::support::certificates::{Forge, SERVER, Wish};
use crate::support::project::Project;

#[test]
fn the_command_line_shows_and_checks_files() {
    let forge = Forge::chain();
    let project = Project::new()
        .file("site.pem", &forge.join(&["leaf.pem", "middle.pem", "leaf.key"]))
        .file("chain.pem", &forge.join(&["leaf.pem", "middle.pem"]))
        .file("leaf.key", &forge.read("leaf.key"))
        .file("other.key", &forge.read("root.key"));
    let secret = forge.read("leaf.key").lines().nth(1).unwrap().to_owned();
    let shown = project.args(["cert", "show", "site.pem"]).success();
    for part in [
        "subject      CN=www.example.com\n",
        "names        www.example.com *.apps",
        " days left)",
        "an authority",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    assert!(shown.stderr.contains("a private key (EC P-256) is there, of `CN=www.example.com`"), "{shown:?}");
    let lines = project.args(["cert", "show", "site.pem", "--json"]).success().json_lines();
    assert_eq!(lines.len(), 2);
    assert!(
        [89, 90].contains(&lines[0]["days_left"].as_i64().unwrap()) && lines[1]["is_ca"] == true,
        "{lines:?}"
    );
    let piped = project.args_with_input(["cert", "show", "-"], forge.read("leaf.pem").as_bytes()).success();
    assert!(piped.stdout.contains("CN=www.example.com"));

    let fine = project.args(["cert", "check", "site.pem", "--name", "www.example.com"]).success();
    assert_eq!(fine.stdout, "");
    assert!(fine.stderr.contains("can be used, for "), "{fine:?}");
    project.args(["cert", "check", "chain.pem", "--key", "leaf.key", "--warn", "30d"]).success();
    let soon = project.args(["cert", "check", "chain.pem", "--warn", "100d", "--json"]).success();
    assert_eq!(soon.json_lines()[0]["kind"], "expires");
    let bad =
        project.args(["cert", "check", "chain.pem", "--key", "other.key", "--name", "x", "--json"]).ends(1);
    let kinds: Vec<String> = bad.json_lines().iter().map(|one| one["kind"].to_string()).collect();
    assert_eq!(kinds, ["\"key_mismatch\"", "\"name\""]);
    let table = project.args(["cert", "check", "chain.pem", "--name", "x"]).ends(1).stdout;
    assert!(table.starts_with("severity  finding\nerror     `x` is not covered"), "{table}");

    for arguments in [["cert", "show", "example.com"], ["cert", "check", "runbooks"], ["cert", "show", "."]] {
        let output = project.args(arguments).ends(64);
        assert!(output.stderr.contains("file"), "{output:?}");
    }
    project.args(["cert", "check", "site.pem", "--warn", "soon"]).ends(64);
    let damaged = project.args(["cert", "check", "nlrun.yaml"]).ends(1);
    assert!(!damaged.stderr.contains("panic"), "{damaged:?}");
    for output in [shown, fine, bad] {
        assert!(!format!("{output:?}").contains(&secret));
    }
}

#[test]
fn an_expired_certificate_ends_with_one() {
    let forge = Forge::new();
    forge.key("old", "P-256");
    forge.sign("old", "old", "old", &Wish { days: -1, extensions: SERVER, ..Wish::server("old") });
    let project = Project::new().file("old.pem", &forge.read("old.pem"));
    let output = project.args(["cert", "check", "old.pem"]).ends(1);
    assert!(output.stdout.contains("the certificate of `CN=old` expired on "), "{output:?}");
}

/// What scripts see, with the key as a secret.
const SCRIPT: &str = r#"//! Certificates.
const NEEDS = ["project.read", "secret.read"];
let pem = project_read("site.pem");
let cert = cert_parse(pem);
check(cert.subject == "CN=www.example.com", "subject");
check(cert.names[1] == "*.apps.example.com", "names");
check(cert.chain.len() == 1 && cert.chain[0].is_ca && !cert.is_ca, "chain");
check(cert.key == "EC P-256" && cert.spki.len() == 64 && cert.fingerprint != cert.spki, "key");
let at = now();
check(cert.not_before.ms <= at.ms && cert.not_after.seconds > at.seconds, "dates");
check([89, 90].contains(cert_days_left(pem, at)), "days");
check(cert_days_left(pem, cert.not_after) == 0, "none left");
let key = secret("site/key");
check(cert_matches(pem, key) && !cert_matches(pem, project_read("other.key")), "keys");
check(cert_check(pem, #{ at: at, key: key, names: ["www.example.com"] }).len() == 0, "fine");
let found = cert_check(pem, #{ at: cert.not_after, names: ["x"], warn_days: 5 });
check(found[0].severity == "error" && found[0].kind == "name" && found[1].text.contains("within a day"), "bad");
let whole = cert_bundle(pem, key, "key+leaf+chain");
check(whole.name == "site/key" && cert_matches(whole, whole), "a secret");
check(cert_parse(whole).fingerprint == cert.fingerprint, "a secret's certificate");
check(cert_bundle(whole, (), "leaf").contains("BEGIN CERTIFICATE"), "text");
let refused = "";
try { cert_bundle(pem, project_read("leaf.key"), "leaf+key") } catch(error) { refused = error.message }
check(refused.contains("only if it is given as a secret"), refused);
try { cert_bundle(pem, project_read("other.key"), "leaf") } catch(error) { refused = error.message }
check(refused.contains("is not that of the certificate"), refused);
let other = secret("site/other");
check(!cert_matches(pem, other) && !cert_matches(whole, other), "another's key");
check(cert_days_left(whole, at) == cert_days_left(pem, at), "days of a secret");
check(cert_check(whole, #{ at: at, key: key }).len() == 0, "fine as a secret");
check(cert_check(pem, #{ at: at, key: other })[0].kind == "key_mismatch", "bad as a secret");
refused = "";
try { cert_bundle(pem, other, "leaf+key") } catch(error) { refused = error.message }
check(refused.contains("is not that of the certificate"), refused);
let loaded = cert_load(#{ certificate: whole, key: key });
check(loaded.fingerprint == cert.fingerprint && cert_bundle(loaded.certificate, loaded.key, "key").name == "site/key", "loaded");
print(`${cert_bundle(whole, (), "leaf+chain") == cert_bundle(pem, (), "leaf+chain")} to the end`);
try { cert_parse("nothing") } catch(error) { refused = error.message }
check(refused.contains("neither a certificate nor a private key"), refused);
try { cert_matches(pem, pem) } catch(error) { refused = error.message }
check(refused.contains("it holds no private key"), refused);
try { print(`${whole}`) } catch { }
"#;

#[test]
fn scripts_see_certificates_and_never_a_key() {
    let forge = Forge::chain();
    let project = Project::new()
        .file("site.pem", &forge.join(&["leaf.pem", "middle.pem"]))
        .file("leaf.key", "no key here\n")
        .variable("NLRUN_SECRET_SITE_KEY", &forge.read("leaf.key"))
        .file("other.key", &forge.read("root.key"))
        .variable("NLRUN_SECRET_SITE_OTHER", &forge.read("middle.key"))
        .runbook("certs", SCRIPT.rsplit_once("try {").unwrap().0)
        .runbook("shown", SCRIPT);
    let output = project.args(["run", "certs"]).success();
    assert!(output.stdout.contains("true to the end"), "{output:?}");
    let shown = project.args(["run", "shown"]);
    assert!(shown.code != 0 && shown.stderr.contains("has no text form"), "{shown:?}");
    let secret = forge.read("leaf.key").lines().nth(1).unwrap().to_owned();
    assert!(!format!("{output:?} {shown:?}").contains(&secret));
    let log = project.args(["log", "last", "--json"]).success().stdout;
    assert!(!log.contains(&secret), "{log}");
    // What hangs on a key was recorded as an answer: a replay, which has no key, comes to the same.
    for name in ["site.pem", "leaf.key", "other.key", "runbooks/certs.rhai"] {
        std::fs::remove_file(project.path(name)).unwrap();
    }
    let again = project.args(["replay", "1"]).success();
    assert!(again.stdout.contains("true to the end"), "{again:?}");
}

/// A resumed run goes on with what it was told of a secret, whatever that holds by now.
#[test]
fn what_was_said_of_a_secret_stays_said_when_the_run_is_resumed() {
    let forge = Forge::chain();
    let text = r#"const NEEDS = ["project.read"];
        let own = cert_matches(project_read("leaf.pem"), project_read("leaf.key", #{ secret: "site/key" }));
        print(`before ${own}`);
        print(`after ${own}`);"#;
    let project = Project::new()
        .file("leaf.pem", &forge.read("leaf.pem"))
        .file("leaf.key", &forge.read("leaf.key"))
        .runbook("says", text);
    let mut command = project.command(["run", "says"]);
    command.env("NLRUN_TEST_KILL_AFTER", "8").stdout(std::process::Stdio::null());
    assert!(!command.status().unwrap().success());
    let log = project.args(["log", "1", "--json"]).success().stdout;
    assert!(log.contains("before true") && !log.contains("after"), "{log}");
    project.write("leaf.key", &forge.read("root.key"));
    let output = project.args(["resume", "1"]).success();
    assert!(output.stdout.contains("after true"), "{output:?}");
}

/// What every way to load a pair gives: the same certificate, and a key that nobody sees.
const LOADS: &str = r#"//! Loads.
import "cert" as cert;
const NEEDS = ["project.read", "secret.read", "file.read", "file.put"];
const PARAMS = #{ folder: "" };
let folder = params.folder;
let want = cert_parse(project_read("site.pem"));
let loaded = [
    cert::load(#{ certificate: project_read("site.pem"), key: secret("site/key") }),
    cert::load_files(#{ certificate: "site.pem", key: "leaf.key" }),
    cert::load_files(#{ certificate: "both.pem", name: "site/other" }),
    cert::load_from("localhost", #{ certificate: folder + "/site.pem", key: folder + "/leaf.key" }),
    cert::load_from("localhost", #{ certificate: folder + "/both.pem" }),
];
loaded.push(cert::load(#{ certificate: loaded[2].certificate, key: loaded[2].key }));
for one in loaded {
    check(one.fingerprint == want.fingerprint && one.spki == want.spki && one.names == want.names, "the leaf");
    check(one.chain.len() == 1 && one.not_after.ms == want.not_after.ms, "the chain");
    check(type_of(one.key) == "secret" && cert_matches(one.certificate, one.key), "the key");
    check(one.certificate.split("BEGIN CERTIFICATE").len() == 3, "text");
    // What is in sight stays in sight, and what is not does not come into it.
    print(one.certificate);
    file_put("localhost", folder + "/out.pem", one.certificate);
    file_put("localhost", folder + "/out.key", one.key);
}
print(`names ${loaded[1].key.name} ${loaded[2].key.name}`);
for source in [#{ certificate: "site.pem", key: "other.key" }, #{ certificate: "site.pem" }, #{ certificate: "missing" }] {
    try { cert::load_files(source); print("wrong") } catch (error) { print(`told: ${error.message}`) }
}
"#;

#[test]
fn a_pair_is_loaded_from_wherever_it_is_and_its_key_is_never_recorded() {
    let forge = Forge::chain();
    let (site, key) = (forge.join(&["middle.pem", "leaf.pem"]), forge.read("leaf.key"));
    let both = format!("{key}{site}");
    let project = Project::new()
        .file("site.pem", &site)
        .file("leaf.key", &key)
        .file("both.pem", &both)
        .file("other.key", &forge.read("root.key"))
        .variable("NLRUN_SECRET_SITE_KEY", &key)
        .variable("NLRUN_SECRET_SITE_BOTH", &both)
        .runbook(
            "secret",
            "import \"cert\" as cert;\nconst NEEDS = [\"secret.read\"];
             let one = cert::load(#{ certificate: secret(\"site/both\") });
             print(`whole ${one.subject} ${cert_matches(one.certificate, one.key)} ${one.key.name}`);",
        )
        .runbook("loads", LOADS);
    let whole = project.args(["run", "secret"]).success().stdout;
    assert!(whole.contains("whole CN=www.example.com true site/both"), "{whole}");
    let folder = format!("folder={}", project.root().display());
    let output = project.args(["run", "loads", "--set", &folder]).success();
    for part in [
        "names cert/key site/other",
        "told: `cert_load` cannot use its `certificate`",
        "is not that of the certificate",
        "it holds no private key",
        "cannot read `missing` in the project",
    ] {
        assert!(output.stdout.contains(part), "`{part}` is not in {}", output.stdout);
    }
    assert!(!output.stdout.contains("wrong\n"), "{}", output.stdout);
    let first = |text: &str| text.lines().nth(1).unwrap().to_owned();
    // A certificate is public: its first line is shown, and not taken for a part of the key.
    assert!(output.stdout.contains(&first(&forge.read("leaf.pem"))), "{}", output.stdout);
    assert_eq!(project.read("out.key"), key);
    assert_eq!(project.read("out.pem"), forge.join(&["leaf.pem", "middle.pem"]));
    let log = project.args(["log", "last", "--json"]).success().stdout;
    let shown = project.args(["show", "last"]).success().stdout;
    let database = std::fs::read(project.database()).unwrap();
    for name in ["leaf.key", "root.key"] {
        for line in forge.read(name).lines().filter(|line| !line.starts_with("-----")) {
            assert!(
                ![&output.stdout, &output.stderr, &log, &shown].iter().any(|text| text.contains(line)),
                "{name}"
            );
            let is_there = |bytes: &[u8]| bytes.windows(line.len()).any(|part| part == line.as_bytes());
            assert!(!is_there(&database), "{name} is in the database");
        }
    }
    assert!(log.contains("«secret:cert/key»") || log.contains("secret:site/key"), "{log}");
}

/// A run that ended in the middle reads a secret file again: what is in the log is only its name.
#[test]
fn a_resumed_run_reads_a_secret_file_again() {
    let forge = Forge::chain();
    let text = r#"const NEEDS = ["project.read"];
        let key = project_read("leaf.key", #{ secret: "site/key" });
        print(`before ${key.name}`);
        print(`same ${cert_matches(project_read("leaf.pem"), key)}`);"#;
    let project = Project::new()
        .file("leaf.pem", &forge.read("leaf.pem"))
        .file("leaf.key", &forge.read("leaf.key"))
        .runbook("reads", text);
    let mut command = project.command(["run", "reads"]);
    command.env("NLRUN_TEST_KILL_AFTER", "4").stdout(std::process::Stdio::null());
    assert!(!command.status().unwrap().success());
    let log = project.args(["log", "1", "--json"]).success().stdout;
    assert!(log.contains("«secret:site/key»") && !log.contains("same"), "{log}");
    let output = project.args(["resume", "1"]).success();
    assert!(output.stdout.contains("same true"), "{output:?}");
}
