//! Tables that read well without colours, in a pipe and at 80 columns.

use comfy_table::{CellAlignment, Color, ContentArrangement, presets};

use crate::cli::diagnostic::safe;
use crate::cli::out::Out;
use crate::model::run::Status;

/// Rows below names of columns; nothing but spaces between them.
pub(crate) struct Table {
    table: comfy_table::Table,
    right: Vec<usize>,
}

/// One cell.
pub(crate) struct Cell(comfy_table::Cell);

impl Cell {
    /// Makes a plain cell; what a terminal must not see is written out.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self(comfy_table::Cell::new(safe(text.as_ref())))
    }

    /// Makes a cell for a number; zero is left empty, so that the others stand out.
    pub(crate) fn count(number: u64) -> Self {
        Self::new(if number == 0 { String::new() } else { number.to_string() })
    }

    fn tint(self, color: Color) -> Self {
        Self(self.0.fg(color))
    }

    /// Makes a cell for the status of a run.
    pub(crate) fn status(status: Status) -> Self {
        Self::new(status.to_string()).tint(match status {
            Status::Done => Color::DarkGreen,
            Status::Queued | Status::Running => Color::DarkCyan,
            Status::Partial | Status::Interrupted | Status::InDoubt => Color::DarkYellow,
            Status::Failed | Status::Stopped | Status::Cancelled | Status::TimedOut => Color::DarkRed,
        })
    }

    /// Makes a cell for what is as it should be.
    pub(crate) fn good(text: impl AsRef<str>) -> Self {
        Self::new(text).tint(Color::DarkGreen)
    }

    /// Makes a cell for what deserves a look.
    pub(crate) fn odd(text: impl AsRef<str>) -> Self {
        Self::new(text).tint(Color::DarkYellow)
    }

    /// Makes a cell for what is wrong.
    pub(crate) fn bad(text: impl AsRef<str>) -> Self {
        Self::new(text).tint(Color::DarkRed)
    }
}

impl Table {
    /// Begins a table with the names of its columns; `right` are the columns whose numbers stand at the right.
    pub(crate) fn new(out: &Out, heads: &[&str], right: &[usize]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_header(heads.iter().map(comfy_table::Cell::new));
        match out.width {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            }
            // A pipe has no width: whatever reads it wants whole lines.
            None => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        if out.data.is_on() {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        Self { table, right: right.to_vec() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.table.add_row(cells.into_iter().map(|cell| cell.0).collect::<Vec<_>>());
    }

    /// Writes it as lines, each ended.
    pub(crate) fn text(mut self) -> String {
        for (index, column) in self.table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if self.right.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.table.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }
}
