//! Writing certificates and their key in the order that a server wants.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::x509::{Certificate, Error, Pair};

/// Characters of a line of base64 (RFC 7468, section 2).
const WIDTH: usize = 64;

/// One part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The server's own certificate.
    Leaf,
    /// Those between it and the root, from the leaf upwards.
    Chain,
    /// The root, which clients have themselves.
    Root,
    /// The private key.
    Key,
}

/// The order of a file: `leaf+chain` for nginx and Apache, `leaf+chain+key` for HAProxy, `key+leaf+chain` for Postfix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order(Vec<Part>);

impl FromStr for Order {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Order(text.chars().take(60).collect());
        let mut parts = Vec::new();
        for word in text.split('+') {
            let part = match word.trim() {
                "leaf" => Part::Leaf,
                "chain" => Part::Chain,
                "root" => Part::Root,
                "key" => Part::Key,
                _ => return Err(wrong()),
            };
            if parts.contains(&part) {
                return Err(wrong());
            }
            parts.push(part);
        }
        Ok(Self(parts))
    }
}

impl Order {
    /// Whether the private key is part of the file.
    pub fn has_key(&self) -> bool {
        self.0.contains(&Part::Key)
    }

    /// Writes a pair as PEM (RFC 7468): lines of 64 characters that end in LF, nothing between the sections.
    ///
    /// The key keeps the form in which it was read. A key that is not the leaf's is refused, even where it would not be written.
    pub fn write(&self, pair: &Pair) -> Result<Zeroizing<String>, Error> {
        pair.demand_match()?;
        let mut text = Zeroizing::new(String::new());
        let mut add = |label: &str, der: &[u8]| {
            let section = section(label, der);
            let mut longer = Zeroizing::new(String::with_capacity(text.len() + section.len()));
            longer.push_str(&text);
            longer.push_str(&section);
            // What is left behind is wiped, which a text that grew would not be.
            std::mem::swap(&mut *text, &mut *longer);
        };
        let certificate = |certificate: &Certificate| ("CERTIFICATE", certificate.der.clone());
        for part in &self.0 {
            match part {
                Part::Leaf => add("CERTIFICATE", &pair.leaf.der),
                Part::Chain => {
                    for (label, der) in pair.intermediates().iter().map(certificate) {
                        add(label, &der);
                    }
                }
                Part::Root => add("CERTIFICATE", &pair.root().ok_or(Error::NoRoot)?.der),
                Part::Key => {
                    let key = pair.key.as_ref().ok_or(Error::NoKey)?;
                    add(key.label(), key.expose());
                }
            }
        }
        Ok(text)
    }
}

/// Writes one certificate as PEM, whatever it holds.
pub fn pem(der: &[u8]) -> String {
    section("CERTIFICATE", der).to_string()
}

fn section(label: &str, der: &[u8]) -> Zeroizing<String> {
    let mut base64 = Zeroizing::new(String::with_capacity(der.len().div_ceil(3) * 4));
    STANDARD.encode_string(der, &mut base64);
    let size = base64.len() + base64.len() / WIDTH + 2 * label.len() + 40;
    let mut text = Zeroizing::new(String::with_capacity(size));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(WIDTH));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_each_part_once() {
        for good in ["leaf", "leaf+chain", "key + leaf + chain", "leaf+chain+root+key"] {
            assert_eq!(good.parse::<Order>().unwrap().has_key(), good.contains("key"), "{good}");
        }
        for bad in ["", "leaf+", "leaf+leaf", "cert", "leaf,chain", "Leaf"] {
            assert!(matches!(bad.parse::<Order>(), Err(Error::Order(_))), "{bad}");
        }
    }

    #[test]
    fn lines_have_sixty_four_characters() {
        for size in [0, 1, 47, 48, 49, 96, 1000] {
            let text = section("X", &vec![7; size]);
            let lines: Vec<&str> = text.lines().collect();
            let (body, ends) = (&lines[1..lines.len() - 1], [lines[0], lines[lines.len() - 1]]);
            assert_eq!(ends, ["-----BEGIN X-----", "-----END X-----"]);
            assert!(body.iter().rev().skip(1).all(|line| line.len() == WIDTH), "{size}");
            assert_eq!(STANDARD.decode(body.concat()).unwrap(), vec![7; size], "{size}");
        }
    }
}
