//! The user's and the system's SSH client configuration, read as OpenSSH reads it (`ssh_config(5)`).
//!
//! Of each keyword the first value wins, the user's file before the system's; `IdentityFile` and `CertificateFile` add up.
//! `Host`, `Match` (`all`, `host`, `originalhost`, `user`, `localuser`, `final`, `canonical`) and `Include` are followed;
//! a `Match` on anything else, `exec` above all, never matches and leaves a warning. Keywords that nlrun has no use
//! for are passed over, and so are `${…}` and tokens other than `%h %n %p %r %u %d %%`, which stay as they stand.

mod lookup;
mod text;

use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::Glob;

use text::Item;

/// How deep includes may nest (OpenSSH's `READCONF_MAX_DEPTH`).
const MAX_DEPTH: usize = 16;

/// Where OpenSSH looks for files that the system's configuration includes by a relative name.
const SYSTEM_FOLDER: &str = "/etc/ssh";

/// A parsed configuration: ask it about one host after another.
#[derive(Debug, Clone, Default)]
pub struct SshConfig {
    files: Vec<Vec<Item>>,
    home: String,
    warnings: Vec<String>,
}

/// What the configuration says about one host; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// `HostName`, tokens expanded, in lower case.
    pub host_name: Option<String>,
    /// `Port`.
    pub port: Option<u16>,
    /// `User`, or the override given to [`SshConfig::lookup`].
    pub user: Option<String>,
    /// `IdentityFile`, every one in order, expanded; a single `none` means that no key is offered.
    pub identity_files: Vec<String>,
    /// `IdentitiesOnly`.
    pub identities_only: Option<bool>,
    /// `IdentityAgent`: a path, `none`, `SSH_AUTH_SOCK` or `$NAME`.
    pub identity_agent: Option<String>,
    /// `CertificateFile`, every one in order, expanded.
    pub certificate_files: Vec<String>,
    /// `ProxyJump` as `[user@]host[:port]`, first hop first; empty for `none`.
    pub proxy_jump: Option<Vec<String>>,
    /// `ProxyCommand`, tokens expanded; never together with `proxy_jump`.
    pub proxy_command: Option<String>,
    /// `UserKnownHostsFile`, expanded.
    pub user_known_hosts_files: Option<Vec<String>>,
    /// `GlobalKnownHostsFile`, expanded.
    pub global_known_hosts_files: Option<Vec<String>>,
    /// `StrictHostKeyChecking`.
    pub strict_host_key_checking: Option<StrictHostKeyChecking>,
    /// `HostKeyAlias`.
    pub host_key_alias: Option<String>,
    /// `HashKnownHosts`.
    pub hash_known_hosts: Option<bool>,
    /// `ConnectTimeout`.
    pub connect_timeout: Option<Duration>,
    /// `ServerAliveInterval`; zero switches it off.
    pub server_alive_interval: Option<Duration>,
    /// `ServerAliveCountMax`.
    pub server_alive_count_max: Option<u32>,
    /// `KexAlgorithms` as written, with its `+`, `-` or `^`.
    pub kex_algorithms: Option<String>,
    /// `HostKeyAlgorithms` as written.
    pub host_key_algorithms: Option<String>,
    /// `Ciphers` as written.
    pub ciphers: Option<String>,
    /// `MACs` as written.
    pub macs: Option<String>,
    /// `PubkeyAcceptedAlgorithms` (or its old name) as written.
    pub pubkey_accepted_algorithms: Option<String>,
    /// `PreferredAuthentications`, in order.
    pub preferred_authentications: Option<Vec<String>>,
}

/// `StrictHostKeyChecking`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrictHostKeyChecking {
    /// `yes`: an unknown key is refused.
    Yes,
    /// `ask`: OpenSSH would ask, which a run cannot.
    Ask,
    /// `accept-new`: an unknown key is written down, a changed one refused.
    AcceptNew,
    /// `no` or `off`: OpenSSH would go on even with a changed key; nlrun must not.
    No,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SshConfigError {
    /// A file is there and cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("{message}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong there.
        message: String,
    },
    /// Files include each other, or too deep.
    #[error("`{}` is included more than {MAX_DEPTH} files deep", path.display())]
    Depth {
        /// The file.
        path: PathBuf,
    },
}

impl SshConfig {
    /// Reads the user's file and then the system's; one that does not exist is an empty one.
    ///
    /// `home` is the user's home folder, for `~`, `%d` and includes relative to `~/.ssh`.
    pub fn load(
        user_file: Option<&Path>,
        system_file: Option<&Path>,
        home: &Path,
    ) -> Result<Self, SshConfigError> {
        let mut config = Self { home: home.display().to_string(), ..Self::default() };
        for (file, base) in [(user_file, home.join(".ssh")), (system_file, PathBuf::from(SYSTEM_FOLDER))] {
            if let Some(path) = file
                && let Some(items) = config.read(path, &base, 0)?
            {
                config.files.push(items);
            }
        }
        Ok(config)
    }

    /// Returns what the operator should know, each line with its file.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns what the configuration says about a host, named as on the command line of `ssh`.
    ///
    /// `user_override` stands for `ssh -l`: it wins over `User` and is what `Match user` and `%r` see.
    pub fn lookup(&self, host: &str, user_override: Option<&str>, local_user: &str) -> HostSettings {
        lookup::lookup(&self.files, &self.home, host, user_override, local_user)
    }

    fn read(&mut self, path: &Path, base: &Path, depth: usize) -> Result<Option<Vec<Item>>, SshConfigError> {
        if depth > MAX_DEPTH {
            return Err(SshConfigError::Depth { path: path.to_owned() });
        }
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SshConfigError::Read { path: path.to_owned(), source }),
        };
        let parsed = text::parse(&String::from_utf8_lossy(&bytes))
            .map_err(|(line, message)| SshConfigError::Line { path: path.to_owned(), line, message })?;
        for (line, criterion) in parsed.unsupported {
            self.warnings.push(format!(
                "{}:{line}: `Match {criterion}` is not evaluated, its block is not used",
                path.display()
            ));
        }
        let mut items = parsed.items;
        for item in &mut items {
            let Item::Include { patterns, files } = item else { continue };
            for pattern in &*patterns {
                for found in glob(&included(pattern, base, &self.home)) {
                    files.extend(self.read(&found, base, depth + 1)?);
                }
            }
        }
        Ok(Some(items))
    }
}

fn included(pattern: &str, base: &Path, home: &str) -> PathBuf {
    match pattern.strip_prefix("~/") {
        Some(rest) => Path::new(home).join(rest),
        None => base.join(pattern),
    }
}

/// Finds the files that a pattern means, as glob(3): in the order of names, hidden ones only when asked for.
fn glob(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        let matcher = Glob::new(&name).ok().filter(|_| name.contains(['*', '?', '[']));
        found = match matcher {
            None => found.into_iter().map(|path| path.join(part)).collect(),
            Some(glob) => {
                let matcher = glob.compile_matcher();
                let listed = found.iter().filter_map(|path| std::fs::read_dir(path).ok()).flatten().flatten();
                let mut paths: Vec<PathBuf> = listed
                    .filter(|entry| {
                        let file = entry.file_name();
                        matcher.is_match(&file)
                            && (name.starts_with('.') || !file.to_string_lossy().starts_with('.'))
                    })
                    .map(|entry| entry.path())
                    .collect();
                paths.sort();
                paths
            }
        };
    }
    found
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests write configurations and ask the real `ssh` about them"
)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn includes_are_followed_where_they_stand() {
        let home = folder(&[
            (".ssh/config", "Include conf.d/*.conf missing\nHost b\n  Include only-b\nHost *\n  Port 9\n"),
            (".ssh/conf.d/2.conf", "Host a\n  Port 2\n"),
            (".ssh/conf.d/1.conf", "Host a\n  Port 1\nHost z\n"),
            (".ssh/conf.d/.hidden.conf", "Port 7\n"),
            (".ssh/only-b", "User inner\nHost a\n  User never\nHost b\n  HostKeyAlias beta\n"),
            ("system", "Host *\n  User system\n  Port 10\n"),
        ]);
        let at = |name: &str| home.path().join(name);
        let config = SshConfig::load(Some(&at(".ssh/config")), Some(&at("system")), home.path()).unwrap();
        let ask = |host: &str| config.lookup(host, None, "me");
        assert_eq!((ask("a").port, ask("a").user.as_deref()), (Some(1), Some("system")));
        assert_eq!((ask("b").port, ask("b").user.as_deref()), (Some(9), Some("inner")));
        assert_eq!(ask("b").host_key_alias.as_deref(), Some("beta"));
    }

    #[test]
    fn missing_files_are_empty_and_circles_are_refused() {
        let home = folder(&[(".ssh/config", "Include config\n"), (".ssh/bad", "Host a\n  Port ssh\n")]);
        let at = |name: &str| home.path().join(name);
        let nothing = SshConfig::load(Some(&at("none")), None, home.path()).unwrap();
        assert_eq!(nothing.lookup("a", None, "me"), HostSettings::default());
        let circle = SshConfig::load(Some(&at(".ssh/config")), None, home.path()).unwrap_err();
        assert!(matches!(circle, SshConfigError::Depth { .. }), "{circle:?}");
        let bad = SshConfig::load(Some(&at(".ssh/bad")), None, home.path()).unwrap_err();
        assert!(matches!(&bad, SshConfigError::Line { line: 2, .. }), "{bad:?}");
        let folder = SshConfig::load(Some(home.path()), None, home.path()).unwrap_err();
        assert!(matches!(folder, SshConfigError::Read { .. }), "{folder:?}");
    }

    const AGAINST_OPENSSH: &str = r#"
Host alias
  HostName Real.Example
  IdentityFile /k/alias
Host web* !web3
  User=webber
  Port = 2200
  IdentityFile "/k/with blank"
  IdentityFile /k/two # comment
Host web1 "quoted name"
  ProxyJump a@b:22,c
  HostKeyAlias one
Host web?
  ProxyCommand nc %h %p
Host *.nl
  HostName %h.example
  ServerAliveInterval 30
  ServerAliveCountMax 5
  Ciphers aes256-ctr,aes128-ctr
Match host real.example
  Port 2022
Match originalhost alias user root
  ConnectTimeout 1m30s
Match !host web*,db* user me
  UserKnownHostsFile /k/known1 /k/known2
  PreferredAuthentications publickey,password
Match final host *.example
  HashKnownHosts yes
Match exec "/bin/false"
  Port 1
Host direct
  ProxyJump none
Host [v]
  Port 5
Match all
  IdentitiesOnly yes
  StrictHostKeyChecking accept-new
  Port 2201
  IdentityFile /k/last
  IdentityFile /k/last
  ProxyJump bastion
"#;

    /// The lines of `ssh -G` that our settings must agree with.
    fn ours(settings: &HostSettings, host: &str, local_user: &str) -> BTreeMap<String, Vec<String>> {
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut put =
            |key: &str, value: Option<String>| lines.entry(key.to_owned()).or_default().extend(value);
        let yes = |flag: Option<bool>| Some(if flag == Some(true) { "yes" } else { "no" }.to_owned());
        put("hostname", Some(settings.host_name.clone().unwrap_or_else(|| host.to_lowercase())));
        put("port", Some(settings.port.unwrap_or(22).to_string()));
        put("user", Some(settings.user.clone().unwrap_or_else(|| local_user.to_owned())));
        for file in &settings.identity_files {
            put("identityfile", Some(file.clone()));
        }
        put("identitiesonly", yes(settings.identities_only));
        put("hashknownhosts", yes(settings.hash_known_hosts));
        put("hostkeyalias", settings.host_key_alias.clone());
        put(
            "proxyjump",
            settings.proxy_jump.as_ref().filter(|jump| !jump.is_empty()).map(|jump| jump.join(",")),
        );
        put(
            "connecttimeout",
            Some(settings.connect_timeout.map_or("none".to_owned(), |t| t.as_secs().to_string())),
        );
        put(
            "serveraliveinterval",
            Some(settings.server_alive_interval.unwrap_or_default().as_secs().to_string()),
        );
        put("serveralivecountmax", Some(settings.server_alive_count_max.unwrap_or(3).to_string()));
        put("userknownhostsfile", settings.user_known_hosts_files.as_ref().map(|files| files.join(" ")));
        put("ciphers", settings.ciphers.clone());
        put(
            "preferredauthentications",
            settings.preferred_authentications.as_ref().map(|list| list.join(",")),
        );
        put("stricthostkeychecking", Some("accept-new".to_owned()));
        assert_eq!(settings.strict_host_key_checking, Some(StrictHostKeyChecking::AcceptNew), "{host}");
        lines.retain(|_, values| !values.is_empty());
        lines
    }

    #[test]
    fn answers_agree_with_openssh() {
        let home = folder(&[("config", AGAINST_OPENSSH)]);
        let file = home.path().join("config");
        let config = SshConfig::load(Some(&file), None, home.path()).unwrap();
        assert_eq!(config.warnings().len(), 1, "{:?}", config.warnings());
        let Ok(id) = std::process::Command::new("id").arg("-un").output() else { panic!("`id` runs") };
        let local_user = String::from_utf8(id.stdout).unwrap().trim().to_owned();
        for (host, user) in [
            ("alias", None),
            ("alias", Some("root")),
            ("web1", None),
            ("web2", None),
            ("web3", None),
            ("web33", Some("me")),
            ("db1", Some("me")),
            ("other", Some("me")),
            ("core.nl", None),
            ("x.example", None),
            ("UPPER", None),
            ("direct", None),
            ("10.0.0.1", Some("me")),
        ] {
            let mut command = std::process::Command::new("ssh");
            command.arg("-F").arg(&file).arg("-G");
            if let Some(user) = user {
                command.args(["-l", user]);
            }
            let Ok(output) = command.arg(host).output() else {
                println!("skipped: there is no `ssh` on this machine");
                return;
            };
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let mine = ours(&config.lookup(host, user, &local_user), host, &local_user);
            let mut theirs: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for line in String::from_utf8(output.stdout).unwrap().lines() {
                let (key, value) = line.split_once(' ').unwrap_or((line, ""));
                if mine.contains_key(key) || key == "proxyjump" || key == "hostkeyalias" {
                    theirs.entry(key.to_owned()).or_default().push(value.to_owned());
                }
            }
            assert_eq!(mine, theirs, "{host} {user:?}");
        }
    }
}
