//! Our own format: YAML with `vars`, `hosts` and `groups`.
//!
//! ```yaml
//! vars: {ntp: ntp.example}                      # for every host
//! hosts:
//!   edge-1: {address: 10.0.0.1, user: root, vars: {rack: 4}, groups: [nl]}
//!   edge-[2:5]: {}                              # four hosts
//! groups:
//!   edge: {hosts: ["edge-[1:5]"], user: deploy, legacy: true, vars: {role: edge}}
//!   nl: {groups: [edge]}                        # groups nest
//!   all: {connect_timeout: 10s}                 # settings and vars only
//! ```
//!
//! Hosts and groups take the connection settings `address` (hosts only) `port` `user` `identity_files` `jump` `legacy`
//! `password` `passphrase` `sudo_password` `sudo` `sudo_user` `known_hosts` `connect_timeout` `transport`, and on network
//! devices `os` (`ios`, `asa`, or `ap` for an autonomous access point) and `enable_password`.
//! `password`, `passphrase`, `sudo_password` and `enable_password` take the *name* of a secret, never its value.

use std::sync::Arc;

use super::ALL;
use super::draft::{Draft, Placed, set};
use super::error::{Error, Place, Problem};
use super::range::expand;
use super::setting::{SETTINGS, normal};
use crate::model::nearest::nearest;
use crate::model::yaml::{self, Booleans, Content, Key, Node};

impl Draft {
    /// Adds one file in our format.
    pub fn read_own(&mut self, text: &str, file: &str) -> Result<(), Error> {
        self.read_own_tree(yaml::parse(text, file, Booleans::Strict)?, file)
    }

    /// Adds one file in our format that is already parsed.
    pub fn read_own_tree(&mut self, root: Node, file: &str) -> Result<(), Error> {
        let reader = Reader { file: file.into() };
        for (key, node) in reader.entries(root, "an inventory")? {
            match key.text.as_str() {
                "vars" => reader.vars(self, &Owner::Group(ALL), node)?,
                "hosts" => reader.hosts(self, node)?,
                "groups" => reader.groups(self, node)?,
                _ => return Err(reader.unknown(&key, "an inventory", &["vars", "hosts", "groups"])),
            }
        }
        Ok(())
    }
}

struct Reader {
    file: Arc<str>,
}

/// Whose declaration is being read.
enum Owner<'a> {
    Host(&'a str),
    Group(&'a str),
}

impl std::fmt::Display for Owner<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(name) => write!(formatter, "host `{name}`"),
            Self::Group(name) => write!(formatter, "group `{name}`"),
        }
    }
}

impl Reader {
    fn hosts(&self, draft: &mut Draft, node: Node) -> Result<(), Error> {
        for (key, body) in self.entries(node, "`hosts`")? {
            let place = self.at(key.line, key.column);
            let names = expand(&key.text).map_err(|error| Error::at(&place, error))?;
            for name in &names {
                check_name(name, &place)?;
                draft.host(name, &place);
            }
            let owner = format!("host `{}`", key.text);
            for (key, node) in self.entries(body, &owner)? {
                for name in &names {
                    self.host_key(draft, name, &key, node.clone())?;
                }
            }
        }
        Ok(())
    }

    fn host_key(&self, draft: &mut Draft, name: &str, key: &Key, node: Node) -> Result<(), Error> {
        let owner = Owner::Host(name);
        match key.text.as_str() {
            "vars" => self.vars(draft, &owner, node),
            "groups" => {
                let groups = self.names("`groups`", node)?;
                draft.host(name, &self.at(key.line, key.column)).groups.extend(groups);
                Ok(())
            }
            setting if SETTINGS.contains(&setting) => self.setting(draft, &owner, key, node),
            _ => Err(self.unknown(key, &owner.to_string(), &[&SETTINGS[..], &["vars", "groups"]].concat())),
        }
    }

    fn groups(&self, draft: &mut Draft, node: Node) -> Result<(), Error> {
        for (key, body) in self.entries(node, "`groups`")? {
            let place = self.at(key.line, key.column);
            check_name(&key.text, &place)?;
            draft.group(&key.text, &place);
            let owner = Owner::Group(&key.text);
            for (key, node) in self.entries(body, &owner.to_string())? {
                self.group_key(draft, &owner, &key, node)?;
            }
        }
        Ok(())
    }

    fn group_key(&self, draft: &mut Draft, owner: &Owner<'_>, key: &Key, node: Node) -> Result<(), Error> {
        let (Owner::Group(name) | Owner::Host(name)) = *owner;
        let place = self.at(key.line, key.column);
        match key.text.as_str() {
            "vars" => self.vars(draft, owner, node),
            member @ ("hosts" | "groups") if name == ALL => {
                Err(Error::at(&place, Problem::MembersOfAll { key: member.to_owned() }))
            }
            "hosts" => {
                for (text, place) in self.names("`hosts`", node)? {
                    for host in expand(&text).map_err(|error| Error::at(&place, error))? {
                        draft.group(name, &place).hosts.push((host, place.clone()));
                    }
                }
                Ok(())
            }
            "groups" => {
                let children = self.names("`groups`", node)?;
                draft.group(name, &place).children.extend(children);
                Ok(())
            }
            setting if setting != "address" && SETTINGS.contains(&setting) => {
                self.setting(draft, owner, key, node)
            }
            _ => Err(self.unknown(
                key,
                &owner.to_string(),
                &[&SETTINGS[1..], &["vars", "hosts", "groups"]].concat(),
            )),
        }
    }

    fn vars(&self, draft: &mut Draft, owner: &Owner<'_>, node: Node) -> Result<(), Error> {
        for (key, node) in self.entries(node, "`vars`")? {
            let placed = Placed { place: self.at(key.line, key.column), value: node.into_value() };
            let format = draft.format;
            let layer = match owner {
                Owner::Host(name) => &mut draft.host(name, &placed.place).vars,
                Owner::Group(name) => &mut draft.group(name, &placed.place).vars,
            };
            set(layer, format, &owner.to_string(), &key.text, placed)?;
        }
        Ok(())
    }

    fn setting(&self, draft: &mut Draft, owner: &Owner<'_>, key: &Key, node: Node) -> Result<(), Error> {
        let place = self.at(node.line, node.column);
        let value = normal(&key.text, node.into_value()).map_err(|problem| Error::at(&place, problem))?;
        let format = draft.format;
        let layer = match owner {
            Owner::Host(name) => &mut draft.host(name, &place).settings,
            Owner::Group(name) => &mut draft.group(name, &place).settings,
        };
        set(layer, format, &owner.to_string(), &key.text, Placed { value, place })
    }

    /// Reads a list of names, or one name.
    fn names(&self, key: &str, node: Node) -> Result<Vec<(String, Place)>, Error> {
        let nodes = match node.content {
            Content::List(nodes) => nodes,
            Content::Scalar(_) if node.is_null() => Vec::new(),
            Content::Scalar(_) | Content::Map(_) => vec![node],
        };
        nodes
            .into_iter()
            .map(|node| {
                let place = self.at(node.line, node.column);
                match node.content {
                    Content::Scalar(serde_json::Value::String(text)) => Ok((text, place)),
                    Content::Scalar(_) | Content::List(_) | Content::Map(_) => {
                        Err(self.shape(&node, key, "a list of names"))
                    }
                }
            })
            .collect()
    }

    /// Reads a mapping, or nothing at all.
    fn entries(&self, node: Node, owner: &str) -> Result<Vec<(Key, Node)>, Error> {
        match node.content {
            Content::Map(entries) => Ok(entries),
            Content::Scalar(_) if node.is_null() => Ok(Vec::new()),
            Content::Scalar(_) | Content::List(_) => Err(self.shape(&node, owner, "a mapping")),
        }
    }

    fn shape(&self, node: &Node, key: &str, expected: &'static str) -> Error {
        let problem = Problem::Value { key: key.to_owned(), expected, found: node.shape().to_owned() };
        Error::at(&self.at(node.line, node.column), problem)
    }

    fn unknown(&self, key: &Key, section: &str, known: &[&str]) -> Error {
        let hint = match nearest(&key.text, known.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        let problem = Problem::UnknownKey { key: key.text.clone(), section: section.to_owned(), hint };
        Error::at(&self.at(key.line, key.column), problem)
    }

    fn at(&self, line: u64, column: u64) -> Place {
        Place { file: Arc::clone(&self.file), line, column }
    }
}

fn check_name(name: &str, place: &Place) -> Result<(), Error> {
    let is_sound = name.starts_with(|first: char| first.is_alphanumeric() || first == '_')
        && name.chars().all(|letter| letter.is_alphanumeric() || "._-".contains(letter));
    if is_sound { Ok(()) } else { Err(Error::at(place, Problem::Name { name: name.to_owned() })) }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;
    use crate::model::inventory::{Format, HostKeyPolicy, Inventory, Transport};

    fn read(files: &[&str]) -> Result<Inventory, Error> {
        let mut draft = Draft::new(Format::Own);
        for (number, text) in files.iter().enumerate() {
            draft.read_own(text, &format!("{number}.yaml"))?;
        }
        draft.finish().map(|(inventory, _)| inventory)
    }

    #[test]
    fn the_example_of_the_module_reads() {
        let inventory = read(&[r#"
vars: {ntp: ntp.example}
hosts:
  edge-1: {address: 10.0.0.1, user: root, vars: {rack: 4}, groups: [nl]}
  edge-[2:5]: {}
groups:
  edge: {hosts: ["edge-[1:5]"], user: deploy, legacy: true, vars: {role: edge}}
  nl: {groups: [edge], known_hosts: accept-new, jump: bastion.example}
  all: {connect_timeout: 10s}
"#])
        .unwrap();
        let edge = inventory.host("edge-1").unwrap();
        assert_eq!(edge.connection.user.as_deref(), Some("root"));
        assert_eq!(edge.connection.known_hosts, Some(HostKeyPolicy::AcceptNew));
        assert_eq!(edge.connection.connect_timeout, Some(std::time::Duration::from_secs(10)));
        assert_eq!(json!(edge.vars), json!({"ntp": "ntp.example", "rack": 4, "role": "edge"}));
        assert_eq!(edge.groups.iter().collect::<Vec<_>>(), ["all", "edge", "nl"]);
        let other = inventory.host("edge-5").unwrap();
        assert_eq!(other.connection.user.as_deref(), Some("deploy"));
        assert!(other.connection.legacy);
        assert_eq!(other.connection.jump, ["bastion.example"]);
        assert_eq!(inventory.group("nl").unwrap().hosts.len(), 5);
        assert_eq!(inventory.group("nl").unwrap().children, ["edge"]);
        assert_eq!(inventory.group("all").unwrap().children, ["nl"]);
    }

    #[test]
    fn the_nearest_value_wins() {
        let inventory = read(&["
vars: {all: all, top: all, low: all, a: all, b: all, host: all, map: {x: 1}}
hosts: {h: {vars: {host: host, map: {y: 2}}}}
groups:
  top: {groups: [low], vars: {top: top, low: top, a: top, b: top, host: top}}
  low: {groups: [ga, gb], vars: {low: low, a: low, b: low, host: low}}
  gb: {hosts: [h], vars: {b: gb, a: gb, host: gb}}
  ga: {hosts: [h], vars: {b: ga, a: ga, host: ga}}
  zz: {hosts: [h], vars: {low: zz, host: zz, a: zz, all: zz}}
"])
        .unwrap();
        // `zz` lies directly below `all`, so the deeper `low` beats it although it comes first in the alphabet.
        let expected = json!({"all": "zz", "top": "top", "low": "low", "a": "gb", "b": "gb", "host": "host", "map": {"y": 2}});
        assert_eq!(json!(inventory.host("h").unwrap().vars), expected);
    }

    #[test]
    fn files_add_up() {
        let inventory = read(&[
            "hosts: {a: {port: 22}}\ngroups: {g: {hosts: [b]}}\nvars: {x: 1}",
            "hosts: {b: {}, a: {user: u, port: 22}}\ngroups: {g: {hosts: [a], vars: {y: 2}}}\nvars: {x: 1, z: 3}",
            "",
        ])
        .unwrap();
        assert_eq!(inventory.group("g").unwrap().hosts, ["a", "b"]);
        let host = inventory.host("a").unwrap();
        assert_eq!((host.connection.port, host.connection.user.as_deref()), (Some(22), Some("u")));
        assert_eq!(json!(host.vars), json!({"x": 1, "y": 2, "z": 3}));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, line, column, message, hint) in [
            ("host: {}", 1, 1, "unknown key `host` in an inventory", Some("did you mean `hosts`?")),
            ("hosts: {a: {prot: 1}}", 1, 13, "unknown key `prot` in host `a`", Some("did you mean `port`?")),
            ("groups: {a: {adress: 1}}", 1, 14, "unknown key `adress` in group `a`", None),
            ("hosts: {a: {port: ssh}}", 1, 19, "`port` wants a number from 1 to 65535, not `ssh`", None),
            ("hosts: {a: {port: 1, port: 2}}", 1, 22, "duplicate key `port`", None),
            ("hosts:\n  a: {}\n  a: {}", 3, 3, "duplicate key `a`", None),
            ("hosts: [a, b]", 1, 8, "`hosts` wants a mapping, not a list", None),
            ("hosts: {a: 10.0.0.1}", 1, 12, "host `a` wants a mapping, not a text", None),
            ("hosts: {'a b': {}}", 1, 9, "`a b` cannot be a name", None),
            ("hosts: {'a[1:': {}}", 1, 9, "`a[1:` has a `[` without `]`", None),
            (
                "groups: {g: {hosts: [edge-1]}}\nhosts: {edge-2: {}}",
                1,
                22,
                "group `g` lists host `edge-1`",
                Some("did you mean `edge-2`?"),
            ),
            (
                "groups: {web: {groups: [wbe]}}",
                1,
                25,
                "group `web` names group `wbe`",
                Some("did you mean `web`?"),
            ),
            (
                "hosts: {a: {groups: [new]}}",
                1,
                22,
                "host `a` names group `new`",
                Some("declare it under `groups:`: `new: {}`"),
            ),
            ("hosts: {a: {}}\ngroups: {a: {}}", 2, 10, "`a` is both a host and a group", None),
            ("hosts: {all: {}}", 1, 9, "`all` is both a host and a group", None),
            ("groups: {all: {hosts: [a]}}", 1, 16, "`all` holds every host", None),
            (
                "groups: {a: {groups: [b]}, b: {groups: [c]}, c: {groups: [a]}, d: {groups: [a]}}",
                1,
                23,
                "groups contain each other: a > b > c > a",
                None,
            ),
            ("groups: {a: {groups: [a]}}", 1, 23, "groups contain each other: a > a", None),
            ("groups: {a: {groups: [all]}}", 1, 23, "groups contain each other: all > a > all", None),
            (
                "hosts: {a: {jump: b}, b: {jump: c}, c: {jump: b}}",
                1,
                19,
                "jump hosts lead in a circle: a > b > c > b",
                None,
            ),
            (
                "hosts: {a: {password: 'hunter2 !'}}",
                1,
                23,
                "`password` takes the name of a secret",
                Some("put the value into a secret and write its name: `password: edge-login`"),
            ),
            (
                "hosts: {a: {vars: {x: 1}}, 'a[:0]': {}}\nvars: 3",
                2,
                7,
                "`vars` wants a mapping, not a number",
                None,
            ),
            (
                "hosts: {e1: {address: x}, 'e[1:2]': {address: y}}",
                1,
                47,
                "host `e1` has `address` twice with different values, first at 0.yaml:1:23",
                None,
            ),
            (
                "vars: {x: 1}\ngroups: {all: {vars: {x: 2}}}",
                2,
                23,
                "group `all` has `x` twice with different values",
                None,
            ),
            ("hosts:\n\ta: {}", 2, 2, "tabs", None),
        ] {
            let error = read(&[text]).expect_err(text);
            assert!(error.to_string().contains(message), "{text}: {error}");
            assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
            assert_eq!(error.file.to_str(), Some("0.yaml"));
            if let Some(hint) = hint {
                assert_eq!(error.hint().as_deref(), Some(hint), "{text}");
            }
        }
    }

    #[test]
    fn files_that_disagree_name_both_places() {
        let error =
            read(&["hosts: {a: {address: 10.0.0.1}}", "hosts: {a: {address: 10.0.0.2}}"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "host `a` has `address` twice with different values, first at 0.yaml:1:22"
        );
        assert_eq!((error.file.to_str(), error.line, error.column), (Some("1.yaml"), 1, 22));
    }

    #[test]
    fn localhost_is_local_unless_it_has_an_address() {
        for (text, transport, in_all) in [
            ("", Transport::Local, false),
            ("hosts: {localhost: {}}", Transport::Local, true),
            ("hosts: {localhost: {address: 127.0.0.1}}", Transport::Ssh, true),
            ("hosts: {localhost: {transport: ssh}}", Transport::Ssh, true),
        ] {
            let inventory = read(&[text, "vars: {x: 1}\nhosts: {a: {}}"]).unwrap();
            let localhost = inventory.host("localhost").unwrap();
            assert_eq!(localhost.connection.transport, transport, "{text}");
            assert_eq!(localhost.groups.contains("all"), in_all, "{text}");
            assert_eq!(localhost.vars["x"], 1, "{text}");
        }
    }

    #[test]
    fn a_bastion_is_not_reached_through_itself() {
        let inventory = read(&["hosts: {bastion: {}, a: {}}\ngroups: {all: {jump: bastion}}"]).unwrap();
        assert_eq!(inventory.host("a").unwrap().connection.jump, ["bastion"]);
        assert!(inventory.host("bastion").unwrap().connection.jump.is_empty());
    }

    #[test]
    fn twenty_thousand_hosts_load() {
        let mut text = "groups: {all: {user: deploy}, web: {vars: {role: web}}}\nhosts:\n".to_owned();
        for host in 0..20_000 {
            let (high, low) = (host / 250, host % 250);
            writeln!(
                text,
                "  n{host}: {{address: 10.1.{high}.{low}, port: 22, groups: [web], vars: {{rack: {high}, unit: {low}}}}}"
            )
            .unwrap();
        }
        let inventory = read(&[&text]).unwrap();
        assert_eq!(inventory.select("web:!n19999").unwrap().len(), 19_999);
        assert_eq!(
            json!(inventory.host("n777").unwrap().vars),
            json!({"rack": 3, "unit": 27, "role": "web"})
        );
    }
}
