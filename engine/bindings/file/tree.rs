//! A whole folder of the project on a host: `tree_put`. One round trip to compare, one to write.

mod promise;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bindings::call::on_host;
use crate::bindings::each::{PARALLEL_OPTION, each_host};
use crate::bindings::file::attributes::{self, GROUP, Mode, OWNER};
use crate::bindings::file::put::PARENTS;
use crate::bindings::file::remote::{Place, Script, token};
use crate::bindings::file::tar::Archive;
use crate::bindings::sudo::{Become, SUDO, SUDO_PASSWORD};
use crate::bindings::{Call, Raise, to_dynamic};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen, sentence};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::inventory::Host;
use crate::model::run;
use crate::model::signature::{Opt, Type};
use crate::store::sha256;

/// Tells what is there of the names on standard input, and with a second argument every name that is there.
///
/// Argument: path, whether to list all, whether to tell who a new file would belong to.
pub(super) const LIST: &str = r#"p=$1; real
[ ! -d "$p" ] || follow
tell_real "$1"
[ -z "$3" ] || login
if ! [ -d "$p" ]; then
  if [ -e "$p" ] || [ -L "$p" ]; then die not_directory; fi
  d=${p%/*}; d=${d:-/}
  [ -d "$d" ] || echo orphan
  while ! [ -e "$d" ]; do d=${d%/*}; d=${d:-/}; done
  [ -d "$d" ] || die not_directory
  [ -x "$d" ] || die denied
  echo absent; exit 0
fi
cd "$p" || die denied
list=$(cat; echo .); list=${list%.}
each() { printf %s "$list" | tr '\n' '\0' | xargs -0 "$@" 2>/dev/null; }
nl='
'
if has sha256sum; then sum='sha256sum'
elif has openssl; then sum='openssl dgst -sha256 -r'
elif has shasum; then sum='shasum -a 256'
else die no_hash; fi
echo stat
[ -z "$list" ] || each stat -c '%f/%u/%g/%U/%G/%n'
echo hash
[ -z "$list" ] || each $sum
if [ -n "$2" ]; then
  echo all
  [ -z "$(find . -name "*$nl*" -print)" ] || die line_break
  find . ! -name . -print
fi
echo end
"#;

/// Unpacks an archive of files beside the tree and moves each to its place.
///
/// Arguments: path, token, parents, mode of the folder itself. The archive holds the files by number, `list` with a line
/// `what/mode/owner/number/name` each, and `end`, without which it did not arrive whole.
pub(super) const UNPACK: &str = r#"p=$1 tmp=
clean_at_end
has tar || die no_tar
if ! [ -d "$p" ]; then
  make_parent "$3"
  mkdir -m "$4" "$p" || die mkdir
fi
cd -P "$p" || die denied
[ "$PWD" = "$1" ] || die meanwhile
tmp=./.nlrun-$2
mkdir "$tmp" || die write
# With times of its own: the archive has none, and what goes by times would take each content for the same.
tar -xmf - -C "$tmp" || die write
[ -f "$tmp/end" ] || die truncated
sync -f "$tmp" 2>/dev/null || sync
while IFS=/ read -r what mode own number name; do
  t=./$name
  case $what in
    x) rm -rf "$t" || die remove; continue;;
    d) [ -d "$t" ] || mkdir "$t" || die mkdir;;
    f) t=$tmp/$number;;
  esac
  [ "$own" = - ] || chown "$own" "$t" || die owner
  chmod "$mode" "$t" || die mode
  if [ $what = f ] && ! mv -fT "$t" "./$name" 2>/dev/null; then
    if [ -L "./$name" ]; then rm -f "./$name"; fi
    mv -f "$t" "./$name" || die rename
  fi
done <"$tmp/list"
echo ok
"#;

/// One entry that shall be there.
struct Entry {
    name: String,
    content: Option<Arc<[u8]>>,
    sha256: String,
    mode: u32,
}

/// What the folder of the project holds; read once for all hosts.
struct Source {
    entries: Vec<Entry>,
    digest: String,
    bytes: usize,
}

/// A folder that shall hold what a folder of the project holds.
#[derive(Serialize)]
struct Tree {
    #[serde(skip)]
    place: Place,
    #[serde(serialize_with = "recorded")]
    source: Arc<Source>,
    from: String,
    delete: bool,
    exclude: Vec<String>,
    parents: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Become::is_login")]
    sudo: Become,
    #[serde(skip)]
    excluded: GlobSet,
    #[serde(skip)]
    found: OnceLock<Changes>,
}

fn recorded<S: serde::Serializer>(source: &Arc<Source>, serializer: S) -> Result<S::Ok, S::Error> {
    let count = source.entries.iter().filter(|entry| entry.content.is_some()).count();
    json!({ "sha256": source.digest, "files": count, "bytes": source.bytes }).serialize(serializer)
}

/// How many files were or would be added, changed and removed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Answer {
    path: String,
    added: usize,
    changed: usize,
    removed: usize,
}

/// What is there under one name.
struct There {
    kind: u32,
    mode: u32,
    uid: String,
    gid: String,
    owner: String,
    group: String,
    sha256: Option<String>,
}

/// What the host has of the tree.
#[derive(Default)]
struct Found {
    is_absent: bool,
    there: BTreeMap<String, There>,
    /// Every name, where what is not wanted shall go.
    all: BTreeSet<String>,
}

/// What has to be done.
#[derive(Default)]
struct Changes {
    /// Lines for the host: what, mode, owner, number, name.
    list: String,
    /// The path behind all links, where it is another one.
    real: Option<String>,
    /// Indices of entries whose content is sent, by their number.
    sent: Vec<usize>,
    /// Indices of entries that are made or changed, and names of what goes: what a plan promises.
    made: Vec<usize>,
    gone: Vec<String>,
    diff: String,
    pre: serde_json::Value,
    answer: Answer,
}

/// The file type bits of `st_mode` (POSIX sys/stat.h, as Linux numbers them).
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

impl Tree {
    async fn look(&self, permit: &Permit<'_>) -> Result<Changes, Failure> {
        let mut names = String::new();
        for entry in &self.source.entries {
            let _ = writeln!(names, "./{}", entry.name);
        }
        let planned = permit.mode() == run::Mode::Plan;
        let flag = |is_set: bool| if is_set { "1" } else { "" };
        let arguments = [self.place.path.as_str(), flag(self.delete), flag(planned)];
        let names: Arc<[u8]> = names.into_bytes().into();
        let out = self.place.run(permit, Script::List, &arguments, names, usize::MAX).await?;
        let text = String::from_utf8_lossy(&out);
        let (real, text) = behind_links(&text);
        self.place.may_follow(permit, real)?;
        let (login, text) = promise::login(text);
        let is_absent = text.lines().any(|line| line == "absent");
        if text.starts_with("orphan") && !self.parents && permit.mode() == run::Mode::Apply {
            let message = format!(
                "the folder of `{}` does not exist; `dir_ensure` makes it, or `parents: true`",
                self.place.path
            );
            return Err(self.place.failure("parent", message));
        }
        let mut found = if is_absent { Found { is_absent, ..Found::default() } } else { self.parse(text)? };
        let root = real.unwrap_or(&self.place.path);
        if let Some(login) = &login {
            self.overlay(permit, root, login, &mut found)?;
        }
        let mut changes = self.compare(&found)?;
        if let Some(login) = &login {
            self.promise(permit, root, login, &found, &changes);
        }
        if let Some(real) = real {
            changes.pre["real"] = json!(real);
            changes.real = Some(real.to_owned());
        }
        Ok(changes)
    }

    fn parse(&self, text: &str) -> Result<Found, Failure> {
        let garbled = || {
            self.place.failure("shell", format!("the host says nothing clear about `{}`", self.place.path))
        };
        let (mut found, mut part) = (Found::default(), "");
        for line in text.lines() {
            match (part, line) {
                (_, "stat" | "hash" | "all" | "end") => part = line,
                ("stat", _) => {
                    let mut fields = line.splitn(6, '/');
                    let mut next = || fields.next().ok_or_else(garbled);
                    let bits = u32::from_str_radix(next()?, 16).map_err(|_| garbled())?;
                    let [uid, gid, owner, group] = [next()?, next()?, next()?, next()?].map(str::to_owned);
                    let name = next()?.strip_prefix("./").ok_or_else(garbled)?.to_owned();
                    let (kind, mode) = (bits & KIND, bits & 0o7777);
                    found.there.insert(name, There { kind, mode, uid, gid, owner, group, sha256: None });
                }
                ("hash", _) => {
                    // GNU marks a name in which it wrote `\\` for a backslash by another one in front of the line.
                    let (line, is_escaped) =
                        line.strip_prefix('\\').map_or((line, false), |line| (line, true));
                    let (sum, name) = line.split_at_checked(64).ok_or_else(garbled)?;
                    let name = name.get(2..).and_then(|name| name.strip_prefix("./")).ok_or_else(garbled)?;
                    let name = if is_escaped { name.replace("\\\\", "\\") } else { name.to_owned() };
                    if let Some(there) = found.there.get_mut(&name) {
                        there.sha256 = Some(sum.to_owned());
                    }
                }
                ("all", _) => {
                    found.all.insert(line.strip_prefix("./").ok_or_else(garbled)?.to_owned());
                }
                _ => return Err(garbled()),
            }
        }
        if part == "end" { Ok(found) } else { Err(garbled()) }
    }

    fn compare(&self, Found { is_absent, there, all }: &Found) -> Result<Changes, Failure> {
        let mut changes = Changes {
            answer: Answer { path: self.place.path.clone(), ..Answer::default() },
            ..Changes::default()
        };
        let mut seen = String::new();
        if *is_absent {
            changes.diff.push_str("+ ./\n");
        }
        self.remove(all, &mut changes);
        for (index, entry) in self.source.entries.iter().enumerate() {
            let wanted = if entry.content.is_some() { FILE } else { FOLDER };
            let found = there.get(&entry.name);
            let name = &entry.name;
            let slash = if wanted == FOLDER { "/" } else { "" };
            if let Some(found) = found {
                let sum = found.sha256.as_deref().unwrap_or_default();
                let _ = writeln!(
                    seen,
                    "{:o} {:o} {}:{} {sum} {name}",
                    found.kind, found.mode, found.owner, found.group
                );
                if found.kind == FILE && found.sha256.is_none() {
                    return Err(self.place.denied());
                }
                if found.kind != wanted && (found.kind == FOLDER || wanted == FOLDER) {
                    if !self.delete {
                        let path = &self.place.path;
                        let message = format!("`{path}/{name}` is in the way; `delete: true` replaces it");
                        return Err(self.place.failure("in_the_way", message));
                    }
                    let _ = writeln!(changes.list, "x/-/-/-/{name}");
                }
            }
            let same_kind = found.filter(|found| found.kind == wanted);
            let is_same = same_kind
                .is_some_and(|found| wanted == FOLDER || found.sha256.as_ref() == Some(&entry.sha256));
            let adjusts = same_kind.map_or_else(String::new, |found| self.adjustments(entry, found));
            if is_same && adjusts.is_empty() {
                continue;
            }
            let (what, number) = match (is_same, wanted) {
                (true, _) => ("a", 0),
                (false, FOLDER) => ("d", 0),
                (false, _) => {
                    changes.sent.push(index);
                    ("f", changes.sent.len() - 1)
                }
            };
            changes.made.push(index);
            let own = self.ownership(same_kind);
            let _ = writeln!(changes.list, "{what}/{:05o}/{own}/{number}/{name}", entry.mode);
            let sign = if found.is_some() { "~" } else { "+" };
            let detail = if adjusts.is_empty() { String::new() } else { format!(" ({adjusts})") };
            let _ = writeln!(changes.diff, "{sign} {name}{slash}{detail}");
            if found.is_some() {
                changes.answer.changed += 1;
            } else {
                changes.answer.added += 1;
            }
        }
        let kind = if *is_absent { "absent" } else { "directory" };
        changes.pre =
            json!({ "type": kind, "sha256": sha256(seen.as_bytes()), "removed": changes.answer.removed });
        Ok(changes)
    }

    /// Notes what is there and shall not be: whole folders at once, unless something excluded is in them.
    fn remove(&self, all: &BTreeSet<String>, changes: &mut Changes) {
        let wanted: BTreeSet<&str> = self.source.entries.iter().map(|entry| entry.name.as_str()).collect();
        let mut kept: BTreeSet<&str> = BTreeSet::new();
        for name in all.iter().filter(|name| is_excluded(&self.excluded, name)) {
            let mut name = name.as_str();
            while kept.insert(name) {
                let Some((parent, _)) = name.rsplit_once('/') else { break };
                name = parent;
            }
        }
        let mut removed: BTreeSet<&str> = BTreeSet::new();
        for name in all.iter().map(String::as_str) {
            let is_gone = || name.match_indices('/').any(|(at, _)| removed.contains(&name[..at]));
            if wanted.contains(name) || kept.contains(name) || is_gone() {
                continue;
            }
            removed.insert(name);
            let _ = writeln!(changes.list, "x/-/-/-/{name}");
            let _ = writeln!(changes.diff, "- {name}");
            changes.answer.removed += 1;
            changes.gone.push(name.to_owned());
        }
    }

    fn adjustments(&self, entry: &Entry, found: &There) -> String {
        let mut words = Vec::new();
        if entry.mode != found.mode {
            words.push(format!("mode {:04o} → {:04o}", found.mode, entry.mode));
        }
        for (word, wanted, name, id) in [
            ("owner", &self.owner, &found.owner, &found.uid),
            ("group", &self.group, &found.group, &found.gid),
        ] {
            if let Some(wanted) = wanted
                && wanted != name
                && wanted != id
            {
                words.push(format!("{word} {name} → {wanted}"));
            }
        }
        words.join(", ")
    }

    /// Returns owner and group for `chown`: what is wanted, else what was there.
    fn ownership(&self, found: Option<&There>) -> String {
        let part = |wanted: &Option<String>, id: Option<&String>| {
            wanted.clone().or_else(|| id.cloned()).unwrap_or_default()
        };
        let owner = part(&self.owner, found.map(|found| &found.uid));
        let group = part(&self.group, found.map(|found| &found.gid));
        match (owner.is_empty(), group.is_empty()) {
            (true, true) => "-".to_owned(),
            (false, true) => owner,
            (_, false) => format!("{owner}:{group}"),
        }
    }
}

impl Effect for Tree {
    const NAME: &'static str = "file.tree";
    const KIND: Kind = Kind::Ensure;
    type Output = Answer;

    fn target(&self) -> Target {
        on_host(&self.place.host, Some(&self.place.path))
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Answer>, Failure> {
        let changes = self.look(permit).await?;
        let seen = Seen {
            pre: changes.pre.clone(),
            changes: !changes.diff.is_empty(),
            diff: Some(changes.diff.clone()).filter(|diff| !diff.is_empty()),
            output: Some(changes.answer.clone()),
        };
        let _ = self.found.set(changes);
        Ok(seen)
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Answer>) -> Result<Done<Answer>, Failure> {
        let changes = match self.found.get() {
            Some(changes) => changes,
            None => &self.look(permit).await?,
        };
        let contents = || {
            let entry = |index: &usize| self.source.entries[*index].content.as_deref().unwrap_or_default();
            changes.sent.iter().map(entry)
        };
        let mut archive = Archive::new(contents().map(<[u8]>::len).sum::<usize>() + changes.list.len());
        archive.add("list", changes.list.as_bytes());
        for (number, content) in contents().enumerate() {
            archive.add(&number.to_string(), content);
        }
        archive.add("end", b"");
        let token = token()?;
        let path = changes.real.as_deref().unwrap_or(&self.place.path);
        let arguments = [path, &token, if self.parents { "1" } else { "" }, "755"];
        self.place.run(permit, Script::Unpack, &arguments, archive.finish().into(), 1024).await?;
        Ok(Done::changed(changes.answer.clone()))
    }
}

/// Takes the path behind all links off what the host said, where it is another one.
fn behind_links(text: &str) -> (Option<&str>, &str) {
    let told = || {
        let (length, rest) = text.strip_prefix("real ")?.split_once('\n')?;
        let (real, rest) = rest.split_at_checked(length.parse().ok()?)?;
        Some((real, rest.strip_prefix('\n')?))
    };
    told().map_or((None, text), |(real, rest)| (Some(real), rest))
}

/// Whether a glob names it or something above it; a glob without `/` is about names in any folder.
fn is_excluded(excluded: &GlobSet, name: &str) -> bool {
    let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
    ends.map(|end| &name[..end]).any(|path| excluded.is_match(path))
}

fn globs(call: &Call<'_>, texts: &[String]) -> Result<GlobSet, Raise> {
    let mut set = GlobSetBuilder::new();
    for text in texts {
        let pattern = if text.contains('/') { text.clone() } else { format!("**/{text}") };
        let glob = GlobBuilder::new(pattern.trim_end_matches('/')).literal_separator(true).build();
        set.add(glob.map_err(|_| invalid(format!("`{}`: `{text}` is not a glob", call.name())))?);
    }
    set.build().map_err(|error| invalid(error.to_string()).into())
}

pub(super) fn tree_put(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let path = call.remote_path(1)?;
    let path = path.trim_end_matches('/').to_owned();
    let from = call.string(2)?;
    let delete = call.option_bool("delete", false)?;
    if path.is_empty() || (delete && path.matches('/').count() == 1) {
        let message = format!("`tree_put` does not take `{path}/` for itself: folders at the top hold more");
        return Err(invalid(message).into());
    }
    let exclude: Vec<String> = match call.option("exclude") {
        None => Vec::new(),
        Some(value) => value
            .clone()
            .try_cast::<rhai::Array>()
            .and_then(|items| items.into_iter().map(|item| item.into_string().ok()).collect())
            .ok_or_else(|| {
                invalid(format!("`tree_put` wants an array of globs as `exclude`, got `{value}`"))
            })?,
    };
    let excluded = globs(call, &exclude)?;
    let attributes = attributes::Attributes::read(call)?;
    let folders = call.option("dir_mode").map(|_| attributes::mode(call, "dir_mode")).transpose()?;
    let source = Arc::new(read(call, &from, &excluded, attributes.mode, folders)?);
    let parents = call.option_bool("parents", false)?;
    let make = |call: &Call<'_>, host: &Arc<Host>| {
        let sudo = Become::read(call, host)?;
        Ok(Tree {
            place: Place { effect: Tree::NAME, host: host.clone(), path: path.clone(), sudo: sudo.clone() },
            source: source.clone(),
            from: from.clone(),
            delete,
            exclude: exclude.clone(),
            parents,
            owner: attributes.owner.clone(),
            group: attributes.group.clone(),
            sudo,
            excluded: excluded.clone(),
            found: OnceLock::new(),
        })
    };
    each_host(call, make, |tree, answer, changed| {
        let fields = json!({
            "host": tree.place.host.name, "path": answer.path, "changed": changed,
            "files_added": answer.added, "files_changed": answer.changed, "files_removed": answer.removed,
        });
        Ok(to_dynamic(&fields)?)
    })
}

fn read(
    call: &Call<'_>,
    from: &str,
    excluded: &GlobSet,
    files: Option<Mode>,
    folders: Option<Mode>,
) -> Result<Source, Raise> {
    let project = call.session.gate().world.project();
    let found = project
        .tree(from.trim_end_matches('/'), &|name| !is_excluded(excluded, name))
        .map_err(|error| invalid(sentence(&error)))?;
    let mut source = Source { entries: Vec::with_capacity(found.len()), digest: String::new(), bytes: 0 };
    let mut digest = String::new();
    for leaf in found {
        if leaf.name.contains('\n') {
            let message = format!("`{from}` holds a name with a line break, which cannot be sent");
            return Err(invalid(message).into());
        }
        let mode = match (&leaf.content, leaf.is_executable) {
            (None, _) => folders.map_or(0o755, |mode| mode.0),
            (Some(_), is_executable) => {
                files.map_or(if is_executable { 0o755 } else { 0o644 }, |mode| mode.0)
            }
        };
        let sum = leaf.content.as_ref().map(|content| sha256(content)).unwrap_or_default();
        source.bytes += leaf.content.as_ref().map_or(0, Vec::len);
        let _ = writeln!(digest, "{mode:o} {sum} {}", leaf.name);
        source.entries.push(Entry {
            name: leaf.name,
            content: leaf.content.map(Arc::from),
            sha256: sum,
            mode,
        });
    }
    source.digest = sha256(digest.as_bytes());
    Ok(source)
}

/// The options of `tree_put`.
pub(super) const OPTIONS: &[Opt] = &[
    Opt { name: "delete", ty: Type::Bool, doc: "Remove what the source does not hold; `false` by default." },
    Opt {
        name: "exclude",
        ty: Type::Array,
        doc: "Globs of what is neither sent nor removed, such as `[\"*.swp\", \"data/**\"]`.",
    },
    Opt {
        name: "mode",
        ty: Type::String,
        doc: "Permission bits of files; \"0644\" by default, and \"0755\" for those that are executable in the project.",
    },
    Opt { name: "dir_mode", ty: Type::String, doc: "Permission bits of folders; \"0755\" by default." },
    OWNER,
    GROUP,
    PARENTS,
    SUDO,
    SUDO_PASSWORD,
    PARALLEL_OPTION,
];
