//! Short forms for declaring functions.

use crate::model::effect::Kind;
use crate::model::signature::{Param, Performs, Touches, Type};

macro_rules! function {
    ($name:ident, $params:expr, $options:expr, $performs:expr, $returns:expr, $doc:expr, $example:expr) => {
        Function {
            signature: Signature {
                name: stringify!($name),
                params: $params,
                options: $options,
                required_options: &[],
                returns: $returns,
                performs: $performs,
                doc: $doc,
                example: $example,
            },
            run: $name,
        }
    };
}

pub(super) const fn of_the_run(effect: &'static str, kind: Kind) -> Performs {
    Performs { effect, kind, touches: Touches::Nothing }
}

pub(super) const fn text(name: &'static str) -> Param {
    Param { name, ty: Type::String, optional: false }
}
