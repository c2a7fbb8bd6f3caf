//! Ansible inventories in INI form.
//!
//! ```ini
//! bastion ansible_host=10.0.0.9
//! [web]
//! web[01:10].nl ansible_user=deploy motd='two words'
//! [nl:children]
//! web
//! [web:vars]
//! ntp = ntp.example
//! ```

use std::collections::BTreeSet;

use super::ansible_literal::value;
use super::ansible_ssh::words;
use super::draft::{Draft, Format, Placed, set};
use super::error::{Error, Place, Problem};
use super::range::expand;

enum Section {
    Hosts(String),
    Children(String),
    Vars(String),
}

impl Draft {
    /// Adds an Ansible inventory in INI form.
    pub fn read_ansible_ini(&mut self, text: &str, file: &str) -> Result<(), Error> {
        let mut section = Section::Hosts("ungrouped".to_owned());
        // Groups may be named before their own section comes, but not without one.
        let mut awaited: Vec<(String, Place)> = Vec::new();
        let mut declared: BTreeSet<String> = self.groups.keys().cloned().collect();
        let file: std::sync::Arc<str> = file.into();
        for (line, number) in text.lines().zip(1..) {
            let column = line.chars().take_while(|letter| letter.is_whitespace()).count() as u64 + 1;
            let place = Place { file: file.clone(), line: number, column };
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(header) = header(line) {
                section = header.map_err(|sentence| Error::at(&place, Problem::Ini(sentence)))?;
                match &section {
                    Section::Hosts(name) | Section::Children(name) => {
                        self.group(name, &place);
                        declared.insert(name.clone());
                    }
                    Section::Vars(name) => awaited.push((name.clone(), place)),
                }
                continue;
            }
            match &section {
                Section::Hosts(group) => self.ini_hosts(group, line, &place)?,
                Section::Children(group) => {
                    let child = line.split(['#', ';']).next().unwrap_or_default().trim();
                    awaited.push((child.to_owned(), place.clone()));
                    self.group(group, &place).children.push((child.to_owned(), place));
                }
                Section::Vars(group) => {
                    let Some((key, text)) = line.split_once('=') else {
                        let sentence = format!("`{line}` is not a variable: `key = value` is wanted");
                        return Err(Error::at(&place, Problem::Ini(sentence)));
                    };
                    let placed = Placed { value: value(text), place: place.clone() };
                    let layer = &mut self.group(group, &place).vars;
                    set(layer, Format::Ansible, group, key.trim(), placed)?;
                }
            }
        }
        match awaited.into_iter().find(|(name, _)| !declared.contains(name)) {
            Some((name, place)) => {
                Err(Error::at(&place, Problem::Ini(format!("group `{name}` has no section of its own"))))
            }
            None => Ok(()),
        }
    }

    fn ini_hosts(&mut self, group: &str, line: &str, place: &Place) -> Result<(), Error> {
        let broken = || Error::at(place, Problem::Ini("a quote is not closed".to_owned()));
        let mut words = words(without_comment(line)).ok_or_else(broken)?.into_iter();
        let Some(name) = words.next() else { return Ok(()) };
        let mut vars = Vec::new();
        for word in words {
            let Some((key, text)) = word.split_once('=') else {
                let sentence =
                    format!("`{word}` is not a variable: `key=value` is wanted after the name of a host");
                return Err(Error::at(place, Problem::Ini(sentence)));
            };
            vars.push((key.to_owned(), value(text)));
        }
        let (name, port) = split_port(&name);
        if let Some(port) = port {
            vars.insert(0, ("ansible_port".to_owned(), port.into()));
        }
        for host in host_names(name).map_err(|error| Error::at(place, error))? {
            let draft = self.host(&host, place);
            for (key, value) in &vars {
                let placed = Placed { value: value.clone(), place: place.clone() };
                set(&mut draft.vars, Format::Ansible, &host, key, placed)?;
            }
            if group != "ungrouped" {
                self.group(group, place).hosts.push((host, place.clone()));
            }
        }
        Ok(())
    }
}

/// Reads `[name]`, `[name:children]` and `[name:vars]`; `None` when the line is no header.
fn header(line: &str) -> Option<Result<Section, String>> {
    let (inside, tail) = line.strip_prefix('[')?.split_once(']')?;
    // `[a:c]x` is a host whose name starts with a range.
    let tail = tail.trim_start();
    if !tail.is_empty() && !tail.starts_with(['#', ';']) {
        return None;
    }
    let (name, kind) = inside.split_once(':').unwrap_or((inside, "hosts"));
    let name = name.trim().to_owned();
    Some(match kind.trim() {
        _ if name.is_empty() => Err(format!("`[{inside}]` names no group")),
        "hosts" => Ok(Section::Hosts(name)),
        "children" => Ok(Section::Children(name)),
        "vars" => Ok(Section::Vars(name)),
        other => Err(format!("`[{inside}]` is of no known kind: `{other}` is neither `children` nor `vars`")),
    })
}

/// Cuts a comment off, unless the `#` stands in quotes or inside a word.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (position, letter) in line.char_indices() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, '#') if before.is_whitespace() => return &line[..position],
            (_, _) => {}
        }
        before = letter;
    }
    line
}

/// Cuts `host:2222` and `[2001:db8::1]:2222` apart; a bare IPv6 address has no port.
fn split_port(name: &str) -> (&str, Option<u64>) {
    if let Some((host, port)) = name.rsplit_once(':')
        && let Ok(number) = port.parse::<u64>()
        && !without_brackets(host).contains(':')
    {
        return (host, Some(number));
    }
    (name, None)
}

fn without_brackets(text: &str) -> String {
    let mut depth = 0_usize;
    text.chars()
        .filter(|letter| {
            match letter {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        })
        .collect()
}

/// Expands ranges, but not the brackets or colons of an IPv6 address.
pub(super) fn host_names(name: &str) -> Result<Vec<String>, super::RangeError> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(vec![bare.to_owned()]);
    }
    expand(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::inventory::{Inventory, Transport, VarsOf};

    fn read(text: &str) -> Result<(Inventory, Vec<String>), Error> {
        let mut draft = Draft::new(Format::Ansible);
        draft.read_ansible_ini(text, "hosts")?;
        draft.finish()
    }

    const EXAMPLE: &str = r#"
; a comment
bastion ansible_host=10.0.0.9   # another
local ansible_connection=local
[web]
web[08:10].nl ansible_user=deploy motd='two words' n=5 mode=0644 list="['a', 'b']"
[2001:db8::1]:2222
2001:db8::2
db:5432
[nl:children]
web
dc
[web:vars]
ntp = ntp.example
ansible_ssh_common_args='-o ProxyJump="bastion"'
quoted = 'a b'
[dc]
[all:vars]
ntp=all.example
"#;

    #[test]
    fn the_example_reads_as_in_ansible() {
        let (inventory, warnings) = read(EXAMPLE).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        let names: Vec<_> = inventory.hosts().map(|host| host.name.as_str()).collect();
        let expected = [
            "bastion",
            "local",
            "web08.nl",
            "web09.nl",
            "web10.nl",
            "2001:db8::1",
            "2001:db8::2",
            "db",
            "localhost",
        ];
        assert_eq!(names, expected);
        let web = inventory.host("web09.nl").unwrap();
        assert_eq!(web.connection.user.as_deref(), Some("deploy"));
        assert_eq!(web.connection.jump, ["bastion"]);
        assert_eq!(web.groups.iter().collect::<Vec<_>>(), ["all", "nl", "web"]);
        assert_eq!(web.vars["motd"], "two words");
        assert_eq!((&web.vars["n"], &web.vars["mode"]), (&json!(5), &json!("0644")));
        assert_eq!((&web.vars["list"], &web.vars["quoted"]), (&json!(["a", "b"]), &json!("a b")));
        assert_eq!(web.vars["ntp"], "ntp.example");
        assert_eq!(inventory.host("bastion").unwrap().vars["ntp"], "all.example");
        assert_eq!(inventory.host("bastion").unwrap().connection.address.as_deref(), Some("10.0.0.9"));
        assert_eq!(inventory.host("local").unwrap().connection.transport, Transport::Local);
        assert_eq!(inventory.host("2001:db8::1").unwrap().connection.port, Some(2222));
        assert_eq!(inventory.host("db").unwrap().connection.port, Some(5432));
        assert_eq!(inventory.group("ungrouped").unwrap().hosts, ["bastion", "local"]);
        assert_eq!(inventory.select("2001:db8::2").unwrap()[0].name, "2001:db8::2");
        assert_eq!(inventory.select("nl:!web[0]").unwrap().len(), 5);
    }

    #[test]
    fn files_of_variables_beat_the_inventory_as_in_ansible() {
        let mut draft = Draft::new(Format::Ansible);
        draft
            .read_ansible_ini(
                "[web]\na x=ini_host y=ini_host\n[web:vars]\ng=ini x=ini\nh=ini\n[all:vars]\ng=1",
                "hosts",
            )
            .unwrap();
        let group = |name: &str| VarsOf::Group(name.to_owned());
        draft
            .read_ansible_vars(&group("all"), "g: file_all\nh: file_all\nx: file_all", "group_vars/all")
            .unwrap();
        draft.read_ansible_vars(&group("web"), "h: file_web\nx: file_web", "group_vars/web").unwrap();
        draft.read_ansible_vars(&VarsOf::Host("a".to_owned()), "y: file_host", "host_vars/a").unwrap();
        draft.read_ansible_vars(&group("wbe"), "y: 1", "group_vars/wbe.yml").unwrap();
        draft
            .read_ansible_vars(&group("web"), "$ANSIBLE_VAULT;1.1;AES256\n30", "group_vars/web/vault")
            .unwrap();
        let (inventory, warnings) = draft.finish().unwrap();
        let expected = json!({"g": "file_all", "h": "file_web", "x": "ini_host", "y": "file_host"});
        assert_eq!(json!(inventory.host("a").unwrap().vars), expected);
        assert_eq!(
            warnings,
            [
                "`group_vars/wbe.yml` is for group `wbe`, which does not exist",
                "`group_vars/web/vault` is encrypted by Ansible Vault as a whole and is not read",
            ]
        );
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, message) in [
            ("[web\na", 1, "`[web` has a `[` without `]`"),
            (
                "[web:parents]\n",
                1,
                "`[web:parents]` is of no known kind: `parents` is neither `children` nor `vars`",
            ),
            ("[:vars]\n", 1, "`[:vars]` names no group"),
            ("a\nb x", 2, "`x` is not a variable: `key=value` is wanted after the name of a host"),
            ("a x='1", 1, "a quote is not closed"),
            ("a\n[web]\n[wbe:vars]\nx=1", 3, "group `wbe` has no section of its own"),
            ("[nl:children]\n  web", 2, "group `web` has no section of its own"),
            ("[a:vars]\nx\n[a]", 2, "`x` is not a variable: `key = value` is wanted"),
            ("[a:children]\nb\n[b:children]\na", 2, "groups contain each other: a > b > a"),
            ("web[5:1]", 1, "the range `[5:1]` ends before it starts"),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!((error.line, error.to_string().as_str()), (line, message), "{text}");
        }
    }
}
