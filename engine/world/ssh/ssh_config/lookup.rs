//! What a parsed `ssh_config` says about one host.

use super::HostSettings;
use super::text::{Criterion, Item, Keyword};

/// Answers for one host from all files, the user's first.
pub(super) fn lookup(
    files: &[Vec<Item>],
    home: &str,
    host: &str,
    user_override: Option<&str>,
    local_user: &str,
) -> HostSettings {
    let mut search = Search {
        settings: HostSettings { user: user_override.map(str::to_owned), ..HostSettings::default() },
        host: host.to_owned(),
        original: host,
        local_user,
        is_final: false,
        wants_final: false,
        has_connect_timeout: false,
    };
    for items in files {
        search.walk(items, true);
    }
    if search.wants_final {
        // OpenSSH reads everything again, now with the name that `HostName` led to; first values still win.
        search.host = search.target();
        search.is_final = true;
        for items in files {
            search.walk(items, true);
        }
    }
    search.finish(home)
}

struct Search<'a> {
    settings: HostSettings,
    /// The name that `Host` looks at: as given, or what `HostName` made of it in the final pass.
    host: String,
    original: &'a str,
    local_user: &'a str,
    is_final: bool,
    wants_final: bool,
    /// `ConnectTimeout none` is a value, too, and keeps later ones out.
    has_connect_timeout: bool,
}

impl Search<'_> {
    fn walk(&mut self, items: &[Item], enclosing: bool) {
        let mut active = enclosing;
        for item in items {
            match item {
                Item::Host(patterns) => active = enclosing && matches_host(patterns, &self.host),
                Item::Match(criteria) => active = enclosing && self.holds(criteria),
                Item::Include { files, .. } => {
                    for items in files {
                        self.walk(items, active);
                    }
                }
                Item::Set(keyword) if active => self.set(keyword),
                Item::Set(_) => {}
            }
        }
    }

    fn holds(&mut self, criteria: &[Criterion]) -> bool {
        criteria.iter().all(|criterion| match criterion {
            Criterion::All => true,
            Criterion::Never => false,
            Criterion::Final(negated) => {
                self.wants_final |= !self.is_final;
                self.is_final != *negated
            }
            Criterion::Host(negated, patterns) => {
                matches_list(&patterns.to_lowercase(), &self.target()) != *negated
            }
            Criterion::OriginalHost(negated, patterns) => {
                matches_list(&patterns.to_lowercase(), &self.original.to_lowercase()) != *negated
            }
            Criterion::User(negated, patterns) => {
                let user = self.settings.user.as_deref().unwrap_or(self.local_user);
                matches_list(patterns, user) != *negated
            }
            Criterion::LocalUser(negated, patterns) => matches_list(patterns, self.local_user) != *negated,
        })
    }

    /// Returns the name that would be connected to, as far as known.
    fn target(&self) -> String {
        match &self.settings.host_name {
            Some(name) if !self.is_final => expand(name, &[('h', self.original)]).to_lowercase(),
            Some(_) | None => self.host.to_lowercase(),
        }
    }

    fn set(&mut self, keyword: &Keyword) {
        let settings = &mut self.settings;
        match keyword.clone() {
            Keyword::HostName(name) => first(&mut settings.host_name, name),
            Keyword::Port(port) => first(&mut settings.port, port),
            Keyword::User(user) => first(&mut settings.user, user),
            Keyword::IdentityFile(path) => add(&mut settings.identity_files, path),
            Keyword::IdentitiesOnly(flag) => first(&mut settings.identities_only, flag),
            Keyword::IdentityAgent(agent) => first(&mut settings.identity_agent, agent),
            Keyword::CertificateFile(path) => add(&mut settings.certificate_files, path),
            // Whichever of the two comes first keeps the other out.
            Keyword::ProxyJump(hops) if settings.proxy_command.is_none() => {
                first(&mut settings.proxy_jump, hops);
            }
            Keyword::ProxyCommand(command) if settings.proxy_jump.is_none() => {
                first(&mut settings.proxy_command, command);
            }
            Keyword::ProxyJump(_) | Keyword::ProxyCommand(_) => {}
            Keyword::UserKnownHostsFile(files) => first(&mut settings.user_known_hosts_files, files),
            Keyword::GlobalKnownHostsFile(files) => first(&mut settings.global_known_hosts_files, files),
            Keyword::StrictHostKeyChecking(checking) => {
                first(&mut settings.strict_host_key_checking, checking);
            }
            Keyword::HostKeyAlias(alias) => first(&mut settings.host_key_alias, alias),
            Keyword::HashKnownHosts(flag) => first(&mut settings.hash_known_hosts, flag),
            Keyword::ConnectTimeout(timeout) => {
                if !std::mem::replace(&mut self.has_connect_timeout, true) {
                    settings.connect_timeout = timeout;
                }
            }
            Keyword::ServerAliveInterval(interval) => first(&mut settings.server_alive_interval, interval),
            Keyword::ServerAliveCountMax(count) => first(&mut settings.server_alive_count_max, count),
            Keyword::KexAlgorithms(list) => first(&mut settings.kex_algorithms, list),
            Keyword::HostKeyAlgorithms(list) => first(&mut settings.host_key_algorithms, list),
            Keyword::Ciphers(list) => first(&mut settings.ciphers, list),
            Keyword::Macs(list) => first(&mut settings.macs, list),
            Keyword::PubkeyAcceptedAlgorithms(list) => first(&mut settings.pubkey_accepted_algorithms, list),
            Keyword::PreferredAuthentications(list) => first(&mut settings.preferred_authentications, list),
        }
    }

    fn finish(self, home: &str) -> HostSettings {
        let target = if self.is_final { self.host.clone() } else { self.target() };
        let mut settings = self.settings;
        settings.host_name = settings.host_name.map(|_| target.clone());
        let port = settings.port.unwrap_or(22).to_string();
        let user = settings.user.clone().unwrap_or_else(|| self.local_user.to_owned());
        let tokens = [
            ('h', target.as_str()),
            ('n', self.original),
            ('p', &port),
            ('r', &user),
            ('u', self.local_user),
            ('d', home),
        ];
        let path = |text: String| {
            let text = match text.strip_prefix('~') {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
                Some(_) | None => text,
            };
            expand(&text, &tokens)
        };
        let paths = |list: Vec<String>| list.into_iter().map(path).collect::<Vec<_>>();
        settings.identity_files = paths(settings.identity_files);
        settings.certificate_files = paths(settings.certificate_files);
        settings.user_known_hosts_files = settings.user_known_hosts_files.map(paths);
        settings.global_known_hosts_files = settings.global_known_hosts_files.map(paths);
        settings.identity_agent = settings.identity_agent.map(path);
        settings.host_key_alias = settings.host_key_alias.map(|alias| expand(&alias, &tokens));
        settings.proxy_command = settings
            .proxy_command
            .filter(|command| !command.eq_ignore_ascii_case("none"))
            .map(|command| expand(&command, &tokens));
        settings.proxy_jump =
            settings.proxy_jump.map(|hops| hops.iter().map(|hop| expand(hop, &tokens)).collect());
        settings
    }
}

fn first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn add(list: &mut Vec<String>, value: String) {
    if !list.contains(&value) {
        list.push(value);
    }
}

/// Replaces `%x` by its value and `%%` by `%`; an unknown token stays as it stands.
fn expand(text: &str, tokens: &[(char, &str)]) -> String {
    let mut result = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            result.push(letter);
            continue;
        }
        match letters.next() {
            Some('%') | None => result.push('%'),
            Some(token) => match tokens.iter().find(|(name, _)| *name == token) {
                Some((_, value)) => result.push_str(value),
                None => result.extend(['%', token]),
            },
        }
    }
    result
}

/// Whether a `Host` line means this host: one pattern matches and no `!pattern` does.
fn matches_host<'a>(patterns: impl IntoIterator<Item = &'a String>, host: &str) -> bool {
    matches_any(patterns.into_iter().map(String::as_str), host)
}

/// The same for the comma-separated lists of `Match`.
fn matches_list(patterns: &str, text: &str) -> bool {
    matches_any(patterns.split(','), text)
}

fn matches_any<'a>(patterns: impl Iterator<Item = &'a str>, text: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern.as_bytes(), text.as_bytes()) => return false,
            Some(_) => {}
            None => found |= matches(pattern.as_bytes(), text.as_bytes()),
        }
    }
    found
}

/// Matches `*` and `?` and nothing else (ssh_config(5), PATTERNS), going back to the last `*` only.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                star = Some((at_pattern, at_text));
                at_pattern += 1;
            }
            Some(letter) if *letter == b'?' || *letter == text[at_text] => {
                at_pattern += 1;
                at_text += 1;
            }
            Some(_) | None => match &mut star {
                Some((star_pattern, star_text)) => {
                    *star_text += 1;
                    (at_pattern, at_text) = (*star_pattern + 1, *star_text);
                }
                None => return false,
            },
        }
    }
    pattern[at_pattern..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::super::text::parse;
    use super::*;

    fn ask(text: &str, host: &str) -> HostSettings {
        lookup(&[parse(text).unwrap().items], "/home/me", host, None, "me")
    }

    #[test]
    fn tokens_and_tilde_are_expanded() {
        let settings = ask(
            "HostName %h.example\nUser root\nPort 2\nIdentityFile ~/.ssh/%r@%n-%p\nIdentityFile %d/%u/100%%\n\
             ProxyCommand ssh -W %h:%p %C\nUserKnownHostsFile ~/a %d/b\nIdentityAgent ~other/x\nHostKeyAlias %n",
            "Web",
        );
        assert_eq!(settings.host_name.as_deref(), Some("web.example"));
        assert_eq!(settings.identity_files, ["/home/me/.ssh/root@Web-2", "/home/me/me/100%"]);
        assert_eq!(settings.proxy_command.as_deref(), Some("ssh -W web.example:2 %C"));
        assert_eq!(settings.user_known_hosts_files.unwrap(), ["/home/me/a", "/home/me/b"]);
        assert_eq!(settings.identity_agent.as_deref(), Some("~other/x"));
    }

    #[test]
    fn first_values_win() {
        for (text, jump, command) in [
            ("ProxyJump a\nProxyCommand b", Some(vec!["a"]), None),
            ("ProxyCommand b\nProxyJump a", None, Some("b")),
            ("ProxyJump none\nProxyCommand b", Some(vec![]), None),
            ("ProxyCommand none\nProxyJump a", None, None),
        ] {
            let settings = ask(text, "h");
            assert_eq!(
                settings.proxy_jump,
                jump.map(|hops| hops.into_iter().map(str::to_owned).collect()),
                "{text}"
            );
            assert_eq!(settings.proxy_command.as_deref(), command, "{text}");
        }
        assert_eq!(ask("ConnectTimeout none\nConnectTimeout 5", "h").connect_timeout, None);
        assert_eq!(ask("Match exec x\nPort 1\nHost *\nPort 2", "h").port, Some(2));
    }

    #[test]
    fn patterns_match_as_in_openssh() {
        for (patterns, text, expected) in [
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "abd", false),
            ("*.nl,!x.nl", "y.nl", true),
            ("*.nl,!x.nl", "x.nl", false),
            ("!x.nl", "y.nl", false),
            ("10.0.0.?", "10.0.0.1", true),
            ("10.0.0.?", "10.0.0.10", false),
            ("a*b*c", "a1b2b3c", true),
            ("[ab]", "a", false),
        ] {
            assert_eq!(matches_list(patterns, text), expected, "{patterns} {text}");
        }
        assert!(!matches(&b"*a".repeat(200), &[b'a'; 150]));
    }
}
