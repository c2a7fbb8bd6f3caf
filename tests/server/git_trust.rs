//! Whom a project from Git trusts: a server by its certificate and a token, a commit by a signature of GnuPG.
#![expect(clippy::disallowed_methods, reason = "the test makes keys with the real GnuPG")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::git::{follows, origin, sync};
use crate::support::git_http::GitHttp;
use crate::support::project::Project;
use crate::support::server::{Server, token};

const TOKEN: &str = "glpat-7Zq0pX2mB4nD6fH8";

/// The files of the state folder that hold this.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let has = bytes.windows(text.len()).any(|part| part == text.as_bytes());
            found.extend(has.then_some(path));
        }
    }
    found
}

fn trouble(shown: &Value) -> String {
    shown["trouble"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_repository_by_https_is_followed_and_its_token_goes_nowhere_else() {
    let origin = origin();
    let Some(remote) = GitHttp::start(origin.path().parent().unwrap(), "oauth2", TOKEN) else { return };
    let follows = |secret: &str, more: &str| {
        follows(&remote.url("origin.git"), &format!("    token: git/token\n{more}"))
            .variable("NLRUN_SECRET_GIT_TOKEN", secret)
    };
    let ca = format!("    ca: {}\n", remote.authority().display());

    // Nobody vouches for the server: it does not get the token.
    let project = follows(TOKEN, "");
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let told = trouble(&server.caller(&operator).get("/api/v1/project").json());
    assert!(told.contains("`server.project.ca`"), "{told}");
    assert!(remote.seen().is_empty(), "{:?}", remote.seen());
    drop(server);

    // A token that is none is told, and not repeated.
    let project = follows("glpat-wrong", &ca);
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let told = trouble(&server.caller(&operator).get("/api/v1/project").json());
    assert!(told.contains("`server.project.token`") && !told.contains("glpat"), "{told}");
    drop(server);

    let project = follows(TOKEN, &ca);
    let editor = token(&project, "ed", "editor");
    let server = Server::start(&project);
    let ed = server.caller(&editor);
    let shown = ed.get("/api/v1/project").json();
    assert_eq!(
        (shown["commit"].as_str(), trouble(&shown)),
        (Some(&*origin.head()), String::new()),
        "{shown}"
    );
    assert_eq!((&shown["author"], &shown["subject"]), (&json!("Ada"), &json!("Add a note")), "{shown}");
    ed.wait(ed.run(&json!({ "runbook": "hello" })), &["done"]);
    // An edit goes back the same way; it is larger than what curl sends at once.
    let file = "/api/v1/file?path=runbooks/over.txt&branch=main";
    let text: String =
        (0..40_000).map(|line| format!("{}\n", line * 7919 % 100_003)).collect::<Vec<_>>().concat();
    let edit = json!({ "text": text, "before": ed.get(file).json()["hash"] });
    let saved = ed.send("PUT", file, &[], Some(&edit));
    assert_eq!(saved.status, 200, "{saved:?}");
    assert_eq!(origin.at(&["rev-parse", "main"]), saved.json()["commit"].as_str().unwrap());

    // Where the server sends Git on to, the token does not go.
    let other = remote.twin("oauth2", TOKEN);
    remote.send_on(&other);
    let told = trouble(&sync(&ed));
    assert!(told.contains("could not read Username"), "{told}");
    let seen = other.seen();
    assert!(!seen.is_empty() && seen.iter().all(|(_, shown)| shown.is_none()), "{seen:?}");

    let shown: Vec<_> = remote.seen().into_iter().filter_map(|(_, shown)| shown).collect();
    assert!(shown.len() > 4, "{shown:?}");
    assert_eq!(remote.leaks(), Vec::<String>::new());
    assert!(!server.said().contains(TOKEN), "{}", server.said());
    assert_eq!(server.stop(), Some(0));
    assert_eq!(holding(&project.path(".nlrun"), TOKEN), Vec::<PathBuf>::new());
}

/// A folder of GnuPG; its agent ends with this value.
struct Gnupg(PathBuf);

impl Gnupg {
    /// `None`, with a line on standard error, where GnuPG is not installed.
    fn at(path: PathBuf) -> Option<Self> {
        if !Command::new("gpg").arg("--version").output().is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: gpg is not installed");
            return None;
        }
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        Some(Self(path))
    }

    fn call(&self, words: &[&str], input: &str) -> String {
        let file = self.0.join("input");
        std::fs::write(&file, input).unwrap();
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(&self.0)
            .args(["--batch", "--yes", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"])
            .args(words)
            .stdin(std::fs::File::open(&file).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "gpg {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a key that signs; returns its fingerprint and its public half.
    fn key(&self, who: &str) -> (String, String) {
        self.call(&["--quick-generate-key", who, "ed25519", "sign", "0"], "");
        let listed = self.call(&["--with-colons", "--list-keys", who], "");
        let print = listed.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap();
        (print.trim_matches(':').to_owned(), self.call(&["--armor", "--export", who], ""))
    }

    fn trust(&self, print: &str) {
        self.call(&["--import-ownertrust"], &format!("{print}:6:\n"));
    }

    /// A program that Git signs with.
    fn program(&self) -> PathBuf {
        let path = self.0.join("sign");
        let text = format!("#!/bin/sh\nexec gpg --homedir '{}' --batch \"$@\"\n", self.0.display());
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(&self.0).args(["--kill", "all"]).output();
    }
}

#[test]
fn what_gnupg_vouches_for_runs_and_nothing_else() {
    let signers = tempfile::Builder::new().prefix("nlrun-gpg-").tempdir().unwrap();
    let Some(signer) = Gnupg::at(signers.path().join("g")) else { return };
    let origin = origin();
    let project: Project = super::git::at(&origin, "    verify: signed\n");
    let own = Gnupg::at(project.home().join(".gnupg")).unwrap();
    let (ada, eve) = (signer.key("Ada <ada@example.net>"), signer.key("Eve <eve@example.net>"));
    own.call(&["--import"], &ada.1);
    own.trust(&ada.0);
    let program = format!("gpg.program={}", signer.program().display());
    let signed = |print: &str, text: &str| {
        origin.write("note.txt", text);
        origin.git(&["add", "--all"]);
        let key = format!("user.signingkey={print}!");
        origin.git(&["-c", &program, "-c", &key, "commit", "--quiet", "-S", "-m", text]);
        origin.push("main");
        origin.head()
    };
    let good = signed(&ada.0, "signed by ada\n");
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let shown = op.get("/api/v1/project").json();
    assert_eq!((shown["commit"].as_str(), trouble(&shown)), (Some(&*good), String::new()), "{shown}");
    assert_eq!(shown["verifies"], true);
    op.wait(op.run(&json!({ "runbook": "hello" })), &["done"]);

    // A key that nobody here knows, then one that is known and that nobody vouches for.
    let by_eve = signed(&eve.0, "signed by eve\n");
    let shown = sync(&op);
    assert!(trouble(&shown).contains("the key is not known here"), "{shown}");
    assert_eq!((&shown["commit"], &shown["failures"]), (&json!(good), &json!(1)), "{shown}");
    own.call(&["--import"], &eve.1);
    let shown = sync(&op);
    assert!(trouble(&shown).contains("belongs to nobody who may sign"), "{shown}");
    assert_eq!((&shown["commit"], &shown["failures"]), (&json!(good), &json!(2)), "{shown}");
    own.trust(&eve.0);
    let shown = sync(&op);
    assert_eq!((&shown["commit"], &shown["failures"]), (&json!(by_eve), &json!(0)), "{shown}");

    // The text of a signed commit with another tree: the signature is there, and wrong.
    let raw = origin.git(&["cat-file", "commit", &by_eve]).replacen("signed by eve", "forged by eve", 1);
    origin.write("../forged", &format!("{raw}\n"));
    let forged = origin.git(&["hash-object", "-t", "commit", "-w", "../forged"]);
    origin.git(&["push", "--quiet", "--force", "origin", &format!("{forged}:refs/heads/main")]);
    let shown = sync(&op);
    assert!(trouble(&shown).contains("its signature is wrong"), "{shown}");
    origin.write("note.txt", "unsigned\n");
    origin.commit("Unsigned");
    origin.push("main");
    let shown = sync(&op);
    assert!(trouble(&shown).contains("it is not signed"), "{shown}");
    assert_eq!(shown["commit"], by_eve.as_str());
}
