//! Starts, resumes, cancels and reads runs: what every face calls.
