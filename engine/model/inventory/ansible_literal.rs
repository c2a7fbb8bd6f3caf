//! Values of INI inventories: Python literals when they are some, texts otherwise (Ansible's `ini` plugin).

use serde_json::{Map, Value};

/// Reads a value as Ansible's `ast.literal_eval` does; what is no literal is a text.
pub(super) fn value(text: &str) -> Value {
    let mut reader = Reader { rest: text.trim(), depth: 0 };
    match reader.value() {
        Some(value) if reader.rest.is_empty() || reader.rest.starts_with('#') => value,
        Some(_) | None => text.trim().into(),
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Option<Value> {
        let value = match self.rest.chars().next()? {
            quote @ ('\'' | '"') => self.text(quote)?.into(),
            '[' => Value::Array(self.list(']')?),
            '(' => Value::Array(self.list(')')?),
            '{' => Value::Object(self.map()?),
            _ => self.atom()?,
        };
        self.rest = self.rest.trim_start();
        Some(value)
    }

    fn text(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut letters = self.rest.char_indices().skip(1);
        while let Some((position, letter)) = letters.next() {
            match letter {
                '\\' => match letters.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    escaped @ ('\\' | '\'' | '"') => text.push(escaped),
                    other => text.extend(['\\', other]),
                },
                end if end == quote => {
                    self.rest = &self.rest[position + 1..];
                    return Some(text);
                }
                other => text.push(other),
            }
        }
        None
    }

    fn list(&mut self, close: char) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        self.open()?;
        while !self.take(close) {
            items.push(self.value()?);
            if !self.take(',') && !self.rest.starts_with(close) {
                return None;
            }
        }
        self.depth -= 1;
        Some(items)
    }

    fn map(&mut self) -> Option<Map<String, Value>> {
        let mut entries = Map::new();
        self.open()?;
        while !self.take('}') {
            let key = match self.value()? {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
            };
            if !self.take(':') {
                return None;
            }
            entries.insert(key, self.value()?);
            if !self.take(',') && !self.rest.starts_with('}') {
                return None;
            }
        }
        self.depth -= 1;
        Some(entries)
    }

    fn atom(&mut self) -> Option<Value> {
        let end = self.rest.find(|letter: char| ",:]})# \t".contains(letter)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "True" => Some(true.into()),
            "False" => Some(false.into()),
            "None" => Some(Value::Null),
            _ => number(word),
        }
    }

    /// Enters a bracket; ten are deeper than any real value and no danger to the stack.
    fn open(&mut self) -> Option<()> {
        self.depth += 1;
        self.rest = self.rest[1..].trim_start();
        (self.depth <= 10).then_some(())
    }

    fn take(&mut self, letter: char) -> bool {
        match self.rest.strip_prefix(letter) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }
}

/// Reads a number as Python 3 does: `0755` is none, so a mode or a phone number stays a text.
fn number(word: &str) -> Option<Value> {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        || !digits.contains(|letter: char| letter.is_ascii_digit())
    {
        return None;
    }
    if digits.bytes().all(|digit| digit.is_ascii_digit()) {
        let is_padded =
            digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|digit| digit != b'0');
        return if is_padded { None } else { word.parse::<i64>().ok().map(Value::from) };
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        let number = i64::from_str_radix(hex, 16).ok()?;
        return Some(if word.starts_with('-') { -number } else { number }.into());
    }
    word.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::value;

    #[test]
    fn literals_are_read_and_the_rest_is_text() {
        for (text, expected) in [
            ("5", json!(5)),
            ("-5", json!(-5)),
            ("1.5", json!(1.5)),
            ("0", json!(0)),
            ("0x1f", json!(31)),
            ("0755", json!("0755")),
            ("10.0.0.1", json!("10.0.0.1")),
            ("True", json!(true)),
            ("true", json!("true")),
            ("yes", json!("yes")),
            ("None", json!(null)),
            ("'a b'", json!("a b")),
            (r#""a\"b""#, json!("a\"b")),
            ("'a' b", json!("'a' b")),
            ("'open", json!("'open")),
            ("[1, 'a', True,]", json!([1, "a", true])),
            ("[a, b]", json!("[a, b]")),
            ("{'a': [1], 2: {}}", json!({"a": [1], "2": {}})),
            ("{'a': 1", json!("{'a': 1")),
            ("5 # five", json!(5)),
            ("a # b", json!("a # b")),
            ("", json!("")),
            ("inf", json!("inf")),
            ("1e5", json!(100_000.0)),
            ("{{ x }}", json!("{{ x }}")),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
        assert!(value(&"[".repeat(10_000)).is_string());
    }
}
