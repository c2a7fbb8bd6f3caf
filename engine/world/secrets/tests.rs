//! The sources together, each with a real file or command behind it.

use std::error::Error as _;
use std::fs::{self, Permissions};
use std::io::Write as _;

use super::*;

struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(self, path: &str, mode: u32, content: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::File::create(&path).unwrap().write_all(content.as_bytes()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        self
    }

    fn secrets(&self, config: &str) -> Secrets {
        let variables =
            [("PATH", "/usr/bin:/bin"), ("NLRUN_SECRET_DB_ROOT", "from-env"), ("OTHER", "explicit")];
        let place = Place::new(self.0.path(), variables.map(|(name, value)| (name.into(), value.into())));
        Secrets::new(serde_saphyr::from_str(config).unwrap(), place)
    }
}

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

async fn value(secrets: &Secrets, text: &str) -> String {
    secrets.get(&name(text)).await.unwrap().expose_str().unwrap().to_owned()
}

/// The error and its causes, as an operator reads them.
async fn refusal(secrets: &Secrets, text: &str) -> String {
    let error = secrets.get(&name(text)).await.unwrap_err();
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

#[tokio::test]
async fn the_first_source_that_has_a_name_wins() {
    let project = Project::new()
        .file("secrets/db/root", 0o600, "from-file\n")
        .file("secrets/db/port", 0o400, "5432\r\n")
        .file("secrets/two", 0o600, "lines\n\n");
    let secrets = project.secrets(
        "{sources: [{env: {prefix: NLRUN_SECRET_}}, {file: {path: secrets}}], names: {x: {env: OTHER}, y: {env: NONE}, z: {file: secrets/two}}}",
    );
    for (name, expected) in [
        ("db/root", "from-env"),
        ("db/port", "5432"),
        ("two", "lines\n"),
        ("x", "explicit"),
        ("z", "lines\n"),
    ] {
        assert_eq!(value(&secrets, name).await, expected, "{name}");
        assert_eq!(secrets.presence(&super::tests::name(name)), Presence::Present, "{name}");
    }
    assert_eq!(secrets.presence(&name("y")), Presence::Absent);
    assert_eq!(refusal(&secrets, "y").await, "secret `y` is not known to the variable `NONE`");
    assert_eq!(secrets.known_names(), ["db/port", "db/root", "db_root", "two", "x", "y", "z"]);
}

#[tokio::test]
async fn a_missing_secret_names_the_sources_and_the_nearest_name() {
    let project = Project::new().file("secrets/db/password", 0o600, "x");
    let secrets = project.secrets("{sources: [{env: {prefix: P_}}, {file: {path: secrets}}]}");
    let error = secrets.get(&name("db/pasword")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "secret `db/pasword` is not known to the variable `P_DB_PASWORD`, the folder `secrets`"
    );
    assert_eq!(error.hint().unwrap(), "did you mean `db/password`?");
    assert_eq!(secrets.presence(&name("db/pasword")), Presence::Absent);
    assert!(refusal(&secrets, "db").await.contains("not known"));
    assert!(refusal(&project.secrets("{sources: []}"), "a").await.contains("none is configured"));
}

#[tokio::test]
async fn a_source_that_cannot_be_asked_ends_the_search() {
    let project = Project::new().file("secrets/a", 0o640, "x").file("later/b", 0o600, "x");
    for (source, says) in [
        ("file: {path: gone}", "the folder `gone` cannot be asked for secret `b`: No such file"),
        ("encrypted: {path: gone, key_env: OTHER}", "/gone` cannot be read: No such file"),
        (
            "encrypted: {path: gone, key_env: NONE}",
            "the environment variable `NONE`, which should hold the key, is not set",
        ),
        ("encrypted: {path: gone, key_file: secrets/a}", "(mode 0640): run `chmod 600 "),
        ("ansible_vault: {path: gone, password_env: OTHER}", "the Ansible Vault `gone` cannot be asked"),
        (
            "command: {run: [sh, -c, 'echo no $1 >&2; exit 4', sh, '<{name}>']}",
            "`sh` failed (exit status: 4): no <b>",
        ),
    ] {
        let secrets = project.secrets(&format!("{{sources: [{{{source}}}, {{file: {{path: later}}}}]}}"));
        let words = refusal(&secrets, "b").await;
        assert!(words.contains(says), "{words}");
    }
    let words = refusal(&project.secrets("{sources: [{file: {path: secrets}}]}"), "a").await;
    assert!(words.contains("can be read by others (mode 0640): run `chmod 600 "), "{words}");
}

#[tokio::test]
async fn encrypted_files_vaults_and_commands_give_secrets() {
    let project = Project::new()
        .file("pw", 0o600, "swordfish\n")
        .file("vault.yml", 0o644, include_str!("fixtures/vault-1.2.yml"))
        .file("inline.yml", 0o644, include_str!("fixtures/vault-inline.yml"));
    let key = key::init(&project.0.path().join("keys/key")).unwrap();
    assert!(matches!(key::init(&project.0.path().join("keys/key")), Err(key::Error::Exists(_))));
    encrypted::set(&project.0.path().join("secrets.enc"), &key, &name("own"), b"of our own").unwrap();
    let secrets = project.secrets(
        r#"{sources: [{encrypted: {path: secrets.enc, key_file: keys/key}}, {ansible_vault: {path: inline.yml, password_file: pw}},
            {ansible_vault: {path: vault.yml, password_command: [cat, pw]}}, {command: {run: [sh, -c, 'test "$1" = none || echo "$1!"', sh, "{name}"]}}]}"#,
    );
    for (name, expected) in [
        ("own", "of our own"),
        ("nested/token", "inline-s3cret"),
        ("db/root", "vault-s3cret"),
        ("db/port", "5432"),
        ("from/command", "from/command!"),
    ] {
        assert_eq!(value(&secrets, name).await, expected);
    }
    assert_eq!(secrets.presence(&name("own")), Presence::Present);
    assert_eq!(secrets.presence(&name("db/root")), Presence::Unknown);
    assert_eq!(secrets.known_names(), ["nested/token", "own", "plain"]);
    let words = refusal(&secrets, "none").await;
    assert!(words.ends_with("the Ansible Vault `vault.yml`, the command `sh`"), "{words}");
}
