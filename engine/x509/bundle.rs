//! What a file holds: certificates and private keys in any order, as PEM (RFC 7468) or as DER.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use zeroize::Zeroizing;

use crate::x509::{Certificate, Error, PrivateKey};

/// Bytes that are read: a store of all public authorities has a quarter of a MiB.
pub const MOST: usize = 4 << 20;
/// The labels of certificates in PEM (RFC 7468, sections 4 and 5.1).
const CERTIFICATE: [&str; 2] = ["CERTIFICATE", "X509 CERTIFICATE"];
/// How the first line of every private key in PEM ends.
const KEY: &[u8] = b"PRIVATE KEY-----";
/// Bytes of a label that errors repeat.
const LABEL: usize = 40;

/// Certificates and keys as they stand in a file.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    /// In the order of the file.
    pub certificates: Vec<Certificate>,
    /// In the order of the file.
    pub keys: Vec<PrivateKey>,
}

impl Bundle {
    /// Reads PEM or DER, also in base64 as a whole, as the secrets of Kubernetes have it.
    ///
    /// Text around the sections of PEM, such as the comments that `openssl` writes, is passed over, and so are sections that are
    /// neither certificates nor private keys. A section that is damaged is an error, never left out.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MOST {
            return Err(Error::TooLarge { bytes: bytes.len(), most: MOST });
        }
        if bytes.trim_ascii().is_empty() {
            return Err(Error::Empty);
        }
        let mut bundle = Self::default();
        let mut passed = Vec::new();
        let sections = sections(bytes)?;
        // A DER file begins with a SEQUENCE; PEM is ASCII and may have anything before it.
        if sections.is_empty() && bytes.first() == Some(&0x30) {
            return Self::der(bytes);
        }
        if let Some(inner) = sections.is_empty().then(|| unwrapped(bytes)).flatten() {
            return Self::read(&inner);
        }
        for section in sections {
            bundle.take(&section, &mut passed).map_err(|error| error.at(section.line))?;
        }
        match passed.first() {
            _ if !bundle.certificates.is_empty() || !bundle.keys.is_empty() => Ok(bundle),
            Some(label) => Err(Error::Foreign(label.clone())),
            None => Err(Error::Nothing),
        }
    }

    fn take(&mut self, section: &Section<'_>, passed: &mut Vec<String>) -> Result<(), Error> {
        match section.label.as_str() {
            label if CERTIFICATE.contains(&label) => {
                self.certificates.push(Certificate::read(&section.decode(SectionKind::Certificate)?)?);
            }
            "ENCRYPTED PRIVATE KEY" => return Err(Error::Encrypted { place: String::new() }),
            label if label.ends_with("PRIVATE KEY") && section.is_encrypted() => {
                return Err(Error::Encrypted { place: String::new() });
            }
            "PRIVATE KEY" => {
                self.keys.push(PrivateKey::pkcs8(section.decode(SectionKind::PrivateKey)?)?);
            }
            "RSA PRIVATE KEY" => {
                self.keys.push(PrivateKey::pkcs1(section.decode(SectionKind::RsaPrivateKey)?)?);
            }
            "EC PRIVATE KEY" => {
                self.keys.push(PrivateKey::sec1(section.decode(SectionKind::EcPrivateKey)?)?);
            }
            label if label.ends_with("PRIVATE KEY") => {
                return Err(Error::KeyKind { place: String::new(), kind: label.to_owned() });
            }
            label => passed.push(label.to_owned()),
        }
        Ok(())
    }

    fn der(bytes: &[u8]) -> Result<Self, Error> {
        if let Ok(certificate) = Certificate::read(bytes) {
            return Ok(Self { certificates: vec![certificate], keys: Vec::new() });
        }
        let key = |read: fn(Zeroizing<Vec<u8>>) -> Result<PrivateKey, Error>| read(bytes.to_vec().into());
        let mut error = Error::Nothing;
        for read in [PrivateKey::pkcs8, PrivateKey::pkcs1, PrivateKey::sec1] {
            match key(read) {
                Ok(key) => return Ok(Self { certificates: Vec::new(), keys: vec![key] }),
                // What was understood far enough to say what is wrong with it.
                Err(found @ (Error::Encrypted { .. } | Error::KeyKind { .. })) => error = found,
                Err(_) => {}
            }
        }
        Err(error)
    }

    /// Returns the only private key.
    pub fn key(mut self) -> Result<PrivateKey, Error> {
        match (self.keys.pop(), self.keys.len()) {
            (Some(key), 0) => Ok(key),
            (Some(_), others) => Err(Error::ManyKeys(others + 1)),
            (None, _) => Err(Error::NoKey),
        }
    }
}

/// One `-----BEGIN …` to its `-----END …`.
struct Section<'a> {
    label: String,
    /// The line of `BEGIN`, from 1.
    line: usize,
    /// What stands between, without blanks around.
    body: Vec<&'a [u8]>,
}

impl Section<'_> {
    /// Decodes the base64; for keys that takes the same time whatever they are.
    fn decode(&self, kind: SectionKind) -> Result<Zeroizing<Vec<u8>>, Error> {
        let name = match kind {
            SectionKind::Certificate => "CERTIFICATE",
            SectionKind::RsaPrivateKey => "RSA PRIVATE KEY",
            SectionKind::EcPrivateKey => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        let size = self.body.iter().map(|line| line.len() + 1).sum::<usize>() + 128;
        let mut pem = Zeroizing::new(Vec::with_capacity(size));
        pem.extend_from_slice(format!("-----BEGIN {name}-----\n").as_bytes());
        for line in &self.body {
            pem.extend_from_slice(line);
            pem.push(b'\n');
        }
        pem.extend_from_slice(format!("-----END {name}-----\n").as_bytes());
        // The cause would quote what was read.
        let base64 = |_| Error::Base64 { label: self.label.clone(), line: self.line };
        let (_, der) = <(SectionKind, Vec<u8>)>::from_pem_slice(&pem).map_err(base64)?;
        Ok(Zeroizing::new(der))
    }

    /// Whether it has the headers of an encrypted key (RFC 1421, 4.6.1.1), as `openssl rsa -aes128` writes them.
    fn is_encrypted(&self) -> bool {
        self.body.first().is_some_and(|line| line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED"))
    }
}

fn sections(bytes: &[u8]) -> Result<Vec<Section<'_>>, Error> {
    let mut sections = Vec::new();
    let mut open: Option<Section<'_>> = None;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        // A file of old Macs has CR alone; those of Windows have CRLF, and trimming takes their CR.
        for line in line.split(|byte| *byte == b'\r').map(<[u8]>::trim_ascii) {
            if let Some(label) = marker(line, b"-----BEGIN ") {
                if let Some(Section { label, line, .. }) = open {
                    return Err(Error::NoEnd { label, line });
                }
                open = Some(Section { label, line: index + 1, body: Vec::new() });
            } else if let Some(label) = marker(line, b"-----END ") {
                match open.take() {
                    Some(section) if section.label == label => sections.push(section),
                    Some(Section { label, line, .. }) => return Err(Error::NoEnd { label, line }),
                    None => {}
                }
            } else if let Some(section) = &mut open
                && !line.is_empty()
            {
                section.body.push(line);
            }
        }
    }
    match open {
        Some(Section { label, line, .. }) => Err(Error::NoEnd { label, line }),
        None => Ok(sections),
    }
}

/// Decodes what is PEM or DER in base64; nothing else that happens to be base64.
fn unwrapped(bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text: Zeroizing<Vec<u8>> =
        Zeroizing::new(bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect());
    let inner = Zeroizing::new(STANDARD.decode(&*text).ok()?);
    (inner.first() == Some(&0x30) || inner.starts_with(b"-----BEGIN ")).then_some(inner)
}

/// Returns the numbers of which the public halves of all private keys in a text consist: what certificates say of these keys.
pub fn public_halves(bytes: &[u8]) -> Vec<Vec<u8>> {
    let is_key = bytes.windows(KEY.len()).any(|part| part == KEY);
    let keys = if is_key { Bundle::read(bytes).map(|bundle| bundle.keys) } else { Ok(Vec::new()) };
    keys.unwrap_or_default().into_iter().map(|key| key.public().number().to_vec()).collect()
}

/// Returns what stands in a text beside its certificates, in pieces: certificates are public, and the rest may be secret.
///
/// Only what is a certificate counts as one: what else stands in a section of that name, or in one without an end, may be anything.
/// One that is DER, or base64 as a whole, has nothing beside it.
pub fn beside_certificates(bytes: &[u8]) -> Vec<&[u8]> {
    if bytes.first() == Some(&0x30) && is_certificate(bytes) {
        return Vec::new();
    }
    if let Some(inner) = unwrapped(bytes)
        && beside_certificates(&inner).is_empty()
    {
        return Vec::new();
    }
    let mut pieces = Vec::new();
    let (mut from, mut begin, mut at) = (0, None, 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii();
        if marker(text, b"-----BEGIN ").is_some_and(|label| CERTIFICATE.contains(&label.as_str())) {
            begin = Some(at);
        }
        at += line.len();
        if let Some(start) = begin
            && marker(text, b"-----END ").is_some()
        {
            begin = None;
            if is_section(&bytes[start..at]) {
                pieces.push(&bytes[from..start]);
                from = at;
            }
        }
    }
    pieces.push(&bytes[from..]);
    pieces.retain(|piece| !piece.trim_ascii().is_empty());
    pieces
}

/// Whether a section in PEM holds a certificate and nothing else.
fn is_section(pem: &[u8]) -> bool {
    let der = sections(pem).ok().and_then(|sections| sections.first()?.decode(SectionKind::Certificate).ok());
    der.is_some_and(|der| is_certificate(&der))
}

/// Whether bytes are a certificate from the first to the last.
fn is_certificate(der: &[u8]) -> bool {
    Certificate::read(der).is_ok_and(|certificate| certificate.der.len() == der.len())
}

/// Reads the label of a line that begins or ends a section.
fn marker(line: &[u8], begin: &[u8]) -> Option<String> {
    let label = line.strip_prefix(begin)?.strip_suffix(b"-----")?;
    let is_label = label.len() <= LABEL && label.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    is_label.then(|| String::from_utf8_lossy(label).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_told() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "there is nothing in it"),
            (b" \r\n\t\n", "there is nothing in it"),
            (b"hello", "neither a certificate nor a private key"),
            (&[0x30, 0x03, 1, 1], "neither a certificate nor a private key"),
            (&[0xff; 64], "neither a certificate nor a private key"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "line 1: `BEGIN CERTIFICATE` has no `END CERTIFICATE`"),
            (b"x\n-----BEGIN CERTIFICATE-----\nA*A\n-----END CERTIFICATE-----", "line 2: what `BEGIN CERT"),
            (
                b"\n\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
                "line 3: the private key is d",
            ),
            (
                b"-----BEGIN CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n",
                "line 1: `BEGIN CERTIFICATE` has",
            ),
            (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "only `X509 CRL`"),
            (
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "line 1: the private key is encrypted",
            ),
            (
                b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
                "of this kind (`OPENSSH PRIVATE KEY`)",
            ),
        ];
        for (bytes, expected) in cases {
            let error = Bundle::read(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} is not {expected}");
        }
    }

    #[test]
    fn base64_of_pem_is_read_and_that_of_something_else_is_not() {
        let base64 = |text: &str| STANDARD.encode(text);
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
        assert!(matches!(Bundle::read(base64(key).as_bytes()), Err(Error::KeyKind { .. })));
        assert_eq!(Bundle::read(base64("hello world").as_bytes()).unwrap_err(), Error::Nothing);
        assert_eq!(Bundle::read(base64(&base64(key)).as_bytes()).unwrap_err(), Error::Nothing);
    }

    #[test]
    fn a_mib_of_rubbish_is_no_certificate() {
        let mut seed = 7u32;
        let rubbish: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .take(1 << 20)
        .collect();
        assert_eq!(Bundle::read(&rubbish).unwrap_err(), Error::Nothing);
        assert!(matches!(Bundle::read(&vec![b'x'; MOST + 1]).unwrap_err(), Error::TooLarge { .. }));
    }

    #[test]
    fn what_stands_beside_certificates_is_left() {
        let pair = |name: &str| {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let ((one, key), (two, _)) = (pair("one.example.com"), pair("two.example.com"));
        let der =
            STANDARD.decode(one.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
        let cut = one.split("-----END").next().unwrap();
        let fake = "-----BEGIN CERTIFICATE-----\naHVudGVyMmh1bnRlcjI=\n-----END CERTIFICATE-----\n";
        let longer = crate::x509::pem(&[&der[..], b"hunter2"].concat());
        let cases: Vec<(Vec<u8>, Vec<&str>)> = vec![
            (one.clone().into(), vec![]),
            (format!("\n{one}{two}\r\n").into(), vec![]),
            (one.replace('\n', "\r\n").into(), vec![]),
            (der.clone(), vec![]),
            (STANDARD.encode(&der).into(), vec![]),
            (STANDARD.encode(format!("{one}{two}")).into(), vec![]),
            (format!("{one}{key}{two}").into(), vec![&key]),
            (format!("before\n{one}{key}").into(), vec!["before\n", &key]),
            (format!("{one} {two}hunter2").into(), vec!["hunter2"]),
            // What only looks like a certificate may be anything.
            (format!("{cut}{key}{two}").into(), vec![cut, &key]),
            (fake.into(), vec![fake]),
            (longer.clone().into(), vec![&longer]),
            (cut.into(), vec![cut]),
            ("hunter2".into(), vec!["hunter2"]),
            (Vec::new(), vec![]),
        ];
        for (bytes, expected) in cases {
            let found = beside_certificates(&bytes);
            let found: Vec<&str> = found.iter().map(|piece| std::str::from_utf8(piece).unwrap()).collect();
            assert_eq!(found.concat(), expected.concat(), "{}", String::from_utf8_lossy(&bytes));
        }
        for hidden in [[&der[..], b"x"].concat(), STANDARD.encode(format!("{one}{key}")).into()] {
            assert_eq!(beside_certificates(&hidden), [&hidden[..]]);
        }
    }

    #[test]
    fn an_error_shows_nothing_of_a_key() {
        let pem = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0c2VjcmV0*\n-----END PRIVATE KEY-----\n";
        let error = Bundle::read(pem.as_bytes()).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("c2Vj"), "{error:?}");
    }
}
