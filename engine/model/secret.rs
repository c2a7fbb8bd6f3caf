//! A secret is a type: it has a name and no text form.
