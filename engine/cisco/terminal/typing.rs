//! How commands are typed: most as they stand, a banner line by line between marks of our own.

use super::super::plan::Command;

/// What may mark the end of a banner; whatever its text does not hold.
const MARKS: [char; 8] = ['~', '#', '@', '%', '|', '+', '=', '$'];

/// Returns the lines that a command is typed in.
///
/// A device prints a banner between `^C`, which stands for one character that cannot be typed so.
pub fn typed(command: &Command) -> Result<Vec<String>, String> {
    let Some(body) = &command.body else { return Ok(vec![command.text.clone()]) };
    let shown = super::super::secrets::without_secret(&command.text);
    if !command.text.starts_with("banner ") {
        return Err(format!("`{shown}` comes with a text that cannot be typed; enter it by hand"));
    }
    let text = body.trim();
    let mark = if text.starts_with("^C") { "^C" } else { text.get(..1).unwrap_or_default() };
    let text = text.strip_prefix(mark).unwrap_or(text);
    let text = text.strip_suffix(mark).unwrap_or(text);
    let end = MARKS.iter().find(|mark| !text.contains(**mark));
    let end = end.ok_or_else(|| format!("`{shown}` holds every character that could mark its end"))?;
    let whole = format!("{} {end}{text}{end}", command.text);
    Ok(whole.split('\n').map(|line| line.trim_end_matches('\r').to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banner_is_typed_between_marks_that_it_does_not_hold() {
        let command = |text: &str, body: Option<&str>| Command {
            depth: 0,
            text: text.to_owned(),
            body: body.map(str::to_owned),
        };
        for (text, body, lines) in [
            ("hostname a", None, &["hostname a"][..]),
            ("banner motd", Some(" ^Chello^C"), &["banner motd ~hello~"]),
            ("banner login", Some(" ^C\nno ~ entry\n\n^C"), &["banner login #", "no ~ entry", "", "#"]),
            ("banner motd", Some(" #one\r\ntwo#"), &["banner motd ~one", "two~"]),
        ] {
            assert_eq!(typed(&command(text, body)).unwrap(), lines, "{text}");
        }
        assert!(typed(&command("certificate ca 01", Some("\n AAAA\n quit"))).is_err());
        assert!(typed(&command("banner motd", Some(" ^C~#@%|+=$^C"))).is_err());
    }
}
