//! What a runbook can ask for: one file an area.
