//! Unified diffs of texts, and words for what cannot be shown as one.
