//! `secrets`: keeps the values that runbooks must not hold. No value is ever printed or taken from the command line.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::Context;
use crate::cli::check::count;
use crate::cli::diagnostic::safe;
use crate::cli::problem::Problem;
use crate::cli::table::{Cell, Table};
use crate::gate::sentence;
use crate::model::secret::SecretName;
use crate::service::{Project, SecretAnswer, SecretsError, SourceAnswer, Trouble};
use crate::world::secrets::Presence;
use crate::world::{editor, secrets::key};

/// Keep secrets: list, set, remove, edit, test
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nlrun secrets init\n  pass show db | nlrun secrets set db/root\n  nlrun secrets test"
)]
pub(crate) struct SecretsOptions {
    #[command(subcommand)]
    verb: SecretsVerb,
    /// The encrypted file, where nlrun.yaml names several
    #[arg(long, global = true, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum SecretsVerb {
    /// List the names that can be known without decrypting
    ///
    /// With --json, one object a name: `name present`, where `present` is null when a source cannot tell.
    List,
    /// Set a secret in the encrypted file; the value comes from standard input or is asked for
    ///
    /// One line end at the end of standard input is not part of the value.
    Set {
        /// Its name, such as `db/root`
        name: SecretName,
    },
    /// Remove a secret from the encrypted file
    Remove {
        /// Its name
        name: SecretName,
    },
    /// Edit all secrets of the encrypted file in $VISUAL or $EDITOR
    ///
    /// The text exists in memory only, and what the editor leaves behind is overwritten.
    Edit,
    /// Ask sources and secrets as a run would, and say what answered, but no value
    ///
    /// Tells of each source whether it can be asked and who it takes you for, and of each secret its length and version. Logins are given
    /// back at the end. Ends with code 1 when a source cannot be asked or a secret has no value. With --json, one object a source,
    /// `source ok names identity error hint`, then one a name, `name ok bytes version form error hint`.
    #[command(
        after_help = "Examples:\n  nlrun secrets test\n  nlrun secrets test ci/db/password ci/db/user\n  \
                            nlrun secrets test --json | jq 'select(.ok | not)'"
    )]
    Test {
        /// Names [default: all that are known]
        #[arg(value_name = "NAME")]
        names: Vec<SecretName>,
    },
    /// Make a key and an empty encrypted file
    Init {
        /// The key file [default: what nlrun.yaml names, else ~/.config/nlrun/PROJECT.key]
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
}

pub(crate) fn secrets(context: &Context, options: &SecretsOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let (place, out) = (&context.place, &context.out);
    let file = options.file.as_deref();
    match &options.verb {
        SecretsVerb::List => list(context, &project),
        SecretsVerb::Set { name } => {
            let value = value(name)?;
            let path = project.set_secret(place, file, name, &value)?;
            out.word(&format!("`{name}` is set in `{}`", path.display()));
        }
        SecretsVerb::Remove { name } => {
            let path = project.remove_secret(place, file, name)?;
            out.word(&format!("`{name}` is gone from `{}`", path.display()));
        }
        SecretsVerb::Edit => edit(context, &project, file)?,
        SecretsVerb::Test { names } => return test(context, &project, names),
        SecretsVerb::Init { key } => init(context, &project, file, key.as_deref())?,
    }
    Ok(0)
}

fn list(context: &Context, project: &Project) {
    let out = &context.out;
    let names = project.list_secrets(&context.place);
    let mut table = Table::new(out, &["secret", "value"], &[]);
    for (name, presence) in &names {
        let present = match presence {
            Presence::Present => Some(true),
            Presence::Absent => Some(false),
            Presence::Unknown => None,
        };
        if out.json {
            out.json(&json!({ "name": name, "present": present }));
            continue;
        }
        let cell = match present {
            Some(true) => Cell::good("there"),
            Some(false) => Cell::bad("missing"),
            None => Cell::odd("asked when needed"),
        };
        table.row([Cell::new(name), cell]);
    }
    if !out.json && names.is_empty() {
        out.word("no names are known");
    } else if !out.json {
        out.raw(table.text().as_bytes());
    }
}

/// Takes a value from standard input, or from a person whose typing is not shown.
fn value(name: &SecretName) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let unreadable = |error: std::io::Error| Problem::Other(format!("the value cannot be read: {error}"));
    let mut value = Zeroizing::new(Vec::new());
    if std::io::stdin().is_terminal() {
        let ask = |words: &str| rpassword::prompt_password(words).map(Zeroizing::new).map_err(unreadable);
        let (first, again) = (ask(&format!("value of {name}: "))?, ask("again: ")?);
        if *first != *again {
            return Err(Problem::usage("the two values differ; nothing was changed", None));
        }
        value.extend_from_slice(first.as_bytes());
    } else {
        std::io::stdin().lock().read_to_end(&mut value).map_err(unreadable)?;
        let length =
            value.strip_suffix(b"\r\n").or(value.strip_suffix(b"\n")).map_or(value.len(), <[u8]>::len);
        value.truncate(length);
    }
    if value.is_empty() {
        let hint = format!("write it to standard input: `… | nlrun secrets set {name}`");
        return Err(Problem::usage("the value is empty; nothing was changed", Some(hint)));
    }
    Ok(value)
}

fn edit(context: &Context, project: &Project, file: Option<&Path>) -> Result<(), Problem> {
    let place = &context.place;
    let out = &context.out;
    let words = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| place.variable(name).filter(|words| !words.trim().is_empty()))
        .unwrap_or_else(|| "vi".to_owned());
    let changes = project.edit_secrets(place, file, |path, complaint| {
        if let Some(complaint) = complaint {
            out.always(&format!("{}: {complaint}", out.words.red("error")));
            if !std::io::stdin().is_terminal() || !again(context) {
                return Err(std::io::Error::other(complaint.to_owned()));
            }
        }
        editor::open(&words, path)
    })?;
    for (names, word) in
        [(&changes.added, "added"), (&changes.changed, "changed"), (&changes.removed, "removed")]
    {
        for name in names {
            out.word(&format!("{word} `{name}`"));
        }
    }
    if changes == crate::world::secrets::edit::Changes::default() {
        out.word("nothing was changed");
    }
    Ok(())
}

fn again(context: &Context) -> bool {
    context.out.always("edit again? [Y/n]");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok_and(|bytes| bytes > 0) && !answer.trim().eq_ignore_ascii_case("n")
}

fn test(context: &Context, project: &Project, names: &[SecretName]) -> Result<u8, Problem> {
    let out = &context.out;
    let names: Vec<SecretName> = if names.is_empty() {
        let known = project.list_secrets(&context.place);
        known.iter().filter_map(|(name, _)| name.parse().ok()).collect()
    } else {
        names.to_vec()
    };
    let tested = project.test_secrets(&context.place, &names)?;
    let mut silent = 0;
    for SourceAnswer { place, identity, answer } in &tested.sources {
        silent += usize::from(answer.is_err());
        if out.json {
            let identity = identity.as_ref().map(|identity| {
                let ttl = identity.ttl.map(|ttl| ttl.as_secs());
                json!({ "name": identity.name, "policies": identity.policies, "ttl_seconds": ttl })
            });
            let trouble = answer.as_ref().err();
            out.json(&json!({
                "source": place, "ok": trouble.is_none(), "names": answer.as_ref().ok(), "identity": identity,
                "error": trouble.map(|trouble| &trouble.text), "hint": trouble.and_then(|trouble| trouble.hint.as_ref()),
            }));
            continue;
        }
        match answer {
            Ok(count_of_names) => {
                let names = count_of_names.map(|names| count(names, "name"));
                let identity = identity.as_ref().map(|identity| {
                    let ttl = identity.ttl.map_or("without end".to_owned(), |ttl| {
                        format!("for {}", crate::model::duration::text(ttl))
                    });
                    format!("as `{}`, policies {}, valid {ttl}", identity.name, identity.policies.join(" "))
                });
                let told = identity.or(names).unwrap_or_else(|| "asked by name".to_owned());
                out.line(&format!("{}    {}: {}", out.data.green("ok"), safe(place), safe(&told)));
            }
            Err(trouble) => fail(context, place, trouble),
        }
    }
    for SecretAnswer { name, answer } in &tested.secrets {
        silent += usize::from(answer.is_err());
        if out.json {
            let (told, trouble) = (answer.as_ref().ok(), answer.as_ref().err());
            out.json(&json!({
                "name": name.as_str(), "ok": trouble.is_none(), "bytes": told.map(|told| told.bytes),
                "version": told.and_then(|told| told.version), "form": told.and_then(|told| told.form),
                "error": trouble.map(|trouble| &trouble.text), "hint": trouble.and_then(|trouble| trouble.hint.as_ref()),
            }));
            continue;
        }
        match answer {
            Ok(told) => {
                let version = told.version.map(|version| format!(", version {version}")).unwrap_or_default();
                let form = told.form.map(|form| format!(", {form} as JSON text")).unwrap_or_default();
                let words = format!("{}{version}{form}", count(told.bytes, "byte"));
                out.line(&format!("{}    {name}  {}", out.data.green("ok"), out.data.dim(&words)));
            }
            Err(trouble) => fail(context, name.as_str(), trouble),
        }
    }
    for warning in &tested.warnings {
        out.always(&format!("{}: {}", out.words.yellow("warning"), safe(warning)));
    }
    if !out.json {
        let asked = (count(tested.sources.len(), "source"), count(names.len(), "secret"));
        out.word(&format!("{}, {}, {silent} without an answer", asked.0, asked.1));
    }
    Ok(u8::from(silent > 0))
}

fn fail(context: &Context, what: &str, trouble: &Trouble) {
    let out = &context.out;
    // An error of a server begins with its address.
    let text = trouble.text.strip_prefix(what).map_or_else(|| format!(": {}", trouble.text), str::to_owned);
    out.line(&format!("{}  {}{}", out.data.red("fail"), safe(what), safe(&text)));
    if let Some(hint) = &trouble.hint {
        out.line(&format!("      {}", out.data.dim(&safe(hint))));
    }
}

fn init(
    context: &Context,
    project: &Project,
    file: Option<&Path>,
    key: Option<&Path>,
) -> Result<(), Problem> {
    let out = &context.out;
    let begun = project.begin_secrets(&context.place, file, key)?;
    let (file, key) = (begun.file.display(), begun.key.display());
    if out.json {
        out.json(&json!({ "file": begun.file, "key": begun.key, "configured": begun.is_configured }));
        return Ok(());
    }
    out.word(&format!("made the key `{key}` and the empty file `{file}`"));
    out.word("keep a copy of the key in a safe place: without it the secrets are lost");
    if !begun.is_configured {
        out.word("add this to nlrun.yaml:");
        out.line(&format!(
            "secrets:\n  sources:\n    - env: {{ prefix: NLRUN_SECRET_ }}\n    \
             - encrypted: {{ path: {file}, key_file: {key} }}"
        ));
    }
    Ok(())
}

impl From<SecretsError> for Problem {
    fn from(error: SecretsError) -> Self {
        let hint = match &error {
            SecretsError::NoFile | SecretsError::Key(key::Error::File { .. }) => {
                Some("`nlrun secrets init` makes a key and a file".to_owned())
            }
            SecretsError::Which(_) => Some("name one of them with `--file`".to_owned()),
            SecretsError::Missing { .. } => Some("`nlrun secrets list` lists the names".to_owned()),
            SecretsError::Name(_)
            | SecretsError::Unknown(_)
            | SecretsError::Key(_)
            | SecretsError::File(_)
            | SecretsError::Edit(_)
            | SecretsError::Runtime(_) => None,
        };
        Self::Usage { message: sentence(&error), hint }
    }
}
