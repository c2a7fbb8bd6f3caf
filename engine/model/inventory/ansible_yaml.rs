//! Ansible inventories in YAML form, and the files of `group_vars/` and `host_vars/`.

use std::sync::Arc;

use super::ansible_ini::host_names;
use super::draft::{Draft, Format, Placed, set};
use super::error::{Error, Place, Problem};
use crate::model::yaml::{self, Booleans, Content, Key, Node};

/// Whose variables a file of `group_vars/` or `host_vars/` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VarsOf {
    /// A group's.
    Group(String),
    /// A host's.
    Host(String),
}

impl Draft {
    /// Adds an Ansible inventory in YAML form.
    pub fn read_ansible_yaml(&mut self, text: &str, file: &str) -> Result<(), Error> {
        let reader = Reader { file: file.into() };
        for (key, node) in reader.entries(yaml::parse(text, file, Booleans::Loose)?, "an inventory")? {
            reader.group(self, &key, node)?;
        }
        Ok(())
    }

    /// Adds the variables of one file of `group_vars/` or `host_vars/`, which beat those written in inventories.
    ///
    /// Call it when all inventories are read: variables of an unknown host or group are left out with a warning, and
    /// so is a file that Ansible Vault encrypted as a whole.
    pub fn read_ansible_vars(&mut self, owner: &VarsOf, text: &str, file: &str) -> Result<(), Error> {
        if text.starts_with("$ANSIBLE_VAULT;") {
            self.warnings.push(format!("`{file}` is encrypted by Ansible Vault as a whole and is not read"));
            return Ok(());
        }
        let layer = match owner {
            VarsOf::Group(name) => self.groups.get_mut(name).map(|group| &mut group.file_vars),
            VarsOf::Host(name) => self.index.get(name).map(|index| &mut self.hosts[*index].file_vars),
        };
        let Some(layer) = layer else {
            let (VarsOf::Group(name) | VarsOf::Host(name)) = owner;
            let kind = if matches!(owner, VarsOf::Group(_)) { "group" } else { "host" };
            self.warnings.push(format!("`{file}` is for {kind} `{name}`, which does not exist"));
            return Ok(());
        };
        let reader = Reader { file: file.into() };
        for (key, node) in reader.entries(yaml::parse(text, file, Booleans::Loose)?, "a file of variables")? {
            let placed = Placed { place: reader.at(key.line, key.column), value: node.into_value() };
            set(layer, Format::Ansible, "", &key.text, placed)?;
        }
        Ok(())
    }
}

struct Reader {
    file: Arc<str>,
}

impl Reader {
    fn group(&self, draft: &mut Draft, key: &Key, node: Node) -> Result<(), Error> {
        let place = self.at(key.line, key.column);
        let name = &key.text;
        draft.group(name, &place);
        for (key, node) in self.entries(node, &format!("group `{name}`"))? {
            match key.text.as_str() {
                "hosts" => self.hosts(draft, name, node)?,
                "children" => {
                    for (child, node) in self.entries(node, "`children`")? {
                        // Everything is a child of `all`; naming it there adds nothing.
                        if name != super::ALL {
                            let place = self.at(child.line, child.column);
                            draft.group(name, &place).children.push((child.text.clone(), place));
                        }
                        self.group(draft, &child, node)?;
                    }
                }
                "vars" => {
                    for (key, node) in self.entries(node, "`vars`")? {
                        let placed =
                            Placed { place: self.at(key.line, key.column), value: node.into_value() };
                        set(&mut draft.group(name, &place).vars, Format::Ansible, name, &key.text, placed)?;
                    }
                }
                other => {
                    let place = self.at(key.line, key.column);
                    draft
                        .warnings
                        .push(format!("{place}: `{other}` means nothing in group `{name}` and is not used"));
                }
            }
        }
        Ok(())
    }

    fn hosts(&self, draft: &mut Draft, group: &str, node: Node) -> Result<(), Error> {
        for (key, node) in self.entries(node, "`hosts`")? {
            let place = self.at(key.line, key.column);
            let names = host_names(&key.text).map_err(|error| Error::at(&place, error))?;
            let vars: Vec<_> = self
                .entries(node, &format!("host `{}`", key.text))?
                .into_iter()
                .map(|(key, node)| {
                    (key.text, Placed { place: self.at(key.line, key.column), value: node.into_value() })
                })
                .collect();
            for name in names {
                let host = draft.host(&name, &place);
                for (key, placed) in &vars {
                    set(&mut host.vars, Format::Ansible, &name, key, placed.clone())?;
                }
                if group != super::ALL && group != "ungrouped" {
                    draft.group(group, &place).hosts.push((name, place.clone()));
                }
            }
        }
        Ok(())
    }

    fn entries(&self, node: Node, owner: &str) -> Result<Vec<(Key, Node)>, Error> {
        match node.content {
            Content::Map(entries) => Ok(entries),
            Content::Scalar(_) if node.is_null() => Ok(Vec::new()),
            Content::Scalar(_) | Content::List(_) => {
                let found = node.shape().to_owned();
                let problem = Problem::Value { key: owner.to_owned(), expected: "a mapping", found };
                Err(Error::at(&self.at(node.line, node.column), problem))
            }
        }
    }

    fn at(&self, line: u64, column: u64) -> Place {
        Place { file: Arc::clone(&self.file), line, column }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::inventory::Inventory;

    fn read(text: &str) -> Result<(Inventory, Vec<String>), Error> {
        let mut draft = Draft::new(Format::Ansible);
        draft.read_ansible_yaml(text, "hosts.yml")?;
        draft.finish()
    }

    #[test]
    fn groups_hosts_and_vaulted_values_read() {
        let (inventory, warnings) = read(
            "all:
  hosts:
    mail: {ansible_host: 10.0.0.3}
  vars: {ntp: a, flag: yes}
  children:
    web:
      hosts:
        web[1:2]: {ansible_port: 2222, ansible_become: yes}
        mail:
      vars: {ntp: b}
      colour: red
    nl: {children: {web: }}
    secret:
      vars:
        key: !vault |
          $ANSIBLE_VAULT;1.1;AES256
          3031
      hosts: {mail: {}}
",
        )
        .unwrap();
        assert_eq!(warnings, ["hosts.yml:11:7: `colour` means nothing in group `web` and is not used"]);
        let web = inventory.host("web2").unwrap();
        assert_eq!((web.connection.port, web.connection.sudo), (Some(2222), Some(true)));
        assert_eq!(web.groups.iter().collect::<Vec<_>>(), ["all", "nl", "web"]);
        assert_eq!((&web.vars["ntp"], &web.vars["flag"]), (&json!("b"), &json!(true)));
        assert_eq!(
            inventory.host("mail").unwrap().vars["key"],
            json!({"__vault": "$ANSIBLE_VAULT;1.1;AES256\n3031\n"})
        );
        assert_eq!(inventory.group("nl").unwrap().hosts, ["mail", "web1", "web2"]);
    }

    #[test]
    fn wrong_shapes_are_named_with_their_place() {
        for (text, line, column, message) in [
            ("- a", 1, 1, "an inventory wants a mapping, not a list"),
            ("all: [a]", 1, 6, "group `all` wants a mapping, not a list"),
            ("all:\n  hosts: a", 2, 10, "`hosts` wants a mapping, not a text"),
            ("all: {hosts: {a: 1}}", 1, 18, "host `a` wants a mapping, not a number"),
            ("all: {hosts: {a: {}, a: {}}}", 1, 22, "duplicate key `a`"),
            ("a: {children: {b: {children: {a: }}}}", 1, 16, "groups contain each other: a > b > a"),
            ("a: {children: {all: }}", 1, 16, "groups contain each other: all > a > all"),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(
                (error.line, error.column, error.to_string().as_str()),
                (line, column, message),
                "{text}"
            );
        }
    }

    #[test]
    fn formats_are_told_apart() {
        for (text, expected) in [
            ("", None),
            ("hosts: {a: {}}", Some(Format::Own)),
            ("host: {a: {}}", Some(Format::Own)),
            ("vars: {}", Some(Format::Own)),
            ("groups: {all: {vars: {}}}", Some(Format::Own)),
            ("all: {hosts: {a: }}", Some(Format::Ansible)),
            ("web: {hosts: {a: }}\ndb: {children: {}}", Some(Format::Ansible)),
            ("web:", Some(Format::Ansible)),
            ("- a", Some(Format::Own)),
        ] {
            assert_eq!(Format::of(&yaml::parse(text, "t", Booleans::Strict).unwrap()), expected, "{text}");
        }
    }
}
