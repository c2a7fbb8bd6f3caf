//! What bytes from a device look like on a screen: lines, with what was wiped away and written over gone.

/// The longest line that is kept; what no terminal shows is no line of a configuration.
const LONGEST: usize = 64 << 10;
/// The most that is kept of one answer.
const MOST: usize = 64 << 20;

/// Lines that are whole, and one that is not yet.
#[derive(Debug, Default)]
pub(super) struct Screen {
    whole: Vec<Vec<u8>>,
    line: Vec<u8>,
    cursor: usize,
    escape: Escape,
    kept: usize,
}

/// Where in a control sequence the screen is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    Inside,
}

impl Screen {
    /// Shows bytes.
    pub(super) fn show(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match (self.escape, byte) {
                (Escape::None, 0x1b) => self.escape = Escape::Begun,
                (Escape::Begun, b'[') => self.escape = Escape::Inside,
                (Escape::Begun, _) | (Escape::Inside, 0x40..=0x7e) => self.escape = Escape::None,
                (Escape::Inside, _) => {}
                (Escape::None, byte) => self.put(byte),
            }
        }
    }

    fn put(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                let mut line = std::mem::take(&mut self.line);
                self.cursor = 0;
                line.truncate(line.trim_ascii_end().len());
                self.kept += line.len() + 1;
                if self.kept <= MOST {
                    self.whole.push(line);
                }
            }
            b'\r' => self.cursor = 0,
            8 => self.cursor = self.cursor.saturating_sub(1),
            // The end of a banner is printed so by some.
            3 => {
                for byte in *b"^C" {
                    self.write(byte);
                }
            }
            b'\t' => self.write(b'\t'),
            0..=31 | 127 => {}
            byte => self.write(byte),
        }
    }

    fn write(&mut self, byte: u8) {
        if let Some(place) = self.line.get_mut(self.cursor) {
            *place = byte;
        } else if self.line.len() < LONGEST {
            self.line.push(byte);
        } else {
            return;
        }
        self.cursor += 1;
    }

    /// Returns the lines that are whole.
    pub(super) fn whole(&self) -> impl DoubleEndedIterator<Item = String> {
        self.whole.iter().map(|line| text(line))
    }

    /// Returns the line that is not whole, without blanks at its end.
    pub(super) fn last(&self) -> String {
        text(self.line.trim_ascii_end())
    }

    /// Whether more came than can be kept.
    pub(super) fn is_full(&self) -> bool {
        self.kept > MOST
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self { escape: self.escape, ..Self::default() };
    }

    /// Forgets the line that is not whole, such as a page's end that will be wiped away.
    pub(super) fn clear_last(&mut self) {
        self.line.clear();
        self.cursor = 0;
    }
}

/// Old devices print Latin-1 in descriptions.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wiped_away_is_gone() {
        for (bytes, whole, last) in [
            (&b"a\r\nb\r\r\nc"[..], vec!["a", "b"], "c"),
            (b" --More-- \x08\x08\x08\x08\x08\x08\x08\x08\x08\x08          \x08\x08\x08\x08\x08\x08\x08\x08\x08\x08interface x\r\n", vec!["interface x"], ""),
            (b"<--- More --->\r              \rhostname a\r\n", vec!["hostname a"], ""),
            (b"\x1b[2J\x1b[0mfw01# ", vec![], "fw01#"),
            (b"caf\xe9\r\n", vec!["caf\u{e9}"], ""),
            (b"banner motd \x03hi\x03\r\n", vec!["banner motd ^Chi^C"], ""),
        ] {
            let mut screen = Screen::default();
            // A byte at a time: where a packet ends says nothing.
            for byte in bytes {
                screen.show(&[*byte]);
            }
            assert_eq!((screen.whole().collect::<Vec<_>>(), screen.last().as_str()), (whole.into_iter().map(str::to_owned).collect(), last));
        }
    }
}
