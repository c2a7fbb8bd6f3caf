//! Passwords: kept as argon2id (RFC 9106), never compared in the clear.

use std::sync::LazyLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::IdentityError;

/// Memory of one hash in KiB, passes over it, and lanes (OWASP's least: 19 MiB, 2, 1).
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// The shortest password, in characters.
const SHORTEST: usize = 12;
/// The longest, in bytes: nobody makes the server read more.
const LONGEST: usize = 1024;

/// A hash that no password has: a name that nobody has takes as long as one that somebody has.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash(&random_text()).unwrap_or_default());

/// Makes the hash of a new password.
pub fn hash_new(password: &str) -> Result<String, IdentityError> {
    if password.chars().count() < SHORTEST {
        return Err(IdentityError::Weak { least: SHORTEST });
    }
    if password.len() > LONGEST {
        return Err(IdentityError::Long { most: LONGEST });
    }
    hash(password)
}

fn hash(password: &str) -> Result<String, IdentityError> {
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| IdentityError::Random)?;
    let hash = hasher().hash_password_with_salt(password.as_bytes(), &salt);
    Ok(hash.map_err(|_| IdentityError::Random)?.to_string())
}

/// Whether a password fits a hash; without a hash it takes as long, and fits never.
pub fn fits(password: &str, hash: Option<&str>) -> bool {
    let known = PasswordHash::new(hash.unwrap_or(&NOBODY));
    let is_short = password.len() <= LONGEST;
    let fits =
        known.is_ok_and(|known| is_short && hasher().verify_password(password.as_bytes(), &known).is_ok());
    fits && hash.is_some()
}

fn hasher() -> Argon2<'static> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).expect("the cost is within argon2's limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn random_text() -> String {
    let mut bytes = [0; 16];
    // Even all zeros would be the password of nobody.
    let _ = SystemRandom::new().fill(&mut bytes);
    base16ct::lower::encode_string(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_fits_its_hash() {
        let hash = hash_new("correct horse battery").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(fits("correct horse battery", Some(&hash)));
        assert!(!fits("correct horse batterx", Some(&hash)) && !fits("", Some(&hash)));
        assert!(!fits("correct horse battery", None) && !fits("x", Some("no hash")));
        assert_ne!(hash, hash_new("correct horse battery").unwrap(), "the salt is another one");
        assert!(matches!(hash_new("short"), Err(IdentityError::Weak { .. })));
        assert!(matches!(hash_new(&"x".repeat(2000)), Err(IdentityError::Long { .. })));
    }
}
