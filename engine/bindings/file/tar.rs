//! Writes the least of a tar archive (POSIX.1-1988 ustar, as every `tar` reads it): plain files with short names.

/// An archive in the making.
pub(super) struct Archive(Vec<u8>);

/// Archives are made of blocks of this many bytes.
const BLOCK: usize = 512;

impl Archive {
    /// Begins an archive that will hold about this many bytes.
    pub(super) fn new(size: usize) -> Self {
        Self(Vec::with_capacity(size + size / 8 + 4 * BLOCK))
    }

    /// Adds a file; its name has at most 100 bytes.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) {
        let mut header = [0u8; BLOCK];
        let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        field(0, name);
        field(100, "0000600\0");
        field(108, "0000000\0");
        field(116, "0000000\0");
        field(124, &format!("{:011o}\0", content.len()));
        field(136, "00000000000\0");
        // The checksum is taken with blanks in its own place.
        field(148, "        ");
        field(156, "0");
        field(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}
