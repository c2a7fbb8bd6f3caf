//! The forms in which a secret's value can appear in output: raw, line by line, and encoded.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::x509;

/// Shorter texts are found everywhere by chance; replacing them would destroy the log and hide nothing.
pub(super) const SHORTEST: usize = 4;

/// The least number of non-blank characters that makes a line of a longer value worth hiding by itself.
const SHORTEST_LINE: usize = 6;

/// Returns every form of a value, without line breaks and the blanks after them (see [`super::unwrapped`]).
pub(super) fn of(value: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    for part in parts(value) {
        base64_forms(&part, &mut forms);
        forms.insert(base16ct::lower::encode_string(&part).into_bytes());
        forms.insert(base16ct::upper::encode_string(&part).into_bytes());
        percent_forms(&part, &mut forms);
        quoted_forms(&part, &mut forms);
        if let Ok(text) = std::str::from_utf8(&part) {
            json_forms(text, &mut forms);
        }
        forms.insert(part);
    }
    forms
        .into_iter()
        .map(|form| super::unwrapped(&form).bytes.trim_ascii().to_vec())
        .filter(|form| form.len() >= SHORTEST)
        .collect()
}

/// The value as it is, without blanks around it, with the line ends of terminals, and each telling line of it.
///
/// Certificates are public, and what stands between them is a value of its own: hidden, they would be missing wherever a run tells
/// what it did with them, and in what a replay reads back.
fn parts(value: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut parts = BTreeSet::new();
    for piece in x509::beside_certificates(value) {
        parts.extend([piece.to_vec(), piece.trim_ascii().to_vec()]);
        if piece.contains(&b'\n') {
            lines(piece, &mut parts);
        }
    }
    parts.retain(|part| part.len() >= SHORTEST);
    parts
}

fn lines(value: &[u8], parts: &mut BTreeSet<Vec<u8>>) {
    let lines: Vec<&[u8]> = value.split(|byte| *byte == b'\n').collect();
    parts.insert(
        lines
            .iter()
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .collect::<Vec<_>>()
            .join(&b"\r\n"[..]),
    );
    let public = x509::public_halves(value);
    for line in lines {
        let line = line.trim_ascii();
        if is_public(line, &public) {
            continue;
        }
        let is_marker = line.starts_with(b"-----BEGIN ") || line.starts_with(b"-----END ");
        if !is_marker && line.iter().filter(|byte| !byte.is_ascii_whitespace()).count() >= SHORTEST_LINE {
            parts.insert(line.to_vec());
        }
    }
}

/// Whether a line of a private key says nothing but a part of its public half.
///
/// That stands in the certificate, too, and a third of all times at the same place of a base64 line: hidden, it would be missing in
/// certificates that a run reads back from its journal.
fn is_public(line: &[u8], public: &[Vec<u8>]) -> bool {
    if public.is_empty() {
        return false;
    }
    let Ok(bytes) = STANDARD.decode(line) else { return false };
    public.iter().any(|half| half.windows(bytes.len().max(1)).any(|part| part == bytes))
}

/// Base64 of the value alone, and the characters that it decides inside a longer text, at each of three alignments.
fn base64_forms(value: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    for engine in [&STANDARD, &URL_SAFE] {
        let mut found = Vec::new();
        for before in 0..3 {
            let mut padded = vec![0; before];
            padded.extend_from_slice(value);
            let text = engine.encode(&padded);
            let start = (8 * before).div_ceil(6);
            let decided = 8 * padded.len() / 6;
            let end = text.trim_end_matches('=').len();
            // The last character and the padding are certain only when the text ends with the value.
            found.extend([start..decided, start..end, start..text.len()].map(|range| text[range].to_owned()));
        }
        for text in found {
            forms.insert(text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D").into_bytes());
            forms.insert(text.replace('+', "%2b").replace('/', "%2f").replace('=', "%3d").into_bytes());
            forms.insert(text.replace('/', "\\/").into_bytes());
            forms.insert(text.into_bytes());
        }
    }
}

/// Percent-encoding with each set of characters that common libraries leave alone (RFC 3986, WHATWG URL, Python).
fn percent_forms(value: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    const PLAIN: [&[u8]; 6] = [b"-_.~", b"-_.~/", b"-_.!~*'()", b"-_.!~*'();/?:@&=+$,#", b"-_.*", b"-_."];
    let mut encode = |keeps: &dyn Fn(u8) -> bool, plus: bool| {
        for upper in [true, false] {
            let mut text = Vec::new();
            for &byte in value {
                if keeps(byte) {
                    text.push(byte);
                } else if plus && byte == b' ' {
                    text.push(b'+');
                } else {
                    text.push(b'%');
                    let digits = if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
                    text.extend(digits.into_bytes());
                }
            }
            forms.insert(text);
        }
    };
    for plain in PLAIN {
        for plus in [false, true] {
            encode(&|byte| byte.is_ascii_alphanumeric() || plain.contains(&byte), plus);
        }
    }
    encode(&|_| false, false);
}

/// The insides of shell words and of Rust's and Python's debug texts.
fn quoted_forms(value: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    let mut replace = |escape: &dyn Fn(u8, &mut Vec<u8>)| {
        let mut text = Vec::new();
        for byte in value {
            escape(*byte, &mut text);
        }
        forms.insert(text);
    };
    let before = |specials: &'static [u8]| {
        move |byte: u8, text: &mut Vec<u8>| {
            if specials.contains(&byte) {
                text.push(b'\\');
            }
            text.push(byte);
        }
    };
    for instead in [&br"'\''"[..], br#"'"'"'"#] {
        replace(&|byte, text| match byte {
            b'\'' => text.extend(instead),
            _ => text.push(byte),
        });
    }
    replace(&before(b"\"$`\\"));
    replace(&before(b"\"$`\\!"));
    replace(&before(b"'\\"));
    replace(&before(b" \t!\"#$&'()*,;<>?[\\]^`{|}~"));
    forms.insert(value.escape_ascii().to_string().into_bytes());
    if let Ok(text) = std::str::from_utf8(value) {
        forms.insert(text.escape_debug().to_string().into_bytes());
        forms.insert(text.escape_default().to_string().into_bytes());
    }
}

/// The insides of JSON strings as common writers make them, and those once more inside a JSON string.
fn json_forms(text: &str, forms: &mut BTreeSet<Vec<u8>>) {
    const SLASH: &[char] = &['/'];
    const HTML: &[char] = &['<', '>', '&', '\'', '\u{2028}', '\u{2029}'];
    // PHP's `JSON_HEX_*` and .NET's default writer.
    const QUOTES: &[char] = &['<', '>', '&', '\'', '"'];
    const DOTNET: &[char] = &['<', '>', '&', '\'', '"', '+', '`'];
    // Nothing but letters, digits and common punctuation stays as it is.
    const SPECIALS: &[char] = &['"', '\\', '\n', '\t', '\r', '<', '>', '&', '\''];
    let all_ascii: Vec<char> = (0..=0x7f_u8).map(char::from).collect();
    let once: BTreeSet<String> = [
        json(text, false, &[], false),
        json(text, false, HTML, false),
        json(text, false, HTML, true),
        json(text, true, &[], false),
        json(text, true, &[], true),
        json(text, true, HTML, false),
        json(text, true, HTML, true),
        json(text, true, &all_ascii, false),
        json(text, true, &all_ascii, true),
        json(text, true, QUOTES, true),
        json(text, true, DOTNET, true),
        json(text, false, SPECIALS, false),
        json(text, false, SPECIALS, true),
    ]
    .into_iter()
    .flat_map(|form| [form.replace(SLASH, "\\/"), form])
    .collect();
    for form in once {
        forms.insert(json(&form, false, &[], false).into_bytes());
        forms.insert(form.into_bytes());
    }
}

/// One JSON string without its quotes: `escaped` characters, and all non-ASCII ones on demand, become `\uXXXX`.
fn json(text: &str, ascii: bool, escaped: &[char], upper: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let short = match c {
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            '\n' => Some("\\n"),
            '\r' => Some("\\r"),
            '\t' => Some("\\t"),
            '\u{8}' => Some("\\b"),
            '\u{c}' => Some("\\f"),
            _ => None,
        };
        if escaped.contains(&c)
            || (ascii && !c.is_ascii())
            || (c.is_control() && c.is_ascii() && short.is_none())
        {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = if upper { write!(out, "\\u{unit:04X}") } else { write!(out, "\\u{unit:04x}") };
            }
        } else if let Some(short) = short {
            out.push_str(short);
        } else {
            out.push(c);
        }
    }
    out
}
