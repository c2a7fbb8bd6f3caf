//! `--dotenv`: what later jobs of a pipeline get to know of a run, as GitLab reads it (`artifacts:reports:dotenv`).
//!
//! GitLab refuses a whole file for one line that it does not like, late and without a word in the log: what does not fit is left
//! out here, and said.

use std::path::Path;

use serde_json::Value;

use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::model::run::Summary;
use crate::service::Finished;
use crate::store::Store;

/// The most bytes of a file that GitLab takes.
const BYTES: usize = 5 * 1024;
/// The most variables, unless the server's keeper allows more.
const MOST: usize = 20;

/// Writes the file, when one is wanted, of a run of this machine.
pub(crate) fn write(
    context: &Context,
    store: &Store,
    path: Option<&Path>,
    finished: &Finished,
) -> Result<(), Problem> {
    let Some(path) = path else { return Ok(()) };
    tell(context, path, finished, &store.reader()?.run(finished.run)?.summary)
}

/// Writes the file, of what is known of a run.
pub(crate) fn tell(
    context: &Context,
    path: &Path,
    finished: &Finished,
    summary: &Summary,
) -> Result<(), Problem> {
    let status = finished.ending.status;
    let own = [
        ("NLRUN_RUN", finished.run.to_string()),
        ("NLRUN_STATUS", status.as_str().to_owned()),
        ("NLRUN_EXIT_CODE", status.exit_code().to_string()),
        ("NLRUN_CHANGES", summary.counts.changed.to_string()),
        ("NLRUN_INCOMPLETE", summary.incomplete.is_some().to_string()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let (text, left_out) = text(own, &summary.result);
    for why in left_out {
        context.out.word(&format!("{}: {}: {why}", context.out.words.yellow("warning"), path.display()));
    }
    crate::world::files::replace(&context.place.cwd.join(path), text.as_bytes(), 0o644)
        .map_err(|error| Problem::Other(format!("cannot write `{}`: {error}", path.display())))
}

/// Returns the lines, and what was left out of them: of the script's result, what is a text, a number or a truth value.
fn text(own: Vec<(String, String)>, result: &Value) -> (String, Vec<String>) {
    let (mut text, mut left_out, mut count) = (String::new(), Vec::new(), 0);
    let of_result = result.as_object().into_iter().flatten().map(|(key, value)| {
        let name: String = key
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        let value = match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        (format!("NLRUN_RESULT_{name}"), value)
    });
    let own = own.into_iter().map(|(name, value)| (name, Some(value)));
    for (name, value) in own.chain(of_result) {
        let Some(value) = value else { continue };
        let reason = match () {
            () if value.is_empty() => Some("it is empty"),
            () if value.contains(['\n', '\r', '\0']) => Some("it has more than one line"),
            () if value.contains(['"', '\'', '`', '#', '\\', '$']) => {
                Some("it has quotation marks, or `#`, `\\` or `$`")
            }
            () if value.trim() != value => Some("it begins or ends with white space"),
            () if text.contains(&format!("{name}=")) => Some("another result has the same name"),
            () if count == MOST => Some("GitLab takes 20 variables"),
            () if text.len() + name.len() + value.len() + 2 > BYTES => Some("GitLab takes 5 KB"),
            () => None,
        };
        match reason {
            Some(reason) => left_out.push(format!("`{name}` is left out: {reason}")),
            None => {
                count += 1;
                text.push_str(&format!("{name}={value}\n"));
            }
        }
    }
    (text, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_gitlab_takes_is_written() {
        let own = || vec![("NLRUN_RUN".to_owned(), "7".to_owned())];
        let result = json!({
            "version": "1.2.3", "hosts": 3, "ok": true, "url": "https://x/?a=b&c", "lines": "a\nb", "quoted": "it's", "money": "$HOME",
            "empty": "", "list": [1], "none": null, "a-b": "1", "a_b": "2", "space": " x",
        });
        let (written, left_out) = text(own(), &result);
        let lines: Vec<&str> = written.lines().collect();
        for line in [
            "NLRUN_RUN=7",
            "NLRUN_RESULT_VERSION=1.2.3",
            "NLRUN_RESULT_HOSTS=3",
            "NLRUN_RESULT_OK=true",
            "NLRUN_RESULT_URL=https://x/?a=b&c",
            "NLRUN_RESULT_A_B=1",
        ] {
            assert!(lines.contains(&line), "{line}: {written}");
        }
        assert_eq!((lines.len(), left_out.len()), (6, 6), "{left_out:?}");
        let many: serde_json::Map<String, Value> =
            (0..40).map(|n| (format!("k{n:02}"), json!("x"))).collect();
        let (written, left_out) = text(own(), &Value::Object(many));
        assert_eq!((written.lines().count(), left_out.len()), (MOST, 21));
        let (written, left_out) = text(own(), &json!({ "long": "x".repeat(BYTES), "short": "x" }));
        assert!(written.len() < BYTES && written.contains("SHORT") && left_out.len() == 1, "{left_out:?}");
    }
}
