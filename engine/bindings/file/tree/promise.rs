//! A tree in a plan: what earlier effects promised of it, and what it promises to later ones.

use crate::bindings::file::attributes::{Attributes, Mode};
use crate::bindings::file::probe::{Known, Observed, Type};
use crate::bindings::file::promise::{self, Standing, holds_something, standing};
use crate::bindings::file::tree::{Changes, Entry, FILE, FOLDER, Found, There, Tree};
use crate::gate::Permit;
use crate::model::event::Failure;

/// The file type bits of a symbolic link (POSIX sys/stat.h, as Linux numbers them).
const LINK: u32 = 0o120_000;

/// Takes whom a new file would belong to off what the host said, where it says it.
pub(super) fn login(text: &str) -> (Option<Observed>, &str) {
    let told = || {
        let mut nobody = Observed::absent();
        let (uid, rest) = text.strip_prefix("uid ")?.split_once('\n')?;
        let (gid, rest) = rest.strip_prefix("gid ")?.split_once('\n')?;
        let (owner, rest) = rest.strip_prefix("owner ")?.split_once('\n')?;
        let (group, rest) = rest.strip_prefix("group ")?.split_once('\n')?;
        (nobody.uid, nobody.gid) = (uid.parse().ok()?, gid.parse().ok()?);
        (nobody.owner, nobody.group) = (owner.to_owned(), group.to_owned());
        Some((nobody, rest))
    };
    told().map_or((None, text), |(login, rest)| (Some(login), rest))
}

impl There {
    fn promised(state: &Observed) -> Self {
        Self {
            kind: match state.r#type {
                Type::Directory => FOLDER,
                Type::File => FILE,
                Type::Link => LINK,
                Type::Absent | Type::Special => 0,
            },
            mode: state.mode,
            uid: state.uid.to_string(),
            gid: state.gid.to_string(),
            owner: state.owner.clone(),
            group: state.group.clone(),
            sha256: match &state.known {
                Known::Hash(sha256) => Some(sha256.clone()),
                Known::Nothing | Known::Same(_) | Known::Unreadable => None,
            },
        }
    }
}

impl Tree {
    /// Puts what earlier effects of the plan promised over what the host says.
    pub(super) fn overlay(
        &self,
        permit: &Permit<'_>,
        root: &str,
        login: &Observed,
        found: &mut Found,
    ) -> Result<(), Failure> {
        match standing(permit, root) {
            Standing::Promised(state) if state.r#type == Type::Directory => found.is_absent = false,
            Standing::Promised(state) if state.r#type != Type::Absent => {
                let message = format!("`{}` is there and is no directory", self.place.path);
                return Err(self.place.failure("not_directory", message));
            }
            Standing::Promised(_) | Standing::Gone(_) => found.is_absent = !holds_something(permit, root),
            Standing::Through(_) | Standing::Unknown => found.is_absent &= !holds_something(permit, root),
        }
        let folder = || There::promised(&login.become_entry(Type::Directory, 0o755, &Attributes::default()));
        for Entry { name, .. } in &self.source.entries {
            let path = format!("{root}/{name}");
            match standing(permit, &path) {
                Standing::Promised(state) if state.r#type != Type::Absent => {
                    found.there.insert(name.clone(), There::promised(&state));
                    continue;
                }
                Standing::Promised(_) | Standing::Gone(_) => {
                    found.there.remove(name);
                }
                Standing::Through(_) | Standing::Unknown => {}
            }
            if !found.there.contains_key(name) && holds_something(permit, &path) {
                found.there.insert(name.clone(), folder());
            }
        }
        if self.delete {
            found.all.retain(|name| match standing(permit, &format!("{root}/{name}")) {
                Standing::Promised(state) => state.r#type != Type::Absent,
                Standing::Gone(_) => false,
                Standing::Through(_) | Standing::Unknown => true,
            });
            for (name, _) in
                promise::below(permit, root).iter().filter(|(_, state)| state.r#type != Type::Absent)
            {
                let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
                found.all.extend(ends.map(|end| name[..end].to_owned()));
            }
        }
        Ok(())
    }

    /// Notes what every file and folder of the tree will be that is made, changed or removed.
    pub(super) fn promise(
        &self,
        permit: &Permit<'_>,
        root: &str,
        login: &Observed,
        found: &Found,
        changes: &Changes,
    ) {
        if found.is_absent && !changes.diff.is_empty() {
            let folder = login.become_entry(Type::Directory, 0o755, &Attributes::default());
            promise::note(permit, root, folder);
        }
        for name in &changes.gone {
            promise::note(permit, &format!("{root}/{name}"), login.clone());
        }
        for index in &changes.made {
            let entry = &self.source.entries[*index];
            let wanted = if entry.content.is_some() { FILE } else { FOLDER };
            let before = found.there.get(&entry.name).filter(|there| there.kind == wanted);
            let path = format!("{root}/{}", entry.name);
            promise::note(permit, &path, self.becomes(entry, before, login));
        }
    }

    fn becomes(&self, entry: &Entry, before: Option<&There>, login: &Observed) -> Observed {
        let kept = before.map_or_else(
            || login.clone(),
            |there| Observed {
                uid: there.uid.parse().unwrap_or_default(),
                gid: there.gid.parse().unwrap_or_default(),
                owner: there.owner.clone(),
                group: there.group.clone(),
                ..login.clone()
            },
        );
        let attributes =
            Attributes { mode: Some(Mode(entry.mode)), owner: self.owner.clone(), group: self.group.clone() };
        match &entry.content {
            None => kept.become_entry(Type::Directory, entry.mode, &attributes),
            Some(content) => Observed {
                known: Known::Hash(entry.sha256.clone()),
                content: Some(content.clone()),
                ..kept.become_entry(Type::File, entry.mode, &attributes)
            },
        }
    }
}
