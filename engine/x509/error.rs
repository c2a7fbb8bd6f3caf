//! Why text is no certificate; no variant carries a part of what was read, because that may be a private key.

/// Why certificates or keys cannot be read, put together or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was given.
    #[error("there is nothing in it; a certificate was expected, as PEM or DER")]
    Empty,
    /// More than is read.
    #[error("it has {bytes} bytes; certificates are read up to {most}")]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// How many are read.
        most: usize,
    },
    /// Neither PEM nor DER.
    #[error("it holds neither a certificate nor a private key, as PEM or DER")]
    Nothing,
    /// PEM, but nothing of use.
    #[error("it holds no certificate and no private key, only `{0}`")]
    Foreign(String),
    /// A section does not end.
    #[error("line {line}: `BEGIN {label}` has no `END {label}`")]
    NoEnd {
        /// What it is.
        label: String,
        /// Where it begins, from 1.
        line: usize,
    },
    /// A section cannot be decoded.
    #[error("line {line}: what `BEGIN {label}` begins is damaged: it is not base64")]
    Base64 {
        /// What it is.
        label: String,
        /// Where it begins, from 1.
        line: usize,
    },
    /// A section is base64, and not what its label says.
    #[error("{place}the {what} is damaged or cut short")]
    Damaged {
        /// `line 7: `, or nothing for DER.
        place: String,
        /// What it should be.
        what: &'static str,
    },
    /// The key needs a passphrase.
    #[error("{place}the private key is encrypted; decrypt it first, and keep it as a secret")]
    Encrypted {
        /// `line 7: `, or nothing for DER.
        place: String,
    },
    /// A key of a kind that is not known.
    #[error(
        "{place}a private key of this kind (`{kind}`) is not understood; RSA, P-256, P-384, P-521 and Ed25519 are"
    )]
    KeyKind {
        /// `line 7: `, or nothing for DER.
        place: String,
        /// An object identifier, or a label.
        kind: String,
    },
    /// A certificate was needed.
    #[error("it holds no certificate")]
    NoCertificate,
    /// A private key was needed.
    #[error("it holds no private key")]
    NoKey,
    /// One private key was needed.
    #[error("it holds {0} private keys; one belongs to a certificate")]
    ManyKeys(usize),
    /// More certificates than a chain has.
    #[error(
        "it holds {count} certificates; a chain has at most {most}, so this is a store of trusted certificates"
    )]
    NotAChain {
        /// How many there are.
        count: usize,
        /// How many are put in order.
        most: usize,
    },
    /// An order that cannot be understood.
    #[error(
        "`{0}` is not an order; write parts joined by `+`, each once: `leaf`, `chain`, `root`, `key` (such as `key+leaf+chain`)"
    )]
    Order(String),
    /// A root was asked for.
    #[error("the order asks for the root, and it is not there")]
    NoRoot,
    /// The key is not the certificate's.
    #[error("the private key ({key}) is not that of the certificate of `{subject}` ({certificate})")]
    Mismatch {
        /// What the key is.
        key: String,
        /// Whose certificate it is.
        subject: String,
        /// What key the certificate is for.
        certificate: String,
    },
}

impl Error {
    /// Says where it is, if it was found without a place.
    pub(super) fn at(self, line: usize) -> Self {
        let place = format!("line {line}: ");
        match self {
            Self::Damaged { what, .. } => Self::Damaged { place, what },
            Self::Encrypted { .. } => Self::Encrypted { place },
            Self::KeyKind { kind, .. } => Self::KeyKind { place, kind },
            other => other,
        }
    }
}
