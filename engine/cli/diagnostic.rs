//! Draws findings: the only place that shows source lines.

use std::fmt::Write;

use crate::model::diagnostic::{Diagnostic, Severity};

/// The widest part of a source line that is shown, in columns.
const WIDEST: usize = 120;
/// What a tab becomes.
const TAB: &str = "    ";

/// Draws one finding as several lines, each ended; colours only when asked.
pub fn render(found: &Diagnostic, colours: bool) -> String {
    let paint = |code: &str, text: &str| {
        if colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    };
    let (word, tone) = match found.severity {
        Severity::Error => ("error:", "1;31"),
        Severity::Warning => ("warning:", "1;33"),
    };
    let mut drawn = format!("{} {}\n", paint(tone, word), safe(&found.message));
    let number = found.line.to_string();
    let margin = " ".repeat(number.len());
    if found.line > 0 {
        let place = if found.column > 0 { format!(":{}", found.column) } else { String::new() };
        let place = format!("{}:{}{place}", safe(&found.file), found.line);
        let _ = writeln!(drawn, "{margin}{} {place}", paint("34", "——▶"));
    } else if !found.file.is_empty() {
        let _ = writeln!(drawn, " {} {}", paint("34", "——▶"), safe(&found.file));
    }
    if let Some(line) = found.source_line.as_deref().filter(|_| found.line > 0) {
        let bar = paint("34", "│");
        let (text, before, length) = excerpt(line, found.column, found.length);
        let _ = writeln!(drawn, "{margin} {bar}\n{} {bar} {text}", paint("34", &number));
        if found.column > 0 {
            let carets = paint(tone, &"^".repeat(length));
            let _ = writeln!(drawn, "{margin} {bar} {}{carets}", " ".repeat(before));
        }
    }
    for frame in &found.frames {
        let place = match (frame.line, frame.column) {
            (0, _) => safe(&frame.file),
            (line, 0) => format!("{}:{line}", safe(&frame.file)),
            (line, column) => format!("{}:{line}:{column}", safe(&frame.file)),
        };
        let _ = writeln!(drawn, "   in `{}`, called at {place}", safe(&frame.function));
    }
    if let Some(hint) = &found.hint {
        let _ = writeln!(drawn, "{} {}", paint("36", "hint:"), safe(hint));
    }
    drawn
}

/// Returns the shown part of a line, the columns before the mark and the mark's width.
fn excerpt(line: &str, column: usize, length: usize) -> (String, usize, usize) {
    let letters: Vec<String> = line.chars().map(shown).collect();
    let widths: Vec<usize> = letters.iter().map(|letter| letter.chars().map(width).sum()).collect();
    let begin = column.saturating_sub(1).min(letters.len());
    let end = (begin + length).min(letters.len()).max(begin);
    let total: usize = widths.iter().sum();
    let mut first = 0;
    if total > WIDEST {
        // Keeps the mark in view, with what stands just before it.
        let mut room = WIDEST / 3;
        first = begin;
        while first > 0 && widths[first - 1] <= room {
            first -= 1;
            room -= widths[first];
        }
    }
    let mut text = String::new();
    let mut used = 0;
    if first > 0 {
        text.push('…');
        used = 1;
    }
    let before = used + widths[first..begin].iter().sum::<usize>();
    let mut last = first;
    while last < letters.len() && used + widths[last] <= WIDEST {
        text.push_str(&letters[last]);
        used += widths[last];
        last += 1;
    }
    if last < letters.len() {
        text.push('…');
    }
    let marked = widths[begin..end.min(last).max(begin)].iter().sum::<usize>().max(1);
    (text.trim_end().to_owned(), before, marked)
}

/// Makes text harmless for a terminal: control characters and those that turn its direction are written out.
pub fn safe(text: &str) -> String {
    text.chars().map(shown).collect()
}

fn shown(letter: char) -> String {
    match letter {
        '\t' => TAB.to_owned(),
        '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => letter.escape_unicode().to_string(),
        letter if letter.is_control() => letter.escape_default().to_string(),
        letter => letter.to_string(),
    }
}

/// Returns how many columns a character takes: wide ones of East Asia and pictures 2, combining marks 0.
fn width(letter: char) -> usize {
    match u32::from(letter) {
        0x300..=0x36f
        | 0x483..=0x489
        | 0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x20d0..=0x20ff
        | 0xfe00..=0xfe0f
        | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xa960..=0xa97f
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::diagnostic::Frame;

    fn drawn(line: &str, column: usize, length: usize) -> String {
        let source = format!("{}{line}", "\n".repeat(13));
        let found = Diagnostic::error("x", "wrong").at("runbooks/patch.rhai", &source, 14, column, length);
        render(&found, false)
    }

    #[test]
    fn follows_the_house_form() {
        let source = "\n".repeat(13) + "ssh_exec(host, \"apt-get -y upgrade\");";
        let found = Diagnostic::error("denied", "runbook `patch` may not run `ssh.exec` on `edge-3`")
            .at("runbooks/patch.rhai", &source, 14, 1, 8)
            .hint("add \"ssh.exec:edge-3\" to NEEDS, or target a host it already covers");
        let expected = "\
error: runbook `patch` may not run `ssh.exec` on `edge-3`
  ——▶ runbooks/patch.rhai:14:1
   │
14 │ ssh_exec(host, \"apt-get -y upgrade\");
   │ ^^^^^^^^
hint: add \"ssh.exec:edge-3\" to NEEDS, or target a host it already covers
";
        assert_eq!(render(&found, false), expected);
        assert!(render(&found, true).contains("\u{1b}[1;31merror:\u{1b}[0m"));
    }

    #[test]
    fn marks_stand_under_what_they_mean() {
        let cases = [
            ("\tf(x);", 2, 1, "14 │     f(x);\n   │     ^\n"),
            ("é = 日本(x);", 5, 2, "14 │ é = 日本(x);\n   │     ^^^^\n"),
            ("f(", 3, 1, "14 │ f(\n   │   ^\n"),
            ("abc", 2, 99, "14 │ abc\n   │  ^^\n"),
        ];
        for (line, column, length, expected) in cases {
            let drawn = drawn(line, column, length);
            assert!(drawn.ends_with(expected), "{drawn}");
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let line = format!("{}wrong{}", "a".repeat(5000), "b".repeat(5000));
        let drawn = drawn(&line, 5001, 5);
        assert!(drawn.contains("wrong") && drawn.lines().all(|line| line.chars().count() < 130), "{drawn}");
        let lines: Vec<&str> = drawn.lines().collect();
        let at = |line: &str, what: &str| line.split(what).next().expect("a part").chars().count();
        assert_eq!(at(lines[3], "wrong"), at(lines[4], "^"));
    }

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        let mut found = Diagnostic::warning("x", "bad \u{1b}[2J \u{202e}").at(
            "a\u{7}.rhai",
            "x\u{1b}]0;evil\u{7}",
            1,
            2,
            1,
        );
        found.frames.push(Frame { file: "b.rhai".into(), line: 3, column: 4, function: "f\u{9b}".into() });
        found.hint = Some("\r".into());
        let drawn = render(&found, false);
        assert!(drawn.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{drawn:?}");
        assert!(drawn.contains("in `f\\u{9b}`, called at b.rhai:3:4"));
    }
}
