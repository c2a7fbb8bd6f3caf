//! The kind `files`: files on a host, a test and what reloads the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rhai::Map;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::keys::Keys;
use super::place::{Found, Holds, Part, Place, short};
use super::script::{LOOKS, Script};
use super::wanted::Wanted;
use crate::bindings::call::{Content, on_host};
use crate::bindings::sudo::Become;
use crate::bindings::{Call, Raise};
use crate::gate::Permit;
use crate::gate::permit::invalid;
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::model::inventory::Host;
use crate::world::clerk::Question;
use crate::world::transport::{Command, Line};
use crate::x509::{Bundle, Order, Pair};

/// How long the test and what reloads may take together, unless `timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Characters of a command in a sentence.
const LINE: usize = 80;
/// What a script may say.
const MOST: usize = 64 << 10;

/// Files on a host.
#[derive(Serialize)]
pub(super) struct Files {
    #[serde(skip)]
    host: Arc<Host>,
    files: Vec<Copy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reload: Option<String>,
    #[serde(skip_serializing_if = "Become::is_login")]
    sudo: Become,
    #[serde(skip)]
    timeout: Duration,
    /// Whether the files that are there were tested just now.
    #[serde(skip)]
    is_tested: AtomicBool,
}

/// One file.
#[derive(Debug, Clone, Serialize)]
struct Copy {
    path: String,
    #[serde(serialize_with = "spelled")]
    order: (String, Order),
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

fn spelled<S: Serializer>(order: &(String, Order), serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&order.0)
}

/// What the host says of one file.
#[derive(Debug, Default)]
struct Told {
    is: String,
    mode: String,
    uid: String,
    gid: String,
    owner: String,
    group: String,
    sha256: String,
    spki: String,
    certificates: String,
}

impl Files {
    /// Reads the keys of a target.
    pub(super) fn read(call: &Call<'_>, keys: &mut Keys) -> Result<Self, Raise> {
        let host =
            keys.value("host").ok_or_else(|| invalid("a target of kind `files` needs `host`".to_owned()))?;
        let host = call.host_of(&host)?;
        let password = keys.value("sudo_password");
        let password = match password.as_ref().map(Content::from) {
            None => None,
            Some(Some(content)) => Some(content),
            Some(None) => return Err(keys.wrong("sudo_password", "a secret").into()),
        };
        let sudo = Become::of(keys.value("sudo"), password, &host)?;
        let mut files = Vec::new();
        for file in keys.list("files") {
            let map = file.try_cast::<Map>().ok_or_else(|| keys.wrong("files", "an array of maps"))?;
            files.push(Copy::read(call, map)?);
        }
        if files.is_empty() {
            return Err(keys.wrong("files", "at least one map `#{ path, order }`").into());
        }
        Ok(Self {
            host,
            files,
            test: keys.text("test")?,
            reload: keys.text("reload")?,
            sudo,
            timeout: keys.duration("timeout")?.unwrap_or(TIMEOUT),
            is_tested: AtomicBool::new(false),
        })
    }

    /// Runs a script on the host; what it wants on standard input comes with it.
    async fn run(
        &self,
        permit: &Permit<'_>,
        script: Script,
        first: &[&str],
        contents: &[Zeroizing<String>],
    ) -> Result<(), Failure> {
        let text = script.text();
        let mut words: Vec<String> = ["sh", "-c", &text, "nlrun"].map(str::to_owned).to_vec();
        words.extend(first.iter().map(|word| (*word).to_owned()));
        for (index, file) in self.files.iter().enumerate() {
            let size = contents.get(index).map_or(0, |content| content.len());
            let fallback = if file.order.1.has_key() { "0600" } else { "0644" };
            let mode = file.mode.clone().unwrap_or_default();
            words.extend([file.path.clone(), mode, fallback.to_owned(), file.owners(), size.to_string()]);
        }
        let stdin: Vec<u8> = contents.iter().flat_map(|content| content.bytes()).collect();
        let command = Command {
            line: Line::Words(words),
            stdin: stdin.into(),
            env: Vec::new(),
            cwd: None,
            sudo: self.sudo.sudo()?,
            timeout: Some(self.timeout),
            detach: false,
        };
        let finished = permit.ask(command, MOST).await?;
        match finished.exit.code {
            Some(0) => Ok(()),
            Some(_) | None => Err(self.refusal(permit, &finished.out.data, &finished.err.data)),
        }
    }

    /// Turns what a script said before it gave up into a sentence.
    fn refusal(&self, permit: &Permit<'_>, out: &[u8], err: &[u8]) -> Failure {
        let out = String::from_utf8_lossy(out);
        let word = out.lines().find_map(|line| line.strip_prefix("error ")).unwrap_or("failed").to_owned();
        let err = permit.redact(String::from_utf8_lossy(err).trim());
        let place = self.words();
        let text = match word.as_str() {
            "test" => {
                format!("the test `{}` failed, and the old files are back", first_line(self.test.as_deref()))
            }
            "test_alone" => {
                format!("the test `{}` fails with the files that are there", first_line(self.test.as_deref()))
            }
            "reload" => format!(
                "`{}` failed; the new files are there, and the next run tries again",
                first_line(self.reload.as_deref())
            ),
            "busy" => "another run is at these files".to_owned(),
            "parent" => "the folder of a file does not exist".to_owned(),
            "directory" => "a file is a folder there".to_owned(),
            "special" => "a file is neither a file nor a link to one".to_owned(),
            "restore" => "the old files could not be put back".to_owned(),
            _ => format!("the files could not be written ({word})"),
        };
        let said = if err.is_empty() { String::new() } else { format!(": {err}") };
        let hint = match (err.contains("ermission denied"), self.sudo.user()) {
            (true, None) => "; `sudo: true` does it as root",
            _ => "",
        };
        let details = serde_json::json!({ "fault": word, "err": err });
        let kind = if word.starts_with("test") {
            "test"
        } else if word == "reload" {
            "reload"
        } else {
            "file"
        };
        Failure { kind: kind.to_owned(), details, ..invalid(format!("{place}: {text}{said}{hint}")) }
    }
}

/// Returns as much of a command as a sentence can hold.
fn first_line(command: Option<&str>) -> String {
    let command = command.unwrap_or_default();
    let line: String = command.lines().next().unwrap_or_default().chars().take(LINE).collect();
    if line.len() < command.len() { format!("{line} …") } else { line }
}

impl Copy {
    fn read(call: &Call<'_>, map: Map) -> Result<Self, Raise> {
        let mut keys = Keys::new("an entry of `files`".to_owned(), map);
        let path = call.check_path(keys.needed("path")?)?;
        let text = keys.needed("order")?;
        let order = text.parse::<Order>().map_err(|error| invalid(error.to_string()))?;
        let mode = keys.text("mode")?;
        let is_mode = |text: &String| (3..=4).contains(&text.len()) && u32::from_str_radix(text, 8).is_ok();
        if mode.as_ref().is_some_and(|mode| !is_mode(mode)) {
            return Err(keys.wrong("mode", "an octal text such as \"0640\"").into());
        }
        let owner = Self::name(&mut keys, "owner")?;
        let group = Self::name(&mut keys, "group")?;
        keys.end()?;
        Ok(Self { path, order: (text, order), mode, owner, group })
    }

    /// Reads the name or the number of a user or group.
    fn name(keys: &mut Keys, key: &'static str) -> Result<Option<String>, Failure> {
        let Some(value) = keys.value(key) else { return Ok(None) };
        let text = if value.is_int() { value.to_string() } else { value.into_string().unwrap_or_default() };
        if text.is_empty() || text.starts_with('-') || text.contains([':', '\n', '/', '\0']) {
            return Err(keys.wrong(key, "the name or number of a user or group"));
        }
        Ok(Some(text))
    }

    /// Returns owner and group as `chown` wants them.
    fn owners(&self) -> String {
        match (&self.owner, &self.group) {
            (None, None) => String::new(),
            (Some(owner), None) => owner.clone(),
            (owner, Some(group)) => format!("{}:{group}", owner.as_deref().unwrap_or_default()),
        }
    }

    /// Says which of mode and owner is another one.
    fn differences(&self, told: &Told) -> Option<String> {
        let number = |text: &str| u32::from_str_radix(text, 8).ok();
        let mut words = Vec::new();
        if let Some(mode) = self.mode.as_deref().filter(|mode| number(mode) != number(&told.mode)) {
            words.push(format!("mode {} instead of {mode}", told.mode));
        }
        for (word, wanted, name, id) in
            [("owner", &self.owner, &told.owner, &told.uid), ("group", &self.group, &told.group, &told.gid)]
        {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != name && *wanted != id) {
                words.push(format!("{word} {name} instead of {wanted}"));
            }
        }
        (!words.is_empty()).then(|| words.join(", "))
    }

    fn part(&self, told: &Told, sha256: &str, wanted: &Wanted) -> Part {
        let differences = self.differences(told);
        let is_content = told.is == "file" && told.sha256 == sha256;
        let has_leaf = self.order.0.contains("leaf");
        let holds = match told.is.as_str() {
            "absent" => Holds::Absent,
            "denied" => Holds::Unknown("permission denied".to_owned()),
            "file" if is_content && has_leaf => Holds::certificate(&wanted.pair().leaf, differences.clone()),
            "file" if is_content => {
                Holds::Other(differences.clone().unwrap_or_else(|| "the same".to_owned()))
            }
            "file" => told.holds(self.order.1.has_key(), wanted),
            other => Holds::Other(format!("no file ({other})")),
        };
        let wanted = if has_leaf {
            wanted.words()
        } else if self.order.1.has_key() {
            format!("the key of {}", short(wanted.fingerprint()))
        } else {
            format!("the chain of {}", short(wanted.fingerprint()))
        };
        Part { name: self.path.clone(), holds, wanted, is_right: is_content && differences.is_none() }
    }
}

impl Told {
    /// Says what another content is.
    fn holds(&self, has_key: bool, wanted: &Wanted) -> Holds {
        // What `openssl` prints for nothing is the hash of nothing.
        let spki =
            Some(self.spki.as_str()).filter(|spki| spki.len() == 64 && *spki != crate::store::sha256(b""));
        let leaf = Bundle::read(self.certificates.as_bytes()).and_then(|bundle| Pair::of(bundle, None));
        match leaf {
            Ok(pair) => {
                let is_other = spki.is_some_and(|spki| has_key && spki != pair.leaf.spki);
                Holds::certificate(
                    &pair.leaf,
                    is_other.then(|| "with the key of another certificate".to_owned()),
                )
            }
            Err(_) if has_key && spki == Some(wanted.spki()) => {
                Holds::Other("the same key, written differently".to_owned())
            }
            Err(_) if has_key => Holds::Key(spki.map(str::to_owned)),
            Err(_) => Holds::Other("something else".to_owned()),
        }
    }

    fn take(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let field = match word {
            "is" => &mut self.is,
            "mode" => &mut self.mode,
            "uid" => &mut self.uid,
            "gid" => &mut self.gid,
            "owner" => &mut self.owner,
            "group" => &mut self.group,
            "sha256" => &mut self.sha256,
            "spki" => &mut self.spki,
            _ => return,
        };
        rest.trim().clone_into(field);
    }
}

/// Reads what `look` says: `due`, and each file behind a line `file`.
fn told(out: &[u8]) -> (bool, Vec<Told>) {
    let mut files: Vec<Told> = Vec::new();
    let mut is_due = false;
    for line in String::from_utf8_lossy(out).lines() {
        match (line, files.last_mut()) {
            ("file", _) => files.push(Told::default()),
            ("due", None) => is_due = true,
            (line, Some(told)) => match line.strip_prefix('|') {
                Some(pem) => {
                    told.certificates += pem;
                    told.certificates.push('\n');
                }
                None => told.take(line),
            },
            (_, None) => {}
        }
    }
    (is_due, files)
}

impl Place for Files {
    const KIND: &'static str = "files";

    fn target(&self) -> Target {
        on_host(&self.host, None)
    }

    fn words(&self) -> String {
        self.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join(", ")
    }

    async fn look(&self, permit: &Permit<'_>, wanted: &Wanted) -> Result<Found, Failure> {
        let mut arguments = Vec::new();
        for file in &self.files {
            let content = wanted.write(&file.order.1)?;
            arguments.extend([file.path.clone(), crate::store::sha256(content.as_bytes())]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let sudo = self.sudo.sudo()?;
        let question = Question { functions: &LOOKS, function: "look", arguments: &arguments, sudo };
        let reply = permit.question(question).await?;
        if reply.code != Some(0) {
            return Err(self.refusal(permit, &reply.out, &reply.err));
        }
        let (is_due, told) = told(&reply.out);
        if told.len() != self.files.len() {
            return Err(invalid(format!("{}: the host tells nothing that can be understood", self.words())));
        }
        let mut found = Found { is_due, ..Found::default() };
        for ((file, told), sha256) in self.files.iter().zip(&told).zip(arguments.iter().skip(1).step_by(2)) {
            let part = file.part(told, sha256, wanted);
            let is_open = u32::from_str_radix(&told.mode, 8).is_ok_and(|mode| mode & 0o004 != 0);
            if is_open && file.order.1.has_key() && file.mode.is_none() {
                let mode = &told.mode;
                found
                    .warnings
                    .push(format!("{}: everybody can read the key (mode {mode}); say `mode`", file.path));
            }
            found.parts.push(part);
        }
        Ok(found)
    }

    async fn put(&self, permit: &Permit<'_>, wanted: &Wanted, _found: &Found) -> Result<(), Failure> {
        let contents: Result<Vec<_>, _> = self.files.iter().map(|file| wanted.write(&file.order.1)).collect();
        self.run(permit, Script::Put, &[self.test.as_deref().unwrap_or_default()], &contents?).await?;
        self.is_tested.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn activate(&self, permit: &Permit<'_>) -> Result<(), Failure> {
        let is_tested = self.is_tested.load(Ordering::Relaxed);
        let test = self.test.as_deref().filter(|_| !is_tested).unwrap_or_default();
        self.run(permit, Script::Activate, &[test, self.reload.as_deref().unwrap_or_default()], &[]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_tells_is_read_file_by_file() {
        let text = "due\nfile\nis file\nmode 600\nuid 0\nsha256 ab\n|-----BEGIN X-----\n|is absent\nspki cd\nfile\nis absent\n";
        let (is_due, files) = told(text.as_bytes());
        assert!(is_due);
        assert_eq!(files.len(), 2);
        assert_eq!(
            (files[0].is.as_str(), files[0].mode.as_str(), files[0].spki.as_str()),
            ("file", "600", "cd")
        );
        assert_eq!(files[0].certificates, "-----BEGIN X-----\nis absent\n");
        assert_eq!(files[1].is, "absent");
        assert!(!told(b"file\nis absent\ndue\n").0);
    }
}
