//! YAML text into values, with errors that know their line: the one place that names the YAML library.
//!
//! The language is YAML 1.2 with its core booleans: `yes`, `no`, `on` and `off` are text, and so is `0755`. A duplicate
//! key, a tab in the indentation and a second document are errors; aliases may replay 500,000 nodes in all.
//! [`from_str`] fills a type; [`parse`] gives a tree of [`Node`]s that remember where they stand, for formats whose
//! errors must point at a value that is well-formed and still wrong.

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{MessageFormatter, Options, Spanned, Tagged, UserMessageFormatter};

use super::nearest::nearest;

/// Why a text is not the YAML that was wanted, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The label of the text, usually its path.
    pub file: String,
    /// Line, from 1; 0 when the text as a whole is wrong.
    pub line: u64,
    /// Column in characters, from 1; 0 when the text as a whole is wrong.
    pub column: u64,
    /// One sentence, without the place.
    pub message: String,
    /// What to do, when the error suggests it.
    pub hint: Option<String>,
}

/// Which words are booleans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booleans {
    /// `true` and `false` only (YAML 1.2).
    Strict,
    /// Also `yes`, `no`, `on` and `off` (YAML 1.1, which Ansible reads).
    Loose,
}

/// A value of a YAML text and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// The explicit tag (`!vault`), when one is written.
    pub tag: Option<String>,
    /// The value itself.
    pub content: Content,
}

/// The three shapes of YAML.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Null, boolean, number or text.
    Scalar(Value),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the text; its keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// The key as text, also when it is written as a number.
    pub text: String,
}

/// Reads a text into a type; `file` labels its errors.
///
/// An unknown field of a type that denies them comes back with a suggestion in [`Error::hint`].
pub fn from_str<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Error> {
    serde_saphyr::from_str_with_options(text, options(Booleans::Strict))
        .map_err(|error| describe(&error, file))
}

/// Reads a text into a tree that remembers places; an empty text is a null.
pub fn parse(text: &str, file: &str, booleans: Booleans) -> Result<Node, Error> {
    let parsed: Option<Node> = serde_saphyr::from_str_with_options(text, options(booleans))
        .map_err(|error| describe(&error, file))?;
    Ok(parsed.unwrap_or(Node { line: 1, column: 1, tag: None, content: Content::Scalar(Value::Null) }))
}

/// Reads the documents of a text, each with the line at which it begins; empty ones are left out.
///
/// Numbers are those of YAML 1.1, which Kubernetes reads: `0644` is octal. Words such as `yes` stay texts.
pub fn documents(text: &str, file: &str) -> Result<Vec<(u64, Value)>, Error> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        legacy_octal_numbers: true,
        with_snippet: false,
        emit_comments: false,
        budget: serde_saphyr::budget! {
            max_events: 16_000_000,
            max_nodes: 8_000_000,
            max_documents: 100_000,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 500_000 },
    };
    let read: Vec<Spanned<Value>> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| describe(&error, file))?;
    Ok(read.into_iter().map(|document| (document.referenced.line(), document.value)).collect())
}

impl Node {
    /// Turns the tree into a plain JSON value; a `!vault` text becomes `{"__vault": "<ciphertext>"}`.
    ///
    /// Other tags are dropped: Ansible's `!unsafe` only switches templating off.
    pub fn into_value(self) -> Value {
        match self.content {
            Content::Scalar(Value::String(text)) if is_vault(self.tag.as_deref()) => {
                serde_json::json!({ VAULT_KEY: text })
            }
            Content::Scalar(value) => value,
            Content::List(items) => items.into_iter().map(Node::into_value).collect(),
            Content::Map(entries) => {
                Value::Object(entries.into_iter().map(|(key, node)| (key.text, node.into_value())).collect())
            }
        }
    }

    /// Returns the shape in words, for errors.
    pub fn shape(&self) -> &'static str {
        match &self.content {
            Content::Scalar(Value::Null) => "nothing",
            Content::Scalar(Value::Bool(_)) => "a boolean",
            Content::Scalar(Value::Number(_)) => "a number",
            Content::Scalar(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }

    /// Whether nothing is written (`edge-1:` and no value).
    pub fn is_null(&self) -> bool {
        self.content == Content::Scalar(Value::Null)
    }
}

/// The key that marks a text still encrypted by Ansible Vault.
pub const VAULT_KEY: &str = "__vault";

fn is_vault(tag: Option<&str>) -> bool {
    matches!(tag, Some("!vault" | "!vault-encrypted"))
}

fn options(booleans: Booleans) -> Options {
    serde_saphyr::options! {
        strict_booleans: booleans == Booleans::Strict,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
        emit_comments: false,
        // Room for 20,000 hosts of a hundred values; what aliases multiply is bounded below, by what they replay.
        budget: serde_saphyr::budget! {
            max_events: 16_000_000,
            max_nodes: 8_000_000,
            max_merge_keys: 100_000,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 500_000 },
    }
}

fn describe(error: &serde_saphyr::Error, file: &str) -> Error {
    let place = error.location();
    let (message, hint) = match innermost(error) {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown key `{field}`"), Some(suggestion(field, expected)))
        }
        serde_saphyr::Error::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("unknown value `{variant}`"), Some(suggestion(variant, expected)))
        }
        serde_saphyr::Error::SerdeMissingField { field, .. } => (format!("missing key `{field}`"), None),
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("duplicate key `{key}`"), None)
        }
        serde_saphyr::Error::DuplicateMappingKey { key: None, .. } => ("duplicate key".to_owned(), None),
        serde_saphyr::Error::AliasReplayLimitExceeded { .. }
        | serde_saphyr::Error::AliasReplayStackDepthExceeded { .. }
        | serde_saphyr::Error::AliasExpansionLimitExceeded { .. }
        | serde_saphyr::Error::Budget { .. } => {
            ("too large: aliases, nesting or size exceed the limits for YAML".to_owned(), None)
        }
        serde_saphyr::Error::MultipleDocuments { .. } => ("more than one YAML document".to_owned(), None),
        other => (sentence(&UserMessageFormatter.format_message(other)), None),
    };
    Error {
        file: file.to_owned(),
        line: place.map_or(0, |place| place.line()),
        column: place.map_or(0, |place| place.column()),
        message,
        hint,
    }
}

fn innermost(mut error: &serde_saphyr::Error) -> &serde_saphyr::Error {
    while let serde_saphyr::Error::AliasError { error: inner, .. }
    | serde_saphyr::Error::WithSnippet { error: inner, .. } = error
    {
        error = inner;
    }
    error
}

fn suggestion(wrong: &str, expected: &[&'static str]) -> String {
    match nearest(wrong, expected.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", expected.join(", ")),
    }
}

/// Brings the library's words into ours: one line, no control characters, no final period.
fn sentence(text: &str) -> String {
    text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'").trim_end_matches('.').to_owned()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: Tagged(content, tag), referenced, .. } =
            Spanned::<Tagged<Content>>::deserialize(deserializer)?;
        Ok(Self { line: referenced.line(), column: referenced.column(), tag, content })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: text, referenced, .. } = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self { line: referenced.line(), column: referenced.column(), text })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Content::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        parse(text, "t.yaml", Booleans::Strict).unwrap().into_value()
    }

    #[test]
    fn scalars_mean_what_they_look_like() {
        for (text, expected) in [
            ("", json!(null)),
            ("# only a comment\n", json!(null)),
            ("a:", json!({"a": null})),
            ("a: ~", json!({"a": null})),
            ("a: yes", json!({"a": "yes"})),
            ("a: true", json!({"a": true})),
            ("a: 0755", json!({"a": "0755"})),
            ("a: 1_000", json!({"a": "1_000"})),
            ("a: 12:30", json!({"a": "12:30"})),
            ("a: 22", json!({"a": 22})),
            ("a: -1.5", json!({"a": -1.5})),
            ("a: '22'", json!({"a": "22"})),
            ("1: one", json!({"1": "one"})),
            ("a: &x {b: 1}\nc: {<<: *x, d: 2}", json!({"a": {"b": 1}, "c": {"b": 1, "d": 2}})),
            ("a: !vault |\n  $ANSIBLE\n  3031\n", json!({"a": {"__vault": "$ANSIBLE\n3031\n"}})),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
        assert_eq!(parse("a: yes", "t", Booleans::Loose).unwrap().into_value(), json!({"a": true}));
    }

    #[test]
    fn nodes_know_their_place() {
        let node = parse("a: 1\nbb:\n  - x\n  - [y]\n", "t.yaml", Booleans::Strict).unwrap();
        let Content::Map(entries) = node.content else { panic!("a mapping") };
        let (key, list) = &entries[1];
        assert_eq!((key.text.as_str(), key.line, key.column), ("bb", 2, 1));
        let Content::List(items) = &list.content else { panic!("a list") };
        assert_eq!((items[0].line, items[0].column), (3, 5));
        assert_eq!((items[1].line, items[1].shape()), (4, "a list"));
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Typed {
        #[expect(dead_code, reason = "only its parsing is tested")]
        port: u16,
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        for (text, line, column, message, hint) in [
            ("prot: 22", 1, 1, "unknown key `prot`", Some("did you mean `port`?")),
            ("colour: 22", 1, 1, "unknown key `colour`", Some("known here: port")),
            ("port: 1\nport: 2", 2, 1, "duplicate key `port`", None),
            ("{}", 1, 1, "missing key `port`", None),
            ("port: 22\n---\nport: 23", 3, 1, "more than one YAML document", None),
        ] {
            let error = from_str::<Typed>(text, "t.yaml").unwrap_err();
            assert_eq!(
                (error.line, error.column, error.message.as_str(), error.hint.as_deref()),
                (line, column, message, hint),
                "{text}"
            );
            assert_eq!(error.file, "t.yaml");
        }
    }

    #[test]
    fn tabs_and_bad_syntax_are_refused_with_a_line() {
        for (text, line) in
            [("a:\n\tb: 1\n", 2), ("a: [1\nb: 2", 2), ("a: 'x\n", 1), ("a: *nope", 1), ("a: 1\n b: 2", 2)]
        {
            let error = parse(text, "t.yaml", Booleans::Strict).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error:?}");
            assert!(!error.message.is_empty() && !error.message.contains('\n'), "{error:?}");
        }
    }

    #[test]
    fn a_billion_laughs_is_refused() {
        let mut text = "a0: &a0 [ha,ha,ha,ha,ha,ha,ha,ha,ha]\n".to_owned();
        for level in 1..10 {
            let before = vec![format!("*a{}", level - 1); 9].join(",");
            writeln!(text, "a{level}: &a{level} [{before}]").unwrap();
        }
        let error = parse(&text, "t.yaml", Booleans::Strict).unwrap_err();
        assert!(error.message.contains("too large"), "{error:?}");
        assert!(parse(&"[".repeat(5000), "t.yaml", Booleans::Strict).is_err());
    }

    #[test]
    fn one_anchor_may_serve_many_hosts() {
        let mut text = "x: &x {a: 1}\n".to_owned();
        for host in 0..5000 {
            writeln!(text, "h{host}: *x").unwrap();
        }
        let Value::Object(map) = value(&text) else { panic!("a mapping") };
        assert_eq!(map["h4999"], json!({"a": 1}));
    }
}
