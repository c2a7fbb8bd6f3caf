//! The moving line at the bottom of a terminal.

use std::fmt::Write as _;
use std::io::{Result, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use parking_lot::Mutex;
use rustix::termios::tcgetwinsize;

/// How often the line is drawn in a second, at most.
const RATE: u8 = 20;

/// Prepares a line that is not seen yet.
pub(crate) fn hidden() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

/// Shows a line, which moves until it is cleared; not on a terminal that has no way back.
pub(crate) fn show(bar: &ProgressBar) {
    if bar.is_hidden() && !ProgressBar::new_spinner().is_hidden() {
        bar.set_draw_target(ProgressDrawTarget::term_like_with_hz(Box::new(Bottom::default()), RATE));
        bar.enable_steady_tick(Duration::from_millis(120));
    }
}

/// Standard error as a terminal whose cursor waits at the beginning of the moving line.
///
/// indicatif would leave it behind the last column, from where the `^C` of a terminal that shows what is typed goes to
/// the next line: the moving line would then be looked for there, and the one above it would stand still for ever.
#[derive(Debug, Default)]
struct Bottom {
    drawn: Mutex<String>,
}

impl Bottom {
    fn size() -> (u16, u16) {
        let size = tcgetwinsize(std::io::stderr()).map_or((0, 0), |size| (size.ws_row, size.ws_col));
        (if size.0 == 0 { 24 } else { size.0 }, if size.1 == 0 { 80 } else { size.1 })
    }

    fn add(&self, text: &str) {
        self.drawn.lock().push_str(text);
    }

    fn move_by(&self, count: usize, direction: char) {
        if count > 0 {
            let _ = write!(self.drawn.lock(), "\u{1b}[{count}{direction}");
        }
    }
}

impl TermLike for Bottom {
    fn width(&self) -> u16 {
        // On some terminals a full line is followed by the next one at once.
        Self::size().1.saturating_sub(1).max(1)
    }

    fn height(&self) -> u16 {
        Self::size().0
    }

    fn move_cursor_up(&self, count: usize) -> Result<()> {
        self.move_by(count, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, count: usize) -> Result<()> {
        self.move_by(count, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, count: usize) -> Result<()> {
        self.move_by(count, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, count: usize) -> Result<()> {
        self.move_by(count, 'D');
        Ok(())
    }

    fn write_line(&self, text: &str) -> Result<()> {
        self.add(text);
        self.add("\n");
        Ok(())
    }

    fn write_str(&self, text: &str) -> Result<()> {
        self.add(text);
        Ok(())
    }

    fn clear_line(&self) -> Result<()> {
        self.add("\r\u{1b}[2K");
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        let drawn = std::mem::take(&mut *self.drawn.lock());
        // In one write, between what a person types; what stands in the line by then is written over.
        std::io::stderr().lock().write_all(format!("\r{drawn}\r").as_bytes())
    }
}
