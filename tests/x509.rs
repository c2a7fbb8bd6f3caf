//! Certificates of `openssl`, read by the library and compared with what `openssl` says of them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nlrun::x509::{Bundle, Error, Expected, Finding, Order, Pair, PrivateKey, Severity, check};

use crate::support::certificates::{AUTHORITY, Forge, Wish};

const KINDS: [&str; 5] = ["RSA-2048", "P-256", "P-384", "P-521", "ED25519"];
const DAY: i64 = 86_400;

fn pair(pem: &str) -> Pair {
    Pair::of(Bundle::read(pem.as_bytes()).unwrap(), None).unwrap()
}

fn key(pem: impl AsRef<[u8]>) -> PrivateKey {
    Bundle::read(pem.as_ref()).unwrap().key().unwrap()
}

/// What is found `days` after the leaf begins to be valid.
fn found_at(pair: &Pair, names: &[&str], days: i64) -> Vec<Finding> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let at = pair.leaf.not_before + SignedDuration::from_secs(days * DAY + 60);
    check(pair, &Expected { names: &names, at, warn: Duration::from_secs(21 * 86_400) })
}

fn found(pair: &Pair, names: &[&str]) -> Vec<Finding> {
    found_at(pair, names, 1)
}

fn kinds(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.kind).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn certificates_of_every_kind_are_what_openssl_says() {
    let forge = Forge::new();
    for (kind, words) in KINDS.into_iter().zip(["RSA 2048", "EC P-256", "EC P-384", "EC P-521", "Ed25519"]) {
        forge.key(kind, kind);
        let digest = if kind == "ED25519" { "" } else { "-sha512" };
        forge.sign(kind, kind, kind, &Wish { digest, ..Wish::server("www.example.com") });
        let pair = pair(&forge.read(&format!("{kind}.pem")));
        let leaf = &pair.leaf;
        let say = |what: &str| {
            let line = format!("x509 -in {kind}.pem -noout {what}");
            let text = String::from_utf8(forge.openssl(&line)).unwrap();
            text.trim().split_once('=').unwrap().1.to_owned()
        };
        assert_eq!(leaf.fingerprint, say("-fingerprint -sha256").replace(':', "").to_lowercase());
        assert_eq!(leaf.serial, say("-serial").to_lowercase());
        let end: Timestamp = say("-enddate -dateopt iso_8601").replace(' ', "T").parse().unwrap();
        assert_eq!(leaf.not_after, end);
        let spki = forge.openssl(&format!("pkey -in {kind}.key -pubout -outform DER"));
        assert_eq!(leaf.spki, hex(ring::digest::digest(&ring::digest::SHA256, &spki).as_ref()));
        assert_eq!((leaf.subject.as_str(), leaf.key.words().as_str()), ("CN=www.example.com", words));
        let names: Vec<String> = leaf.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["www.example.com", "*.apps.example.com", "192.0.2.7", "2001:db8::7"]);
        assert!(!leaf.is_ca);
        assert_eq!(leaf.signed_by(leaf), nlrun::x509::Verdict::Genuine, "{kind}");
        assert_eq!(leaf.days_left(leaf.not_before), 90);
        assert_eq!(leaf.days_left(leaf.not_after), 0);
        assert_eq!(leaf.days_left(leaf.not_after + SignedDuration::from_secs(1)), -1);
    }
}

#[test]
fn a_key_in_every_form_is_known_by_its_certificate_and_by_no_other() {
    let forge = Forge::new();
    for kind in KINDS {
        forge.key(kind, kind);
        forge.key("other", kind);
        forge.sign(kind, kind, kind, &Wish { digest: "", ..Wish::server("a") });
        let leaf = pair(&forge.read(&format!("{kind}.pem"))).leaf;
        let mut forms = vec![forge.read(&format!("{kind}.key")).into_bytes()];
        forms.push(forge.openssl(&format!("pkey -in {kind}.key -outform DER")));
        if kind != "ED25519" {
            forms.push(forge.openssl(&format!("pkey -in {kind}.key -traditional")));
            forms.push(forge.openssl(&format!("pkey -in {kind}.key -traditional -outform DER")));
        }
        for form in &forms {
            let own = key(form);
            assert!(leaf.has_key(&own), "{kind}");
            assert_eq!(format!("{own:?}"), format!("PrivateKey({})", leaf.key.words()));
        }
        assert!(!leaf.has_key(&key(forge.read("other.key"))), "{kind}");
    }
    let rsa = pair(&forge.read("RSA-2048.pem")).leaf;
    assert!(!rsa.has_key(&key(forge.read("P-256.key"))));
}

#[test]
fn keys_that_cannot_be_used_are_told_and_not_shown() {
    let forge = Forge::new();
    forge.key("rsa", "RSA-2048");
    forge.openssl("pkey -in rsa.key -aes256 -passout pass:x -out new.key");
    forge.openssl("pkey -in rsa.key -traditional -aes256 -passout pass:x -out old.key");
    forge.openssl("genpkey -algorithm ED448 -out ed448.key");
    forge.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out k1.key");
    let encrypted = forge.openssl("pkcs8 -topk8 -in rsa.key -passout pass:x -outform DER");
    let whole = forge.read("rsa.key");
    let body = whole.lines().nth(4).unwrap();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (forge.read("new.key").into(), "line 1: the private key is encrypted"),
        (forge.read("old.key").into(), "line 1: the private key is encrypted"),
        (encrypted, "the private key is encrypted"),
        (forge.read("ed448.key").into(), "of this kind (`1.3.101.113`)"),
        (forge.read("k1.key").into(), "of this kind (`1.3.132.0.10`)"),
        (whole.replace(&format!("{body}\n"), "").into(), "line 1: the private key is damaged or cut short"),
        (
            whole.replace(body, &format!("{}*", &body[..63])).into(),
            "line 1: what `BEGIN PRIVATE KEY` begins is damaged",
        ),
        (whole.replace("-----END PRIVATE KEY-----", "").into(), "has no `END PRIVATE KEY`"),
    ];
    for (bytes, expected) in cases {
        let error = Bundle::read(&bytes).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(expected), "{shown} is not {expected}");
        assert!(!shown.contains(&body[..20]), "{shown}");
    }
    let two = Bundle::read(whole.repeat(2).as_bytes()).unwrap();
    assert!(!format!("{two:?}").contains(&body[..20]));
    assert_eq!(two.key().unwrap_err(), Error::ManyKeys(2));
}

#[test]
fn a_chain_is_put_in_order_whatever_its_order_was() {
    let forge = Forge::chain();
    let orders = [
        (["leaf.pem", "middle.pem", "root.pem"], &["root"][..]),
        (["leaf.pem", "root.pem", "middle.pem"], &["order", "root"]),
        (["middle.pem", "leaf.pem", "root.pem"], &["leaf_not_first", "root"]),
        (["middle.pem", "root.pem", "leaf.pem"], &["leaf_not_first", "root"]),
        (["root.pem", "leaf.pem", "middle.pem"], &["leaf_not_first", "order", "root"]),
        (["root.pem", "middle.pem", "leaf.pem"], &["leaf_not_first", "order", "root"]),
    ];
    for (names, expected) in orders {
        let pair = pair(&forge.join(&names));
        assert_eq!(pair.leaf.subject, "CN=www.example.com");
        let chain: Vec<&str> = pair.chain.iter().map(|one| one.subject.as_str()).collect();
        assert_eq!(chain, ["CN=Example_Middle", "CN=Example_Root"]);
        let names = ["WWW.example.com", "x.apps.example.com", "192.0.2.7", "[2001:db8::7]"];
        let mut kinds = kinds(&found(&pair, &names));
        kinds.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(kinds, expected);
    }
}

#[test]
fn what_is_written_has_the_order_asked_for_and_is_read_again() {
    let forge = Forge::chain();
    let scrambled = forge.join(&["root.pem", "leaf.key", "middle.pem", "leaf.pem"]);
    let pair = pair(&scrambled);
    let cases: [(&str, &[&str]); 6] = [
        ("leaf", &["leaf.pem"]),
        ("leaf+chain", &["leaf.pem", "middle.pem"]),
        ("leaf+chain+root", &["leaf.pem", "middle.pem", "root.pem"]),
        ("leaf+chain+key", &["leaf.pem", "middle.pem", "leaf.key"]),
        ("key+leaf+chain", &["leaf.key", "leaf.pem", "middle.pem"]),
        ("chain", &["middle.pem"]),
    ];
    for (order, files) in cases {
        let text = order.parse::<Order>().unwrap().write(&pair).unwrap();
        assert_eq!(*text, forge.join(files), "{order}");
    }
    let write = |pem: &str, order: &str| {
        let pair = Pair::of(Bundle::read(pem.as_bytes()).unwrap(), None).unwrap();
        order.parse::<Order>().unwrap().write(&pair).unwrap_err()
    };
    assert_eq!(write(&forge.read("leaf.pem"), "leaf+key"), Error::NoKey);
    assert_eq!(write(&forge.read("leaf.pem"), "leaf+root"), Error::NoRoot);
    let stranger = forge.join(&["leaf.pem", "root.key"]);
    assert!(matches!(write(&stranger, "leaf"), Error::Mismatch { .. }));
    let old = String::from_utf8(forge.openssl("pkey -in leaf.key -traditional")).unwrap();
    let pair = Pair::of(Bundle::read(forge.read("leaf.pem").as_bytes()).unwrap(), Some(key(&old))).unwrap();
    assert_eq!(*"key".parse::<Order>().unwrap().write(&pair).unwrap(), old);
}

#[test]
fn text_around_and_line_ends_of_windows_change_nothing() {
    let forge = Forge::chain();
    let plain = pair(&forge.join(&["leaf.pem", "middle.pem"]));
    let verbose = String::from_utf8(forge.openssl("x509 -in middle.pem -text")).unwrap();
    let noisy = format!(
        "Bag Attributes\n  friendlyName: x\n{}# the chain: -----\n{verbose}\nthe end -----END CERTIFICATE\n",
        forge.read("leaf.pem")
    );
    let parameters = String::from_utf8(forge.openssl("ecparam -name prime256v1")).unwrap();
    let indented = noisy.lines().fold(String::new(), |text, line| text + "    " + line + "\n");
    let cases = [
        noisy.clone(),
        noisy.replace('\n', "\r\n"),
        noisy.replace('\n', "\r"),
        parameters + &noisy,
        indented,
    ];
    for text in cases {
        let pair = pair(&text);
        assert_eq!((pair.leaf, pair.chain), (plain.leaf.clone(), plain.chain.clone()));
    }
    let der = forge.openssl("x509 -in leaf.pem -outform DER");
    assert_eq!(Bundle::read(&der).unwrap().certificates[0], plain.leaf);
    let cut = &der[..der.len() - 9];
    assert_eq!(Bundle::read(cut).unwrap_err(), Error::Nothing);
    let text = forge.read("leaf.pem");
    let line = text.lines().nth(3).unwrap();
    let error = Bundle::read(text.replace(&format!("{line}\n"), "").as_bytes()).unwrap_err().to_string();
    assert_eq!(error, "line 1: the certificate is damaged or cut short");
}

#[test]
fn what_is_wrong_is_found() {
    let forge = Forge::chain();
    forge.key("weak", "RSA-1024");
    let weak = Wish { digest: "-sha1", ..Wish::server("weak") };
    forge.sign("weak", "weak", "middle", &weak);
    forge.key("rsa", "RSA-2048");
    forge.sign("rsa", "rsa", "rsa", &Wish::authority("RSA Root"));
    forge.sign("sha", "leaf", "rsa", &Wish { digest: "-sha1", ..Wish::server("sha") });
    let bare = Wish { extensions: "basicConstraints=CA:false\n", ..Wish::server("bare") };
    forge.sign("bare", "leaf", "middle", &bare);
    forge.sign("self", "leaf", "leaf", &Wish::server("self"));
    let client =
        Wish { extensions: "subjectAltName=DNS:c\nextendedKeyUsage=clientAuth\n", ..Wish::server("c") };
    forge.sign("client", "leaf", "middle", &client);
    // Signed by a certificate that is no authority, and by one below an authority that allows none.
    forge.key("low", "P-256");
    forge.sign("low", "low", "leaf", &Wish::server("low"));
    let narrow = AUTHORITY.replace("CA:true", "CA:true,pathlen:0");
    forge.sign("narrow", "root", "root", &Wish { extensions: &narrow, ..Wish::authority("Example Root") });
    // Another authority with the same name: the name is right, the signature is not.
    forge.key("fake", "P-256");
    forge.sign("fake", "fake", "fake", &Wish::authority("Example Middle"));
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        (&["leaf.pem", "middle.pem"], &["www.example.com"], &[]),
        (&["leaf.pem", "middle.pem", "leaf.key"], &[], &[]),
        (&["leaf.pem", "middle.pem"], &["example.com"], &["name"]),
        (&["leaf.pem", "middle.pem"], &["a.b.apps.example.com"], &["name"]),
        (&["leaf.pem", "middle.pem"], &["192.0.2.8"], &["name"]),
        (&["leaf.pem", "middle.pem", "root.key"], &[], &["key_mismatch"]),
        (&["leaf.pem", "middle.pem", "middle.key"], &[], &["key_mismatch"]),
        (&["leaf.pem"], &[], &["incomplete"]),
        (&["leaf.pem", "root.pem"], &[], &["incomplete", "foreign"]),
        (&["leaf.pem", "leaf.pem", "middle.pem"], &[], &["duplicate"]),
        (&["leaf.pem", "fake.pem"], &[], &["incomplete", "foreign"]),
        (&["leaf.pem", "fake.pem", "middle.pem"], &[], &["foreign"]),
        (&["weak.pem", "middle.pem"], &[], &["weak_signature", "short_key"]),
        (&["sha.pem", "rsa.pem"], &[], &["weak_signature", "root"]),
        (&["bare.pem", "middle.pem"], &[], &["no_names"]),
        (&["bare.pem", "middle.pem"], &["bare"], &["name"]),
        (&["self.pem"], &[], &["self_signed"]),
        (&["client.pem", "middle.pem"], &[], &[]),
        (&["client.pem", "middle.pem"], &["c"], &["not_for_servers"]),
        (&["low.pem", "leaf.pem", "middle.pem"], &[], &["not_an_issuer"]),
        (&["leaf.pem", "middle.pem", "narrow.pem"], &[], &["path_length", "root"]),
        (&["middle.pem"], &[], &["leaf_is_ca", "incomplete"]),
    ];
    for (files, names, expected) in cases {
        let findings = found(&pair(&forge.join(files)), names);
        assert_eq!(kinds(&findings), *expected, "{files:?} {names:?} {findings:#?}");
    }
}

#[test]
fn time_is_what_the_caller_says() {
    let forge = Forge::chain();
    let pair = pair(&forge.join(&["leaf.pem", "middle.pem"]));
    let cases: [(i64, &[&str], &str); 6] = [
        (-1, &["not_yet_valid", "not_yet_valid"], "is not valid before"),
        (68, &[], ""),
        (69, &["expires"], "expires in 20 days, on "),
        (88, &["expires"], "expires in 1 day, on "),
        (89, &["expires"], "expires within a day, on "),
        (90, &["expired"], "expired on "),
    ];
    for (days, expected, text) in cases {
        let findings = found_at(&pair, &[], days);
        assert_eq!(kinds(&findings), expected, "{days}");
        assert!(findings.iter().all(|finding| finding.text.contains(text)), "{findings:?}");
    }
    let years = found_at(&pair, &[], 4000);
    assert_eq!(kinds(&years), ["expired", "expired"], "those of the chain count, too");
}

#[test]
fn of_a_cross_signed_authority_the_certificate_that_leads_on_is_taken() {
    let forge = Forge::chain();
    forge.key("old", "RSA-2048");
    forge.sign("old", "old", "old", &Wish::authority("Old Root"));
    forge.sign("cross", "middle", "old", &Wish::authority("Example Middle"));
    for files in [
        ["leaf.pem", "cross.pem", "middle.pem", "old.pem"],
        ["leaf.pem", "middle.pem", "cross.pem", "old.pem"],
    ] {
        let pair = pair(&forge.join(&files));
        assert_eq!(pair.chain[0].issuer, "CN=Old_Root");
        assert_eq!(kinds(&found(&pair, &[])), ["cross_signed", "root"], "{files:?}");
    }
    let pair = pair(&forge.join(&["leaf.pem", "middle.pem", "cross.pem"]));
    assert_eq!(pair.chain[0].issuer, "CN=Example_Root", "the first, where none leads on");
    assert_eq!(found(&pair, &[])[0].severity, Severity::Note);
}

#[test]
fn signatures_of_all_kinds_are_checked_across_kinds() {
    let forge = Forge::new();
    for (issuer, digest) in [
        ("RSA-2048", "-sha384"),
        ("P-256", "-sha512"),
        ("P-384", "-sha256"),
        ("P-521", "-sha512"),
        ("ED25519", ""),
    ] {
        forge.key(issuer, issuer);
        forge.sign(issuer, issuer, issuer, &Wish { digest, ..Wish::authority(issuer) });
        forge.key("leaf", "P-256");
        forge.sign("leaf", "leaf", issuer, &Wish { digest, ..Wish::server("leaf") });
        let pair = pair(&forge.join(&["leaf.pem", &format!("{issuer}.pem")]));
        assert_eq!(kinds(&found(&pair, &[])), ["root"], "{issuer}");
        // One bit of the leaf's own content is turned: the name is right, the signature is not.
        let mut forged = pair.leaf.clone();
        let place = forged.der.windows(4).rposition(|window| window == b"leaf").unwrap();
        forged.der[place] ^= 1;
        assert_eq!(forged.signed_by(&pair.chain[0]), nlrun::x509::Verdict::Forged, "{issuer}");
    }
    forge.sign("odd", "leaf", "P-521", &Wish { digest: "-sha256", ..Wish::server("leaf") });
    let pair = pair(&forge.join(&["odd.pem", "P-521.pem"]));
    assert_eq!(kinds(&found(&pair, &[])), ["unchecked", "root"]);
}

#[test]
fn a_store_of_authorities_is_read_and_is_no_chain() {
    let forge = Forge::chain();
    let many = forge.read("root.pem").repeat(33);
    let bundle = Bundle::read(many.as_bytes()).unwrap();
    assert_eq!(bundle.certificates.len(), 33);
    assert_eq!(Pair::of(bundle, None).unwrap_err(), Error::NotAChain { count: 33, most: 32 });
    let key_only = Bundle::read(forge.read("leaf.key").as_bytes()).unwrap();
    assert_eq!(Pair::of(key_only, None).unwrap_err(), Error::NoCertificate);
}

#[test]
fn a_certificate_without_an_end_is_read() {
    let forge = Forge::new();
    forge.key("device", "P-256");
    // The last day of the calendar, which no instant reaches.
    let (now, last) = (nlrun::world::clock::now(), jiff::civil::date(9999, 12, 31));
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let days = i64::from(today.until(last).unwrap().get_days());
    forge.sign("device", "device", "device", &Wish { days, ..Wish::server("device") });
    let pair = pair(&forge.read("device.pem"));
    assert_eq!(pair.leaf.not_after.as_second(), Timestamp::MAX.as_second());
    assert_eq!(kinds(&found(&pair, &[])), ["self_signed"]);
}

#[test]
fn damage_anywhere_is_an_error_or_another_certificate() {
    let forge = Forge::chain();
    let plain = pair(&forge.join(&["leaf.pem", "middle.pem"]));
    let private = forge.openssl("pkey -in leaf.key -outform DER");
    // Where what is signed ends: behind two headers of four bytes, the second of which says how long it is.
    let signed = 8 + usize::from(u16::from_be_bytes([plain.leaf.der[6], plain.leaf.der[7]]));
    for der in [&plain.leaf.der, &private] {
        for place in 0..der.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut damaged = der.clone();
                damaged[place] ^= change;
                let Ok(bundle) = Bundle::read(&damaged) else { continue };
                assert!(bundle.certificates.iter().all(|one| one.fingerprint != plain.leaf.fingerprint));
                if let Ok(pair) = Pair::of(bundle, None) {
                    let pair = Pair { chain: plain.chain.clone(), ..pair };
                    let is_signed = pair.leaf.signed_by(&pair.chain[0]) == nlrun::x509::Verdict::Genuine;
                    assert!(!is_signed || place >= signed, "{place}");
                    found(&pair, &["www.example.com"]);
                }
            }
            assert!(Bundle::read(&der[..place]).is_err(), "cut at {place}");
        }
    }
}
