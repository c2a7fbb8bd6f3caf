//! A certificate with those that lead from it to its root, and its private key.

use crate::x509::{Bundle, Certificate, Error, PrivateKey, Verdict};

/// Certificates that are put in order; public chains have three or four.
const MOST: usize = 32;

/// A bundle that was put in order.
#[derive(Debug, Clone)]
pub struct Pair {
    /// What the server is known by.
    pub leaf: Certificate,
    /// From the leaf's issuer upwards; the last may be the root.
    pub chain: Vec<Certificate>,
    /// The private key, where there is one; whether it is the leaf's is for [`crate::x509::check`] to say.
    pub key: Option<PrivateKey>,
    /// What the certificates were like before they were put in order.
    pub was: Was,
}

/// What was found while putting certificates in order.
#[derive(Debug, Clone, Default)]
pub struct Was {
    /// Whether the leaf stood first.
    pub is_leaf_first: bool,
    /// Whether each of the chain stood behind the one that it signed.
    pub is_chain_sorted: bool,
    /// Names of certificates that stand there more than once.
    pub duplicates: Vec<String>,
    /// Certificates for a key of the chain that another issuer signed.
    pub crossed: Vec<Certificate>,
    /// Certificates that are no part of the chain.
    pub foreign: Vec<Certificate>,
    /// The issuer of the last certificate, if that is no root.
    pub missing: Option<String>,
    /// Names of certificates whose signature could not be checked, with its algorithm.
    pub unchecked: Vec<(String, String)>,
}

impl Pair {
    /// Puts a bundle in order; a key that is given takes the place of the bundle's own.
    ///
    /// The leaf is the certificate of the key, unless that is an authority's; without such a one, the first that signed no other, and
    /// no authority where there is a choice. Names alone make no chain: the signature must be that of the issuer's key.
    pub fn of(bundle: Bundle, key: Option<PrivateKey>) -> Result<Self, Error> {
        let Bundle { certificates, mut keys } = bundle;
        if certificates.len() > MOST {
            return Err(Error::NotAChain { count: certificates.len(), most: MOST });
        }
        let key = match key {
            Some(key) => Some(key),
            None if keys.len() > 1 => return Err(Error::ManyKeys(keys.len())),
            None => keys.pop(),
        };
        let mut was = Was::default();
        let mut pool: Vec<Certificate> = Vec::new();
        for certificate in certificates {
            if pool.iter().any(|other| other.der == certificate.der) {
                was.duplicates.push(certificate.words());
            } else {
                pool.push(certificate);
            }
        }
        let place = leaf(&pool, key.as_ref()).ok_or(Error::NoCertificate)?;
        was.is_leaf_first = place == 0;
        let mut path = vec![place];
        while let Some((next, verdict)) = issuer(&pool, &path) {
            let signed = &pool[path[path.len() - 1]];
            if verdict == Verdict::Unknown {
                was.unchecked.push((signed.words(), signed.algorithm.clone()));
            }
            path.push(next);
        }
        was.is_chain_sorted = path[1..].is_sorted();
        let last = &pool[path[path.len() - 1]];
        if !last.is_self_issued() {
            was.missing = Some(last.issuer.clone());
        }
        let mut rest: Vec<Option<Certificate>> = pool.into_iter().map(Some).collect();
        let mut ordered = path.iter().filter_map(|index| rest[*index].take());
        let leaf = ordered.next().ok_or(Error::NoCertificate)?;
        let chain: Vec<Certificate> = ordered.collect();
        (was.crossed, was.foreign) = rest.into_iter().flatten().partition(|other| {
            chain.iter().any(|own| own.raw_subject == other.raw_subject && own.key == other.key)
        });
        Ok(Self { leaf, chain, key, was })
    }

    /// Returns the root, if it is there.
    pub fn root(&self) -> Option<&Certificate> {
        self.chain.last().filter(|last| last.is_self_issued())
    }

    /// Returns the chain without the root: what a server sends after its own certificate (RFC 8446, 4.4.2).
    pub fn intermediates(&self) -> &[Certificate] {
        &self.chain[..self.chain.len() - usize::from(self.root().is_some())]
    }

    /// Demands that the key, if there is one, is the leaf's.
    pub fn demand_match(&self) -> Result<(), Error> {
        match &self.key {
            Some(key) if !self.leaf.has_key(key) => Err(Error::Mismatch {
                key: key.public().words(),
                subject: self.leaf.words(),
                certificate: self.leaf.key.words(),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

fn leaf(pool: &[Certificate], key: Option<&PrivateKey>) -> Option<usize> {
    let own = key.and_then(|key| pool.iter().position(|one| !one.is_ca && one.has_key(key)));
    own.or_else(|| {
        let signs = |certificate: &Certificate| {
            pool.iter().any(|other| {
                other.der != certificate.der
                    && other.raw_issuer == certificate.raw_subject
                    && other.raw_subject != certificate.raw_subject
                    && other.signed_by(certificate) != Verdict::Forged
            })
        };
        let ends: Vec<usize> = (0..pool.len()).filter(|index| !signs(&pool[*index])).collect();
        ends.iter()
            .find(|index| !pool[**index].is_ca)
            .or(ends.first())
            .copied()
            .or((!pool.is_empty()).then_some(0))
    })
}

/// Finds who signed the last certificate of the path.
///
/// Of several that have the same key, the one whose own issuer is there is taken before one that leads nowhere, and the first of
/// the file before others.
fn issuer(pool: &[Certificate], path: &[usize]) -> Option<(usize, Verdict)> {
    let last = &pool[path[path.len() - 1]];
    if last.is_self_issued() {
        return None;
    }
    let found: Vec<(usize, Verdict)> = (0..pool.len())
        .filter(|index| !path.contains(index) && pool[*index].raw_subject == last.raw_issuer)
        .map(|index| (index, last.signed_by(&pool[index])))
        .filter(|(_, verdict)| *verdict != Verdict::Forged)
        .collect();
    let leads_on = |index: usize| {
        let certificate = &pool[index];
        certificate.is_self_issued()
            || pool.iter().enumerate().any(|(other, above)| {
                other != index && !path.contains(&other) && above.raw_subject == certificate.raw_issuer
            })
    };
    found.iter().find(|(index, _)| leads_on(*index)).or(found.first()).copied()
}
