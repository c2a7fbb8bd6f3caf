//! The part `secrets:` of `nlrun.yaml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::bao;
use super::key::Origin;
use crate::model::secret::SecretName;

/// Which sources are asked, in order, and which names have a place of their own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The first source that has a name gives its value.
    pub sources: Vec<Source>,
    /// Names that come from one place only.
    pub names: BTreeMap<SecretName, Explicit>,
}

impl Default for Config {
    /// Asks the environment only: `db/root` is `NLRUN_SECRET_DB_ROOT`.
    fn default() -> Self {
        Self { sources: vec![Source::Env { prefix: "NLRUN_SECRET_".to_owned() }], names: BTreeMap::new() }
    }
}

/// One place to look for secrets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// Environment variables: prefix and name in upper case, `_` for everything else.
    Env {
        /// What the variables begin with.
        prefix: String,
    },
    /// A folder with a file a secret.
    File {
        /// Which folder.
        path: PathBuf,
    },
    /// An encrypted file of our own.
    Encrypted(Encrypted),
    /// A file made by `ansible-vault`.
    AnsibleVault(AnsibleVault),
    /// A command that prints the secret; `{name}` in its words is the name. Exits other than 0 end the search.
    Command {
        /// Program and arguments.
        run: Vec<String>,
    },
    /// A server of secrets: OpenBao or Vault.
    #[serde(alias = "vault")]
    Bao(Box<bao::Config>),
}

/// An encrypted file of our own and its key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawEncrypted")]
pub struct Encrypted {
    /// Which file.
    pub path: PathBuf,
    /// Where its key is.
    pub key: Origin,
}

/// A file made by `ansible-vault` and its password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawAnsibleVault")]
pub struct AnsibleVault {
    /// Which file.
    pub path: PathBuf,
    /// Where its password is.
    pub password: Origin,
}

/// The one place of a name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Explicit {
    /// An environment variable.
    Env(String),
    /// A file.
    File(PathBuf),
    /// A command; `{name}` in its words is the name.
    Command(Vec<String>),
    /// A path and a field of a server: `ci/db#password`.
    #[serde(alias = "vault")]
    Bao(bao::Entry),
}

/// A source that names no key, or several.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("give exactly one of `{kind}_file`, `{kind}_env` and `{kind}_command`")]
pub struct OneOrigin {
    kind: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEncrypted {
    path: PathBuf,
    key_file: Option<PathBuf>,
    key_env: Option<String>,
    key_command: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAnsibleVault {
    path: PathBuf,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    password_command: Option<Vec<String>>,
}

impl TryFrom<RawEncrypted> for Encrypted {
    type Error = OneOrigin;

    fn try_from(raw: RawEncrypted) -> Result<Self, OneOrigin> {
        Ok(Self { path: raw.path, key: one_origin("key", raw.key_file, raw.key_env, raw.key_command)? })
    }
}

impl TryFrom<RawAnsibleVault> for AnsibleVault {
    type Error = OneOrigin;

    fn try_from(raw: RawAnsibleVault) -> Result<Self, OneOrigin> {
        let password = one_origin("password", raw.password_file, raw.password_env, raw.password_command)?;
        Ok(Self { path: raw.path, password })
    }
}

fn one_origin(
    kind: &'static str,
    file: Option<PathBuf>,
    env: Option<String>,
    command: Option<Vec<String>>,
) -> Result<Origin, OneOrigin> {
    at_most_one(kind, file, env, command)?.ok_or(OneOrigin { kind })
}

/// Returns the origin that is named, if one is.
pub(super) fn at_most_one(
    kind: &'static str,
    file: Option<PathBuf>,
    env: Option<String>,
    command: Option<Vec<String>>,
) -> Result<Option<Origin>, OneOrigin> {
    match (file, env, command) {
        (Some(path), None, None) => Ok(Some(Origin::File(path))),
        (None, Some(name), None) => Ok(Some(Origin::Env(name))),
        (None, None, Some(words)) => Ok(Some(Origin::Command(words))),
        (None, None, None) => Ok(None),
        _ => Err(OneOrigin { kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_source_is_read() {
        let config: Config = serde_saphyr::from_str(
            r#"
sources:
  - env: {prefix: NLRUN_SECRET_}
  - file: {path: secrets/}
  - encrypted: {path: secrets.enc, key_file: ~/.config/nlrun/key}
  - ansible_vault: {path: vault.yml, password_command: [pass, vault]}
  - command: {run: ["sops", "-d", "--extract", "[\"{name}\"]", "secrets.yaml"]}
  - bao: {address: "https://bao.example.net:8200", mount: secret, prefix: ci, kv: 2, auth: {jwt: {role: gitlab-ci}, inline: true}}
  - vault:
      addresses: ["https://a:8200", "https://b:8200"]
      auth: {approle: {role_id: r, secret_id_file: sid, secret_id_wrapped: true}}
      on_unreachable: next
names:
  db/root: {env: DB_ROOT}
  db/port: {bao: "ci/db#port"}
  web/key: {vault: {path: /pki/issue/web, field: private_key, with: {common_name: www.example.net}}}
"#,
        )
        .unwrap();
        assert_eq!(config.sources.len(), 7);
        let Source::Bao(bao) = &config.sources[5] else { panic!("{config:?}") };
        let token = Origin::Env("VAULT_ID_TOKEN".to_owned());
        let jwt = bao::Method::Jwt { mount: "jwt".to_owned(), role: Some("gitlab-ci".to_owned()), token };
        assert_eq!(bao.auth, bao::Auth { method: jwt, inline: true });
        let Source::Bao(vault) = &config.sources[6] else { panic!("{config:?}") };
        assert_eq!(vault.addresses().count(), 2);
        assert_eq!(vault.on_unreachable, bao::OnUnreachable::Next);
        let Explicit::Bao(port) = &config.names[&"db/port".parse().unwrap()] else { panic!("{config:?}") };
        assert_eq!((port.path.as_str(), port.field.as_str()), ("ci/db", "port"));
        assert_eq!(config.sources[0], Config::default().sources[0]);
        let key = Origin::File("~/.config/nlrun/key".into());
        assert_eq!(config.sources[2], Source::Encrypted(Encrypted { path: "secrets.enc".into(), key }));
        assert_eq!(config.names[&"db/root".parse().unwrap()], Explicit::Env("DB_ROOT".to_owned()));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, says) in [
            (
                "sources: [{encrypted: {path: x}}]",
                "give exactly one of `key_file`, `key_env` and `key_command`",
            ),
            ("sources: [{ansible_vault: {path: x, password_env: A, password_file: b}}]", "`password_file`"),
            ("sources: [{env: {prefix: a, x: 1}}]", "`x`"),
            ("sources: [{safe: {}}]", "`safe`"),
            ("sources: [{bao: {adress: x}}]", "`adress`"),
            ("sources: [{bao: {kv: 3}}]", "`kv` is 1 or 2, not 3"),
            ("sources: [{bao: {auth: {token: {}, jwt: {}}}}]", "give one of `token`, `approle`, `jwt`"),
            ("sources: [{bao: {auth: {inline: true}}}]", "`inline` goes with `approle`"),
            ("sources: [{bao: {auth: {approle: {secret_id_env: A}}}}]", "give exactly one of `role_id`"),
            (
                "sources: [{bao: {auth: {approle: {role_id: a, secret_id_env: A, creation_path: x}}}}]",
                "`creation_path` goes with",
            ),
            ("names: {a: {bao: ci/db}}", "`ci/db` is no place: write `PATH#FIELD`"),
            ("source: []", "`source`"),
            ("names: {Db: {env: X}}", "`Db` cannot name a secret"),
        ] {
            let error = serde_saphyr::from_str::<Config>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
