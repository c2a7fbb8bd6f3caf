//! `nlrun check`: walks the whole call graph of a runbook before anything runs.
