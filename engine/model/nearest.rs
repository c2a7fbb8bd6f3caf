//! The known name a wrong one was probably meant to be.

/// Returns the known name closest to `wrong`, when it is close enough to be a slip of the fingers.
///
/// Close means at most one edit (insert, delete, replace, swap) for each three characters, and at least one allowed.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (wrong.chars().count() / 3).max(1);
    let lower = wrong.to_lowercase();
    known
        .into_iter()
        .filter(|name| *name != wrong)
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(edits, _)| *edits <= allowed)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn suggests_slips_and_nothing_else() {
        let known = ["address", "port", "user", "edge-1", "edge-2"];
        for (wrong, expected) in [
            ("adress", Some("address")),
            ("prot", Some("port")),
            ("Port", Some("port")),
            ("edge1", Some("edge-1")),
            ("edge-3", Some("edge-1")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, known), expected, "{wrong}");
        }
    }
}
