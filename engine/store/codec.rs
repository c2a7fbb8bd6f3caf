//! Compression of output, artifacts and pinned texts.

use std::borrow::Cow;
use std::cell::RefCell;

use sha2::{Digest, Sha256};

/// Level 1 keeps up with a fast SSH stream on one core; higher levels gain little on log text.
const LEVEL: i32 = 1;
/// Below this many bytes a frame costs more than it saves.
const SMALL: usize = 256;

/// Bytes as they are stored.
#[derive(Debug, Clone)]
pub struct Packed {
    /// 0 as they are, 1 zstd.
    pub codec: i64,
    /// Length before compression.
    pub length: usize,
    /// The stored bytes.
    pub data: Vec<u8>,
}

thread_local! {
    // A compressor's tables are a few hundred kilobytes: one a thread that really compresses.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses when it pays.
pub fn pack(bytes: &[u8]) -> Packed {
    let plain = || Packed { codec: 0, length: bytes.len(), data: bytes.to_vec() };
    if bytes.len() < SMALL {
        return plain();
    }
    let compressed = COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        slot.as_mut().and_then(|compressor| compressor.compress(bytes).ok())
    });
    match compressed {
        Some(data) if data.len() < bytes.len() => Packed { codec: 1, length: bytes.len(), data },
        Some(_) | None => plain(),
    }
}

/// Gives the bytes back; `None` when they are damaged.
pub fn unpack(codec: i64, length: usize, data: &[u8]) -> Option<Cow<'_, [u8]>> {
    match codec {
        0 => (data.len() == length).then_some(Cow::Borrowed(data)),
        1 => {
            let bytes = zstd::bulk::decompress(data, length).ok()?;
            (bytes.len() == length).then_some(Cow::Owned(bytes))
        }
        _ => None,
    }
}

/// Returns the SHA-256 of the bytes in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks() {
        for bytes in
            [Vec::new(), b"short".to_vec(), vec![b'a'; 100_000], (0..=255).cycle().take(5000).collect()]
        {
            let packed = pack(&bytes);
            assert_eq!(unpack(packed.codec, packed.length, &packed.data).as_deref(), Some(bytes.as_slice()));
        }
        assert!(pack(&vec![b'a'; 100_000]).data.len() < 1000);
        assert_eq!(unpack(1, 10, b"garbage"), None);
    }
}
