//! Why a text is no cron entry, and where.

use jiff::civil::Date;

use super::field::Field;

/// Why a text is no cron entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", field.map(|field| format!("{field}: ")).unwrap_or_default())]
pub struct CronError {
    /// The field, when one of them is wrong.
    pub field: Option<Field>,
    /// Where in the text, in characters from 1.
    pub column: usize,
    /// How many characters are wrong, at least 1.
    pub length: usize,
    /// One sentence, without field and place.
    pub message: String,
    /// What to do, when that can be told.
    pub hint: Option<String>,
}

impl CronError {
    /// An error about a whole entry.
    pub(super) fn whole(text: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            field: None,
            column: 1,
            length: text.chars().count().max(1),
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// An entry without a day.
    pub(super) fn never(text: &str) -> Self {
        Self::whole(
            text,
            format!("`{}` never fires: no month has such a day", text.trim()),
            "the last day of a month is `L`",
        )
    }

    /// An entry with too long a silence.
    pub(super) fn silent(text: &str, from: Date, to: Date) -> Self {
        let message = format!("`{}` is silent for more than 8 years, as from {from} to {to}", text.trim());
        Self::whole(text, message, "write `at:` with the instants that are meant")
    }
}
