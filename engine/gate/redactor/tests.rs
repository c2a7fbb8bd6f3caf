//! What is hidden, in which forms, and what is not.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;

fn secret(name: &str, value: impl AsRef<[u8]>) -> Secret {
    Secret::new(name.parse().unwrap(), value.as_ref().to_vec())
}

fn redactor(values: &[(&str, &str)]) -> Redactor {
    let redactor = Redactor::default();
    for (name, value) in values {
        redactor.add(&secret(name, value)).unwrap();
    }
    redactor
}

#[test]
fn nothing_is_copied_without_secrets_or_matches() {
    assert!(Redactor::default().is_empty());
    assert!(matches!(Redactor::default().text("hunter2"), Cow::Borrowed("hunter2")));
    assert!(matches!(redactor(&[("a", "hunter2")]).text("hunter 2\n x"), Cow::Borrowed(_)));
}

#[test]
fn forms_are_replaced() {
    let redactor = redactor(&[("db/root", "it's a \"s3cret\"/<ü>\\"), ("pin", "4711x")]);
    let mark = "«secret:db/root»";
    for (text, shown) in [
        ("<it's a \"s3cret\"/<ü>\\>", format!("<{mark}>")),
        (r#"{"p":"it's a \"s3cret\"/<ü>\\"}"#, format!(r#"{{"p":"{mark}"}}"#)),
        (r#""it's a \"s3cret\"\/<\u00fc>\\""#, format!("\"{mark}\"")),
        (r#""it\u0027s a \"s3cret\"/\u003c\u00fc\u003e\\""#, format!("\"{mark}\"")),
        (r#""it\u0027s a \u0022s3cret\u0022/\u003cü\u003e\u005c""#, format!("\"{mark}\"")),
        (r#""it\u0027s a \u0022s3cret\u0022/\u003C\u00FC\u003E\\""#, format!("\"{mark}\"")),
        (r#""{\"p\":\"it's a \\\"s3cret\\\"/<ü>\\\\\"}""#, format!(r#""{{\"p\":\"{mark}\"}}""#)),
        (r"p=it%27s+a+%22s3cret%22%2F%3C%C3%BC%3E%5C&", format!("p={mark}&")),
        (r"p=it%27s%20a%20%22s3cret%22%2f%3c%c3%bc%3e%5c&", format!("p={mark}&")),
        (r"p=it's%20a%20%22s3cret%22/%3C%C3%BC%3E%5C", format!("p={mark}")),
        (r#"echo 'it'\''s a "s3cret"/<ü>\'"#, format!("echo '{mark}'")),
        (r#"echo 'it'"'"'s a "s3cret"/<ü>\'"#, format!("echo '{mark}'")),
        (r#"echo "it's a \"s3cret\"/<ü>\\""#, format!("echo \"{mark}\"")),
        (
            "697427732061202273336372657422 4711x 2f3cc3bc3e5c",
            "697427732061202273336372657422 «secret:pin» 2f3cc3bc3e5c".to_owned(),
        ),
        (
            "x69742773206120227333637265 74222f3cc3bc3e5c",
            "x69742773206120227333637265 74222f3cc3bc3e5c".to_owned(),
        ),
        ("x697427732061202273336372657\n  4222f3cc3bc3e5cx", format!("x{mark}x")),
        ("697427732061202273336372657\r\n4222F3CC3BC3E5C", mark.to_owned()),
        ("«secret:pin» 4711x", "«secret:pin» «secret:pin»".to_owned()),
    ] {
        assert_eq!(redactor.text(text), shown, "{text}");
    }
}

#[test]
fn telling_lines_of_a_long_value_are_hidden_alone() {
    let key = "-----BEGIN KEY-----\nMIIEpAIBAAKC\n  short\nab c\nlast line;\n-----END KEY-----\n";
    let redactor = redactor(&[("key", key)]);
    for (text, shown) in [
        (format!("<{key}>"), "<«secret:key»\n>"),
        (format!("<{}>", key.replace('\n', "\r\n")), "<«secret:key»\r\n>"),
        (format!("key: |\n{}", key.replace('\n', "\n      ")), "key: |\n«secret:key»\n      "),
        ("a MIIEpAIBAAKC b".to_owned(), "a «secret:key» b"),
        ("last line;".to_owned(), "«secret:key»"),
        ("-----BEGIN KEY----- short ab c".to_owned(), "-----BEGIN KEY----- short ab c"),
    ] {
        assert_eq!(redactor.text(&text), shown);
    }
}

#[test]
fn json_is_redacted_in_keys_and_values_at_any_depth() {
    let redactor = redactor(&[("a", "hunter2")]);
    let mut value = json!({"x": ["hunter2", {"a hunter2": 1, "b": "hunter"}], "n": 7});
    assert!(redactor.json(&mut value));
    assert_eq!(value, json!({"x": ["«secret:a»", {"a «secret:a»": 1, "b": "hunter"}], "n": 7}));
    assert!(!redactor.json(&mut value));
}

#[test]
fn the_longest_value_at_a_place_counts_and_a_shorter_one_where_that_is_another() {
    let redactor = redactor(&[("short", "hunter"), ("long", "hunter2-and-more"), ("between", "hunter2-")]);
    for (text, shown) in [
        ("hunter2-and-more", "«secret:long»"),
        ("hunter2-and-less", "«secret:between»and-less"),
        ("hunter2", "«secret:short»2"),
        ("huntehunter2-and-mor", "hunte«secret:between»and-mor"),
        ("hunt", "hunt"),
    ] {
        assert_eq!(redactor.text(text), shown, "{text}");
    }
}

#[test]
fn redacting_twice_changes_nothing() {
    let redactor = redactor(&[("root", "root"), ("secret-word", "secret")]);
    let once = redactor.text("root secret").into_owned();
    assert_eq!(once, "«secret:root» «secret:secret-word»");
    assert!(matches!(redactor.text(&once), Cow::Borrowed(_)));
}

#[test]
fn short_values_are_refused_by_name() {
    let redactor = Redactor::default();
    for short in ["", "abc", " abc\n"] {
        let error = redactor.add(&secret("pin", short)).unwrap_err();
        assert!(error.to_string().contains("`pin` is too short"), "{error}");
    }
    assert!(redactor.is_empty());
}

#[test]
fn a_stream_holds_back_only_what_could_be_a_secret() {
    let redactor = redactor(&[("a", "hunter2"), ("b", "hunter2hunter3")]);
    let mut stream = redactor.stream();
    let mut push = |chunk: &str| {
        let mut out = Vec::new();
        stream.push(chunk.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(push("password: "), "password: ");
    assert_eq!(push("hunter"), "");
    assert_eq!(push("3 hunter2"), "hunter3 ");
    assert_eq!(push("!"), "«secret:a»!");
    assert_eq!(push("hunter2hunter"), "");
    assert_eq!(push("3"), "«secret:b»");
    assert_eq!(push("hun\n"), "");
    assert_eq!(push("   ter2."), "«secret:a».");
    redactor.add(&secret("late", "swordfish")).unwrap();
    assert_eq!(push("swordfish."), "«secret:late».");
    assert_eq!(push(&format!("hunt{}", "\n".repeat(10_000))), format!("hunt{}", "\n".repeat(10_000)));
    assert_eq!(push("hunter2"), "");
    let mut out = Vec::new();
    assert!(stream.finish(&mut out));
    assert_eq!(out, "«secret:a»".as_bytes());
}

/// Sends pieces through a stream to its end.
fn streamed(redactor: &Redactor, pieces: &[&[u8]]) -> (bool, String) {
    let (mut stream, mut out) = (redactor.stream(), Vec::new());
    let mut replaced = pieces.iter().fold(false, |any, piece| stream.push(piece, &mut out) | any);
    replaced |= stream.finish(&mut out);
    (replaced, String::from_utf8(out).unwrap())
}

#[test]
fn a_secret_that_ends_with_its_stream_is_hidden_wherever_it_is_cut() {
    let value = "it's \"s3cret\"/é";
    // Alone, so that its longest form is the longest of all, and as the beginning of another one.
    let alone = redactor(&[("a", value)]);
    let among = redactor(&[("a", value), ("longer", &format!("{value}, and more"))]);
    for (redactor, form) in forms::of(value.as_bytes()).iter().flat_map(|f| [(&alone, f), (&among, f)]) {
        let text = format!("= {}", std::str::from_utf8(form).unwrap());
        let hidden = (true, "= «secret:a»".to_owned());
        for end in 0..=text.len() {
            for cut in 0..=end {
                let (first, rest) = text.as_bytes().split_at(cut);
                let (second, third) = rest.split_at(end - cut);
                assert_eq!(streamed(redactor, &[first, second, third]), hidden, "{text} {cut} {end}");
            }
        }
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(streamed(redactor, &single), hidden, "{text}");
    }
}

#[test]
fn the_mere_beginning_of_a_secret_at_the_end_of_a_stream_is_not_lost() {
    let redactor = redactor(&[("a", "hunter2hunter3"), ("b", "swordfish")]);
    let forms = forms::of(b"hunter2hunter3");
    let forms: Vec<&str> = forms.iter().map(|form| std::str::from_utf8(form).unwrap()).collect();
    for form in &forms {
        for (length, after) in (1..form.len()).flat_map(|length| [(length, ""), (length, "\r\n  ")]) {
            // Some forms of base64 begin with others.
            if forms.iter().any(|whole| form[..length].contains(whole)) {
                continue;
            }
            let text = format!("so {}{after}", &form[..length]);
            let mut stream = redactor.stream();
            let mut out = Vec::new();
            assert!(!stream.push(text.as_bytes(), &mut out), "{text}");
            assert_eq!(String::from_utf8_lossy(&out), "so ", "{text} could go on as a secret");
            assert!(!stream.finish(&mut out), "{text}");
            assert_eq!(String::from_utf8_lossy(&out), text);
            assert!(!stream.finish(&mut out) && out.len() == text.len(), "{text} comes once");
            for cut in 0..text.len() {
                let (first, second) = text.as_bytes().split_at(cut);
                assert_eq!(streamed(&redactor, &[first, second]), (false, text.clone()));
            }
        }
    }
    // What was a secret already, and the beginning of another one after it.
    assert_eq!(streamed(&redactor, &[b"swordfishswordfis"]), (true, "«secret:b»swordfis".to_owned()));
}

/// A small generator with a fixed seed (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }

    fn text(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| letters[self.below(letters.len())]).collect()
    }
}

fn wrap(text: &str, columns: usize, end: &str) -> String {
    text.as_bytes()
        .chunks(columns)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect::<Vec<_>>()
        .join(end)
}

fn percent(text: &str, upper: bool, keep: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b if b.is_ascii_alphanumeric() || keep.as_bytes().contains(&b) => char::from(b).to_string(),
            b if upper => format!("%{b:02X}"),
            b => format!("%{b:02x}"),
        })
        .collect()
}

/// Carriers: what a program would print, and the part of it that must not be seen afterwards.
fn carriers(random: &mut Random, value: &str) -> Vec<(String, String)> {
    let mut all =
        vec![(value.to_owned(), value.to_owned()), (value.trim().to_owned(), value.trim().to_owned())];
    let mut same = |text: String| all.push((text.clone(), text));
    same(serde_json::to_string(value).unwrap().trim_matches('"').to_owned());
    same(value.replace('\'', r"'\''"));
    same(percent(value, true, "-_.~"));
    same(percent(value, false, "-_.~"));
    same(percent(value, true, "-_.* ").replace(' ', "+"));
    same(value.bytes().map(|b| format!("{b:02x}")).collect::<Vec<_>>().concat());
    same(value.bytes().map(|b| format!("{b:02X}")).collect::<Vec<_>>().concat());
    same(value.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat());
    same(value.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<Vec<_>>().concat());
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let (front, back) = (random.below(30) * 3 + before, random.below(50));
            let text = [random.text("xyz ", front), value.to_owned(), random.text("xyz ", back)].concat();
            let whole = engine.encode(&text);
            let core = whole[(8 * front).div_ceil(6)..8 * (front + value.len()) / 6].to_owned();
            for (columns, end) in [(64, "\n"), (76, "\n"), (76, "\r\n"), (64, "\n    "), (usize::MAX, "")] {
                all.push((wrap(&whole, columns, end), core.clone()));
            }
        }
        all.push((engine.encode(value), engine.encode(value)));
    }
    all
}

#[test]
fn a_secret_that_is_learnt_while_a_stream_runs_is_hidden_from_then_on() {
    let redactor = redactor(&[("a", "first one")]);
    let (mut stream, mut out) = (redactor.stream(), Vec::new());
    stream.push(b"first one, ", &mut out);
    redactor.add(&secret("b", "second one")).unwrap();
    assert!(stream.push(b"second one.", &mut out));
    stream.finish(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "«secret:a», «secret:b».");
}

#[test]
fn no_form_survives_any_chunking() {
    let mut random = Random(0x5eed_0001);
    for round in 0..60 {
        let alphabet =
            ["abcdefXYZ0189", "aA1!@#$%^&*()_+-='\"/\\<>?~` ", "äöß€a1 '\"", "ab\n\"c/+\tdef"][round % 4];
        let values: Vec<String> = (0..=random.below(3))
            .map(|_| {
                let most = [12, 80][random.below(2)];
                let length = 5 + random.below(most);
                // Blanks at the ends are not part of what is hidden.
                format!("q{}z", random.text(alphabet, length))
            })
            .collect();
        let redactor = Redactor::default();
        for (index, value) in values.iter().enumerate() {
            redactor.add(&secret(&format!("s{index}"), value)).unwrap();
        }
        let value = values[random.below(values.len())].clone();
        for (carried, hidden) in carriers(&mut random, &value) {
            let (front, back) = (random.below(20), random.below(20));
            let text = format!("{}|{carried}|{}", random.text("mno\n", front), random.text("mno\n", back));
            let flat = |text: &[u8]| String::from_utf8_lossy(&unwrapped(text).bytes).into_owned();
            let mut stream = redactor.stream();
            let (mut out, mut rest, mut replaced) = (Vec::new(), text.as_bytes(), false);
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(1 + random.below(rest.len().min(40)));
                replaced |= stream.push(chunk, &mut out);
                rest = after;
            }
            replaced |= stream.finish(&mut out);
            assert!(replaced, "{value:?} is shown in {text:?}");
            assert!(!flat(&out).contains(&flat(hidden.as_bytes())), "{value:?} is shown in {:?}", flat(&out));
            assert_eq!(
                out,
                redactor.bytes(text.as_bytes()).into_owned(),
                "chunks change the result of {text:?}"
            );
        }
    }
}

#[test]
fn large_output_passes_quickly_and_whole() {
    let redactor = redactor(&[("a", "hunter2"), ("b", "correct horse battery staple")]);
    let chunk = "Lorem ipsum dolor sit amet, consectetur adipiscing elit 0123456789\n".repeat(1000);
    let (mut stream, mut out, mut total) = (redactor.stream(), Vec::new(), 0);
    let rounds = 16_000_000 / chunk.len();
    for _ in 0..rounds {
        out.clear();
        stream.push(chunk.as_bytes(), &mut out);
        total += out.len();
    }
    out.clear();
    stream.finish(&mut out);
    assert_eq!(total + out.len(), rounds * chunk.len());
}

/// A key on P-256 in PKCS#8: its last line is part of the public point, which its certificate has, too.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCEwrEgtg7igO1Wik
8yTUJGc4EbdbpjNywaCwgdE0WEOhRANCAATUAy5idX++oDM97zkPgbpDSARTkCjv
9kYNMZHO4/jORGfoO1SSkmRR9AnhDZDkQlEg+y0Dv6juOMw+znVrBlAT
-----END PRIVATE KEY-----
";

#[test]
fn what_a_key_says_of_its_public_half_stays_in_its_certificate() {
    let redactor = redactor(&[("site/key", KEY)]);
    let certificate = "MAAUAy5idX++oDM97zkPgbpDSARTkCjv\n9kYNMZHO4/jORGfoO1SSkmRR9AnhDZDkQlEg+y0Dv6juOMw+znVrBlAT\no28wbTAd";
    assert_eq!(redactor.text(certificate), certificate);
    assert_eq!(redactor.text(KEY.trim_end()), "«secret:site/key»");
    let lines: Vec<&str> = KEY.lines().collect();
    for private in &lines[1..3] {
        assert_eq!(redactor.text(&format!("<{private}>")), "<«secret:site/key»>");
    }
}

#[test]
fn a_certificate_in_a_secret_is_public_and_all_else_in_it_is_not() {
    let made = rcgen::generate_simple_self_signed(["www.example.com".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let alone = redactor(&[("site/certificate", &certificate)]);
    for text in [&certificate, &STANDARD.encode(&certificate), &certificate.replace('\n', "\\n")] {
        assert_eq!(alone.text(text), *text);
    }
    // Two secrets of which one is also part of the other: what is public in one is not hidden by the other.
    let both = format!("{certificate}{key}{certificate}");
    let redactor = redactor(&[("site/certificate", &certificate), ("site/pair", &both)]);
    let key = key.trim_end();
    let told = redactor.text(&both).into_owned();
    assert_eq!(told, both.replace(key, "«secret:site/pair»"));
    let place = certificate.len()..certificate.len() + key.len();
    let base64 = STANDARD.encode(&both);
    // The characters that the key alone decides.
    let inner = base64[(4 * place.start).div_ceil(3)..4 * place.end / 3].to_owned();
    for (form, hidden) in [
        (both.replace('\n', "\\n"), key.replace('\n', "\\n")),
        (both.replace('\n', "\r\n"), key.replace('\n', "\r\n")),
        (base64, inner),
        (hex(both.as_bytes()), hex(key.as_bytes())),
    ] {
        let (before, after) = form.split_once(&hidden).unwrap();
        let told = redactor.text(&form);
        // The line break behind the key may be hidden with it.
        let rest =
            told.strip_prefix(before).and_then(|rest| rest.strip_prefix("«secret:site/pair»")).unwrap();
        assert!(after.ends_with(rest) && rest.len() + 4 >= after.len(), "{rest}");
    }
    let cut = certificate.split("-----END").next().unwrap();
    let redactor = self::redactor(&[("odd", &format!("{cut}{key}"))]);
    let line = key.lines().nth(1).unwrap();
    assert!(!redactor.text(&format!("{cut}{key}")).contains(line));
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}
