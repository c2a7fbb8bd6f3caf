//! Unified diffs of texts, and words for what cannot be shown as one.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use similar::TextDiff;

/// The most changed lines on one side for which a diff is computed: the work grows with the square of it.
const MOST_LINES: usize = 4_000;

/// The most bytes on one side for which a diff is computed.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Returns a unified diff as `diff -u` writes it, with `context` lines around each change; empty when nothing differs.
///
/// Texts whose difference is too large to show are described by their numbers of lines.
pub fn unified(old: &str, new: &str, old_label: &str, new_label: &str, context: usize) -> String {
    if old == new {
        return String::new();
    }
    let before: Vec<&str> = old.split_inclusive('\n').collect();
    let after: Vec<&str> = new.split_inclusive('\n').collect();
    let same_first = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let same_last = before[same_first..]
        .iter()
        .rev()
        .zip(after[same_first..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let changed = before.len().max(after.len()) - same_first - same_last;
    if changed > MOST_LINES || old.len().max(new.len()) > MOST_BYTES {
        return format!(
            "--- {old_label}\n+++ {new_label}\ntoo large to show: {} → {} lines\n",
            before.len(),
            after.len()
        );
    }
    TextDiff::configure()
        .newline_terminated(true)
        .diff_slices(&before, &after)
        .unified_diff()
        .context_radius(context)
        .header(old_label, new_label)
        .missing_newline_hint(true)
        .to_string()
}

/// Returns the difference of two contents, of which either may not exist; empty when nothing differs.
///
/// Text is shown as by [`unified`], anything else by size and SHA-256.
pub fn bytes(
    old: Option<&[u8]>,
    new: Option<&[u8]>,
    old_label: &str,
    new_label: &str,
    context: usize,
) -> String {
    if old == new {
        return String::new();
    }
    let old_label = if old.is_some() { old_label } else { "/dev/null" };
    let new_label = if new.is_some() { new_label } else { "/dev/null" };
    let header = format!("--- {old_label}\n+++ {new_label}\n");
    match (text(old), text(new)) {
        // An empty file that appears or vanishes has no lines to show.
        (Some(""), Some("")) => header,
        (Some(old), Some(new)) => unified(old, new, old_label, new_label, context),
        _ => format!("{header}binary: {} → {}\n", description(old), description(new)),
    }
}

fn text(content: Option<&[u8]>) -> Option<&str> {
    let content = content.unwrap_or_default();
    std::str::from_utf8(content).ok().filter(|text| !text.contains('\0'))
}

fn description(content: Option<&[u8]>) -> String {
    let Some(content) = content else {
        return "absent".to_owned();
    };
    let mut out = format!("{} bytes, sha256 ", content.len());
    for byte in Sha256::digest(content) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shown_as_diff_u_shows_them() {
        for (old, new, shown) in [
            ("a\nb\n", "a\nb\n", ""),
            ("a\nb\nc\nd\n", "a\nb\nx\nd\n", "--- o\n+++ n\n@@ -2,3 +2,3 @@\n b\n-c\n+x\n d\n"),
            ("", "a\n", "--- o\n+++ n\n@@ -0,0 +1 @@\n+a\n"),
            ("a\n", "", "--- o\n+++ n\n@@ -1 +0,0 @@\n-a\n"),
            ("a\nb", "a\nb\n", "--- o\n+++ n\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n"),
            ("a\n", "a\nb", "--- o\n+++ n\n@@ -1 +1,2 @@\n a\n+b\n\\ No newline at end of file\n"),
            ("a\r\n", "a\n", "--- o\n+++ n\n@@ -1 +1 @@\n-a\r\n+a\n"),
        ] {
            assert_eq!(unified(old, new, "o", "n", 1), shown, "{old:?} {new:?}");
        }
    }

    #[test]
    fn a_small_change_in_a_long_text_is_shown_and_a_large_one_described() {
        let lines = |prefix: &str, count: usize| -> String {
            (0..count).map(|n| format!("{prefix}{n}\n")).collect::<Vec<_>>().concat()
        };
        let long = lines("x", 50_000);
        let diff = unified(&long, &long.replace("x25000\n", "y\n"), "o", "n", 0);
        assert_eq!(diff, "--- o\n+++ n\n@@ -25001 +25001 @@\n-x25000\n+y\n");
        assert_eq!(
            unified(&long, &lines("y", 40_000), "o", "n", 3),
            "--- o\n+++ n\ntoo large to show: 50000 → 40000 lines\n"
        );
    }

    #[test]
    fn the_largest_diff_that_is_shown_keeps_every_line() {
        let lines =
            |prefix: &str| (0..MOST_LINES).map(|n| format!("{prefix}{n}\n")).collect::<Vec<_>>().concat();
        assert_eq!(unified(&lines("x"), &lines("y"), "o", "n", 3).lines().count(), 3 + 2 * MOST_LINES);
    }

    #[test]
    fn contents_that_are_no_text_are_described() {
        let empty = "0 bytes, sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let zero = "1 bytes, sha256 6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        for (old, new, shown) in [
            (None, None, String::new()),
            (Some(&b"\0"[..]), Some(&b"\0"[..]), String::new()),
            (None, Some(&b""[..]), "--- /dev/null\n+++ n\n".to_owned()),
            (None, Some(&b"a\n"[..]), "--- /dev/null\n+++ n\n@@ -0,0 +1 @@\n+a\n".to_owned()),
            (Some(&b"a\n"[..]), None, "--- o\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n".to_owned()),
            (Some(&b""[..]), Some(&b"\0"[..]), format!("--- o\n+++ n\nbinary: {empty} → {zero}\n")),
            (Some(&b"\0"[..]), None, format!("--- o\n+++ /dev/null\nbinary: {zero} → absent\n")),
        ] {
            assert_eq!(bytes(old, new, "o", "n", 3), shown);
        }
    }
}
