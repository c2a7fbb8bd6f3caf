//! Exact quoting for a POSIX shell (POSIX.1-2017, Shell Command Language, 2.2).

/// Quotes one word so that every POSIX shell reads it back byte for byte.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Quotes every word and joins them with blanks.
pub(super) fn quote_all(words: &[String]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_a_shell_would_read_more_into_them() {
        let table = [
            ("", "''"),
            ("plain", "plain"),
            ("/usr/bin/a-b_c.d", "/usr/bin/a-b_c.d"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("a\nb", "'a\nb'"),
            ("~root", "'~root'"),
            ("A=b", "'A=b'"),
            ("*", "'*'"),
            ("ä", "'ä'"),
        ];
        for (word, expected) in table {
            assert_eq!(quote(word), expected);
        }
    }
}
