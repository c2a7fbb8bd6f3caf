//! Where secrets stand in lines: what people and records see has `*****` there.

/// What stands in the place of a secret, as devices write it.
pub const MASK: &str = "*****";

/// Words after which a secret stands.
const MARKERS: [&str; 14] = [
    "password",
    "passwd",
    "secret",
    "community",
    "pre-shared-key",
    "key-string",
    "wpa-psk",
    "md5",
    "authentication-key",
    "ldap-login-password",
    "nthash",
    "128bit",
    "40bit",
    "key",
];

/// Returns a line as people may see it: `*****` where a secret stands.
pub(super) fn without_secret(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    for at in places(&words) {
        words[at] = MASK;
    }
    words.join(" ")
}

/// Returns a text as people may see it; its lines end as they did.
pub fn masked(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end_matches(['\n', '\r']);
        shown.push_str(&without_secret(bare));
        shown.push_str(&line[bare.len()..]);
    }
    shown
}

/// Returns the words of a text that stand where secrets do, without those that are masked already and what people wrote for people.
pub fn secrets(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if words.iter().take(4).any(|word| matches!(*word, "description" | "remark")) {
            continue;
        }
        found.extend(places(&words).into_iter().map(|at| words[at].trim_end_matches('\r')));
    }
    found.retain(|word| !word.is_empty() && !is_mask(word));
    found
}

/// Which words are secrets.
fn places(words: &[&str]) -> Vec<usize> {
    let mut found: Vec<usize> = (0..words.len())
        .filter(|at| is_marker(words, *at))
        .filter_map(|at| (at + 1..words.len()).find(|at| !is_form(words[*at])))
        .filter(|at| !MARKERS.contains(&words[*at]))
        .collect();
    found.extend(unmarked(words));
    found
}

fn is_marker(words: &[&str], at: usize) -> bool {
    let before = || at.checked_sub(1).map_or("", |at| words[at]);
    let next = words.get(at + 1).copied().unwrap_or_default();
    match words[at] {
        // `set community 65000:1` is a route's, and `password encryption aes` a switch.
        "community" => !matches!(before(), "set" | "match"),
        "password" => next != "encryption",
        // A key has a name or a number in its chain, and what makes keys has none.
        "key" => {
            let is_bare = words[..at].iter().all(|word| word.is_empty() || *word == "no");
            let is_number = next.bytes().all(|byte| byte.is_ascii_digit()) && words.len() == at + 2;
            let is_made = matches!(before(), "crypto" | "public" | "host") || at == 0 && next == "chain";
            !is_number
                && !is_made
                && !matches!(next, "chain" | "generate" | "config-key" | "pubkey-chain" | "zeroize")
                && (is_bare
                    || words.iter().any(|word| {
                        matches!(*word, "isakmp" | "failover" | "tacacs" | "radius")
                            || word.ends_with("-server")
                            || word.ends_with("-private")
                    }))
        }
        word => MARKERS.contains(&word),
    }
}

/// Secrets that no marker stands before.
fn unmarked(words: &[&str]) -> Vec<usize> {
    let first = words.iter().position(|word| !word.is_empty() && *word != "no").unwrap_or(0);
    let rest = &words[first..];
    let is = |begin: &[&str]| rest.starts_with(begin);
    if is(&["snmp-server", "host"]) && !rest.contains(&"community") {
        // `snmp-server host 192.0.2.1 version 2c NAME`: the first word behind the address that is no option.
        let mut at = first + 3;
        while at < words.len() {
            match words[at] {
                "version" | "vrf" => at += 2,
                "traps" | "informs" | "auth" | "noauth" | "priv" => at += 1,
                _ => return vec![at],
            }
        }
        return Vec::new();
    }
    if is(&["snmp-server", "user"]) {
        let is_method = |word: &str| {
            matches!(word, "md5" | "sha" | "aes" | "des" | "3des")
                || word.bytes().all(|byte| byte.is_ascii_digit())
        };
        let marks = (first..words.len()).filter(|at| matches!(words[*at], "auth" | "priv"));
        return marks.filter_map(|at| (at + 1..words.len()).find(|at| !is_method(words[*at]))).collect();
    }
    if matches!(rest.first(), Some(&("standby" | "vrrp" | "glbp"))) || is(&["ip", "nhrp", "authentication"]) {
        let at = words.iter().position(|word| *word == "authentication");
        let at = at.map(|at| if words.get(at + 1) == Some(&"text") { at + 2 } else { at + 1 });
        return at.filter(|at| words.get(*at).is_some_and(|word| *word != "md5")).into_iter().collect();
    }
    Vec::new()
}

/// How a secret is written stands before it: `secret 9 …`, `pre-shared-key local …`, `wpa-psk ascii 7 …`.
fn is_form(word: &str) -> bool {
    matches!(word, "local" | "remote" | "ascii" | "hex")
        || (word.len() == 1 && word.as_bytes()[0].is_ascii_digit())
}

/// Whether a text has a word that a device shows instead of a secret: `*****`.
pub(super) fn is_masked(text: &str) -> bool {
    text.contains("***") && text.split(' ').any(is_mask)
}

pub(super) fn is_mask(word: &str) -> bool {
    let word = word.trim_matches('"');
    word.len() >= 3 && word.bytes().all(|byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_where_devices_write_them() {
        for (line, shown) in [
            ("enable secret 9 $9$abc", "enable secret 9 *****"),
            ("username bob privilege 15 password 0 hush", "username bob privilege 15 password 0 *****"),
            ("snmp-server community hush RO 23", "snmp-server community ***** RO 23"),
            ("snmp-server host 192.0.2.1 version 2c hush", "snmp-server host 192.0.2.1 version 2c *****"),
            ("snmp-server host 192.0.2.1 hush", "snmp-server host 192.0.2.1 *****"),
            (
                "snmp-server host inside 192.0.2.1 community hush version 2c",
                "snmp-server host inside 192.0.2.1 community ***** version 2c",
            ),
            (
                "snmp-server user u g v3 auth sha hush priv aes 128 hist",
                "snmp-server user u g v3 auth sha ***** priv aes 128 *****",
            ),
            (" neighbor 192.0.2.1 password 7 0822", " neighbor 192.0.2.1 password 7 *****"),
            (" ip ospf message-digest-key 1 md5 hush", " ip ospf message-digest-key 1 md5 *****"),
            ("ntp authentication-key 1 md5 hush", "ntp authentication-key 1 md5 *****"),
            ("tacacs-server host 192.0.2.1 key hush", "tacacs-server host 192.0.2.1 key *****"),
            (" key 7 0822", " key 7 *****"),
            (" key hush", " key *****"),
            (" key 12", " key 12"),
            ("key chain EIGRP", "key chain EIGRP"),
            ("  key-string 7 0822", "  key-string 7 *****"),
            ("crypto isakmp key hush address 192.0.2.1", "crypto isakmp key ***** address 192.0.2.1"),
            ("crypto key generate rsa", "crypto key generate rsa"),
            ("failover key hush", "failover key *****"),
            (" ldap-login-password hush", " ldap-login-password *****"),
            (
                " ikev2 remote-authentication pre-shared-key hush",
                " ikev2 remote-authentication pre-shared-key *****",
            ),
            (" standby 1 authentication hush", " standby 1 authentication *****"),
            (
                " standby 1 authentication md5 key-string hush",
                " standby 1 authentication md5 key-string *****",
            ),
            (" ip nhrp authentication hush", " ip nhrp authentication *****"),
            (" set community 65000:1", " set community 65000:1"),
            ("password encryption aes", "password encryption aes"),
            ("service password-encryption", "service password-encryption"),
            ("   wpa-psk ascii 7 0822", "   wpa-psk ascii 7 *****"),
            ("access-list X extended permit ip any any", "access-list X extended permit ip any any"),
        ] {
            assert_eq!(without_secret(line), shown);
        }
    }

    #[test]
    fn a_text_keeps_its_lines_and_tells_its_secrets() {
        let text = "enable secret 9 $9$abc\r\n!\nusername bob password *****\n description no secret here\n";
        let shown = "enable secret 9 *****\r\n!\nusername bob password *****\n description no secret *****\n";
        assert_eq!(masked(text), shown);
        assert_eq!(secrets(text), ["$9$abc"]);
    }
}
