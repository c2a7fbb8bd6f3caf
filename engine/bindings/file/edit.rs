//! Lines and blocks of text files: `line_ensure block_ensure`.

use regex::bytes::RegexBuilder;
use rhai::Dynamic;

use crate::bindings::each::PARALLEL_OPTION;
use crate::bindings::file::attributes::{GROUP, MODE, OWNER};
use crate::bindings::file::put::{BACKUP, DIFF, FOLLOW, PARENTS, VALIDATE, Wanted, put_each};
use crate::bindings::file::text::{Anchor, Block, Edit, Line, Pattern};
use crate::bindings::sudo::{SUDO, SUDO_PASSWORD};
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::model::signature::{Opt, Type};

/// The markers of a block unless the script says otherwise.
const MARKER: &str = "# {mark} NLRUN";

pub(super) fn line_ensure(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let line = call.string(2)?;
    if line.contains(['\n', '\r']) {
        let message = "`line_ensure` wants one line; `block_ensure` takes several";
        return Err(invalid(message.to_owned()).into());
    }
    let edit = Edit::Line(Line {
        text: line,
        regex: pattern(call, "regex")?,
        anchor: anchor(call)?,
        absent: call.option_bool("absent", false)?,
        create: call.option_bool("create", false)?,
    });
    put_each(call, |_| Ok(Wanted::Edit(edit.clone())))
}

pub(super) fn block_ensure(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let text = call.string(2)?;
    let marker = call.option_string("marker")?.unwrap_or_else(|| MARKER.to_owned());
    if !marker.contains("{mark}") || marker.contains(['\n', '\r']) {
        let message =
            format!("`block_ensure` wants one line with `{{mark}}` as option `marker`, got `{marker}`");
        return Err(invalid(message).into());
    }
    let (begin, end) = (marker.replace("{mark}", "BEGIN"), marker.replace("{mark}", "END"));
    if text.lines().any(|line| line == begin || line == end) {
        return Err(invalid(format!("the block holds its own marker `{begin}` or `{end}`")).into());
    }
    let edit = Edit::Block(Block {
        text,
        begin,
        end,
        anchor: anchor(call)?,
        absent: call.option_bool("absent", false)?,
        create: call.option_bool("create", false)?,
    });
    put_each(call, |_| Ok(Wanted::Edit(edit.clone())))
}

fn pattern(call: &Call<'_>, key: &str) -> Result<Option<Pattern>, Raise> {
    let Some(text) = call.option_string(key)? else { return Ok(None) };
    match RegexBuilder::new(&text).build() {
        Ok(regex) => Ok(Some(Pattern(regex))),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let message = format!("`{}`: `{text}` is no regular expression: {reason}", call.name());
            Err(invalid(message).into())
        }
    }
}

/// Reads `after` and `before`, of which only one may be given.
fn anchor(call: &Call<'_>) -> Result<Anchor, Raise> {
    let text = |key: &str| call.option_string(key);
    match (text("after")?.as_deref(), text("before")?.as_deref()) {
        (Some(_), Some(_)) => {
            Err(invalid(format!("`{}` takes `after` or `before`, not both", call.name())).into())
        }
        (None | Some("EOF"), None) => Ok(Anchor::End {}),
        (None, Some("BOF")) => Ok(Anchor::Start {}),
        (Some(_), None) => Ok(pattern(call, "after")?.map_or(Anchor::End {}, Anchor::After)),
        (None, Some(_)) => Ok(pattern(call, "before")?.map_or(Anchor::End {}, Anchor::Before)),
    }
}

const AFTER: Opt = Opt {
    name: "after",
    ty: Type::String,
    doc: "A regular expression: something new goes after the last line that matches, or at the end; \"EOF\" is the end.",
};
const BEFORE: Opt = Opt {
    name: "before",
    ty: Type::String,
    doc: "A regular expression: something new goes before the last line that matches, or at the end; \"BOF\" is the beginning.",
};
const CREATE: Opt =
    Opt { name: "create", ty: Type::Bool, doc: "Make the file if it does not exist; a failure otherwise." };

/// The options of `line_ensure`.
pub(super) const LINE: &[Opt] = &[
    Opt {
        name: "regex",
        ty: Type::String,
        doc: "The last line that matches is replaced; with `absent`, all that match are removed.",
    },
    AFTER,
    BEFORE,
    CREATE,
    Opt { name: "absent", ty: Type::Bool, doc: "Remove the line." },
    MODE,
    OWNER,
    GROUP,
    BACKUP,
    VALIDATE,
    FOLLOW,
    PARENTS,
    DIFF,
    SUDO,
    SUDO_PASSWORD,
    PARALLEL_OPTION,
];

/// The options of `block_ensure`.
pub(super) const BLOCK: &[Opt] = &[
    Opt {
        name: "marker",
        ty: Type::String,
        doc: "The lines around the block, with BEGIN and END for `{mark}`; \"# {mark} NLRUN\" by default.",
    },
    AFTER,
    BEFORE,
    CREATE,
    Opt { name: "absent", ty: Type::Bool, doc: "Remove the block with its markers." },
    MODE,
    OWNER,
    GROUP,
    BACKUP,
    VALIDATE,
    FOLLOW,
    PARENTS,
    DIFF,
    SUDO,
    SUDO_PASSWORD,
    PARALLEL_OPTION,
];
