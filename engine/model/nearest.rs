//! Did you mean: the known word closest to a mistyped one.

/// Returns the candidate a person most likely meant, or `None` when all are too far away.
///
/// Near is an edit distance (Damerau–Levenshtein) of at most a third of the word, at least 1; a word that only
/// lacks its area (`exec` for `ssh_exec`) counts as near, too.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate == word {
            continue;
        }
        let mut distance = strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase());
        if word.len() >= 3 && candidate.split(['_', '-', '.', '/']).any(|part| part == word) {
            distance = distance.min(1);
        }
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Returns the hint that goes with [`nearest`].
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|near| format!("did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["ssh_exec", "ssh_read", "file_put", "each", "timeout"];
        let cases = [
            ("ssh_exce", Some("ssh_exec")),
            ("ssh_red", Some("ssh_read")),
            ("eahc", Some("each")),
            ("Timeout", Some("timeout")),
            ("exec", Some("ssh_exec")),
            ("kubernetes", None),
            ("x", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
