//! Writing secrets: `secret_write`.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Dynamic, Map};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::bindings::http::Text;
use crate::bindings::{Binding, Call, Function, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Answered, Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::{Failure, Verdict};
use crate::model::secret::{Secret, SecretName};
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};
use crate::world::secrets::bao::Stored;

/// What random text is made of. A byte from 248 on is left out, so that each of the 62 is as likely as any other.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Fewest and most characters of a random text.
const LENGTHS: std::ops::RangeInclusive<i64> = 16..=4096;

/// Has fields at a path of a store of secrets.
#[derive(Serialize)]
struct Write {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    fields: BTreeMap<String, Wanted>,
}

/// What a field should hold; it serialises to no value.
enum Wanted {
    /// This text: a secret, or what the runbook says in clear.
    Text(Text),
    /// Any value; where there is none, random text of so many characters.
    Random(usize),
    /// Nothing.
    Absent,
}

/// What came of it.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u64,
    /// Which fields were written or taken away.
    fields: Vec<String>,
    /// What was found, on its way from looking to doing.
    #[serde(skip)]
    found: Option<Arc<Stored>>,
}

impl Serialize for Wanted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(Text::Secret(secret)) => secret.serialize(serializer),
            Self::Text(Text::Plain(text)) => {
                json!({ "sha256": crate::store::sha256(text.as_bytes()) }).serialize(serializer)
            }
            Self::Random(length) => json!({ "random": length }).serialize(serializer),
            Self::Absent => serializer.serialize_none(),
        }
    }
}

impl Wanted {
    /// Compares with what a field holds: `same`, `other`, or `absent` where it should hold something and does not.
    fn compare(&self, held: Option<&Value>) -> Result<&'static str, Failure> {
        let is_empty = |value: &Value| value.is_null() || value.as_str() == Some("");
        Ok(match (self, held) {
            (Self::Absent, None) => "same",
            (Self::Absent, Some(_)) => "other",
            (_, None) => "absent",
            (Self::Random(_), Some(value)) => {
                if is_empty(value) {
                    "absent"
                } else {
                    "same"
                }
            }
            (Self::Text(text), Some(Value::String(value))) if text.exposed()? == value => "same",
            (Self::Text(_), Some(_)) => "other",
        })
    }

    fn words(&self) -> String {
        match self {
            Self::Text(Text::Secret(secret)) => format!("secret `{}`", secret.name()),
            Self::Text(Text::Plain(_)) => "a text of the runbook".to_owned(),
            Self::Random(length) => format!("{length} random characters"),
            Self::Absent => "nothing".to_owned(),
        }
    }
}

impl Write {
    fn read(call: &Call<'_>) -> Result<Self, Raise> {
        let path = call.string(0)?;
        let given = call.value(1);
        let wrong = || call.wrong(1, "a map of texts, secrets and `()`", &given);
        let mut fields = BTreeMap::new();
        for (name, value) in &given.clone().try_cast::<Map>().ok_or_else(wrong)? {
            let wanted = if value.is_unit() {
                Wanted::Absent
            } else {
                Wanted::Text(Text::from(value).ok_or_else(wrong)?)
            };
            let is_empty = match &wanted {
                Wanted::Text(Text::Plain(text)) => text.is_empty(),
                Wanted::Text(Text::Secret(secret)) => secret.expose().is_empty(),
                Wanted::Random(_) | Wanted::Absent => false,
            };
            if is_empty {
                return Err(invalid(format!("field `{name}` is empty; `()` takes it away")).into());
            }
            fields.insert(name.to_string(), wanted);
        }
        if let Some(value) = call.option("random") {
            let wrong = || {
                let wanted = format!(
                    "a map of fields to how many characters, {} to {}",
                    LENGTHS.start(),
                    LENGTHS.end()
                );
                call.wrong_option("random", &wanted, &value)
            };
            for (name, length) in &value.clone().try_cast::<Map>().ok_or_else(wrong)? {
                let length =
                    length.as_int().ok().filter(|length| LENGTHS.contains(length)).ok_or_else(wrong)?;
                if fields.insert(name.to_string(), Wanted::Random(length as usize)).is_some() {
                    return Err(invalid(format!("field `{name}` has a value and a random one, too")).into());
                }
            }
        }
        if fields.is_empty() {
            return Err(invalid("`secret_write` wants at least one field".to_owned()).into());
        }
        Ok(Self { path, source: call.option_string("source")?, fields })
    }

    /// Returns the fields that are not as they should be.
    fn wanting(&self, stored: &Stored) -> Result<BTreeMap<&str, &'static str>, Failure> {
        let mut states = BTreeMap::new();
        for (name, wanted) in &self.fields {
            let state = wanted.compare(stored.fields.get(name))?;
            if state != "same" {
                states.insert(name.as_str(), state);
            }
        }
        Ok(states)
    }

    /// Makes random text, which is known to be secret before it is used.
    fn random(&self, permit: &Permit<'_>, field: &str, length: usize) -> Result<String, Failure> {
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let mut bytes = zeroize::Zeroizing::new([0_u8; 64]);
            SystemRandom::new()
                .fill(&mut *bytes)
                .map_err(|_| invalid("this machine gives no random numbers".to_owned()))?;
            let letters =
                bytes.iter().filter(|byte| **byte < 248).map(|byte| LETTERS[usize::from(*byte) % 62]);
            text.extend(letters.map(char::from).take(length - text.len()));
        }
        let name = SecretName::try_from(format!("{}/{field}", self.path.trim_matches('/')))
            .or_else(|_| SecretName::try_from("secret/random".to_owned()))
            .map_err(|error| invalid(error.to_string()))?;
        permit.learn(&Secret::new(name, text.clone().into_bytes()))?;
        Ok(text)
    }
}

impl Effect for Write {
    const NAME: &'static str = "secret.write";
    const KIND: Kind = Kind::Ensure;
    type Output = Written;

    fn target(&self) -> Target {
        Target::Named { name: self.path.clone() }
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Written>, Failure> {
        let stored = permit.stored(self.source.as_deref(), &self.path).await?;
        let wanting = self.wanting(&stored)?;
        let mut diff = String::new();
        for (name, state) in &wanting {
            let at = format!("{}#{name}", self.path);
            match (&self.fields[*name], *state) {
                (Wanted::Absent, _) => diff += &format!("-{at}: a value\n"),
                (wanted, "other") => diff += &format!("-{at}: another value\n+{at}: {}\n", wanted.words()),
                (wanted, _) => diff += &format!("+{at}: {}\n", wanted.words()),
            }
        }
        let pre = json!({ "version": stored.version, "wanting": wanting });
        let changes = !wanting.is_empty();
        let output = Written {
            version: stored.version + u64::from(changes),
            fields: wanting.keys().map(|name| (*name).to_owned()).collect(),
            found: Some(Arc::new(stored)),
        };
        Ok(Seen { pre, changes, diff: changes.then_some(diff), output: Some(output) })
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Written>) -> Result<Done<Written>, Failure> {
        let found = seen.output.as_ref().and_then(|output| output.found.clone());
        let stored = found.ok_or_else(|| invalid("nobody has looked at the path".to_owned()))?;
        let mut fields = stored.fields.clone();
        let wanting = self.wanting(&stored)?;
        for name in wanting.keys() {
            match &self.fields[*name] {
                Wanted::Text(text) => fields.insert((*name).to_owned(), text.exposed()?.into()),
                Wanted::Random(length) => {
                    fields.insert((*name).to_owned(), self.random(permit, name, *length)?.into())
                }
                Wanted::Absent => fields.remove(*name),
            };
        }
        let version = permit.store(self.source.as_deref(), &self.path, fields, stored.version).await?;
        let fields = wanting.keys().map(|name| (*name).to_owned()).collect();
        Ok(Done::changed(Written { version, fields, found: None }))
    }
}

fn secret_write(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let effect = Write::read(call)?;
    match call.session.perform(Some(call.site.clone()), &effect)? {
        Answered::Known(written, verdict) => {
            let fields: rhai::Array = written.fields.into_iter().map(Dynamic::from).collect();
            Ok(Dynamic::from_map(Map::from([
                ("changed".into(), (verdict == Verdict::Changed).into()),
                ("version".into(), (written.version as i64).into()),
                ("fields".into(), fields.into()),
            ])))
        }
        Answered::Unplanned => Err(crate::bindings::outcome::unanswered(&call.site, Write::NAME)),
    }
}

/// Stores of secrets.
pub const BINDING: Binding = Binding {
    area: "secret",
    doc: "Stores of secrets that are written to.",
    functions: &[function!(
        secret_write,
        &[
            Param { name: "path", ty: Type::String, optional: false },
            Param { name: "fields", ty: Type::Map, optional: false }
        ],
        &[
            Opt {
                name: "random",
                ty: Type::Map,
                doc: "Fields that get random letters and digits where they have no value, each with how many: `#{ password: 32 }`.",
            },
            Opt {
                name: "source",
                ty: Type::String,
                doc: "The `name` of the OpenBao, where there are several in nlrun.yaml."
            },
        ],
        Some(Performs { effect: "secret.write", kind: Kind::Ensure, touches: Touches::Text(0) }),
        "A map `.changed .version .fields`: which fields were written or taken away, never a value.",
        "Has fields at a path of OpenBao (KV 2): `ci/db` and `password` are what `secret(\"ci/db/password\")` reads.\n\nA field is a \
         secret, a text, or `()` for none; other fields stay as they are. A plan tells which fields would change and shows no value, \
         neither the old nor the new one. What somebody else wrote since the path was looked at is not written over: that is a failure \
         `conflict`, and the next run looks again. A random value is made once and stays.",
        r#"try {
    let done = secret_write("ci/db", #{ user: "app", key: secret("db/root"), old: () }, #{ random: #{ password: 32 } });
    print(done.fields);
} catch (e) { print(e.message) }"#
    )],
};
