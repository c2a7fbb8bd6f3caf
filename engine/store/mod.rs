//! The run log: SQLite, one writer, events as the only truth.
