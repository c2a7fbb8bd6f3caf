//! Reads `multipart/form-data` (RFC 7578), as browsers and curl send it.

/// One part.
pub(super) struct Part<'a> {
    pub(super) name: String,
    /// Whether it came as a file, with a name of its own.
    pub(super) is_file: bool,
    pub(super) content: &'a [u8],
}

/// Returns the parts of a body, or nothing where it is not one.
pub(super) fn read<'a>(media: &str, body: &'a [u8]) -> Option<Vec<Part<'a>>> {
    let (kind, parameters) = media.split_once(';')?;
    if kind.trim() != "multipart/form-data" {
        return None;
    }
    let boundary = parameters.split(';').find_map(|one| one.trim().strip_prefix("boundary="))?;
    let mark = format!("--{}", boundary.trim_matches('"')).into_bytes();
    let mut rest = body.strip_prefix(&mark[..])?;
    let between: Vec<u8> = [b"\r\n", &mark[..]].concat();
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        let part = rest.strip_prefix(b"\r\n")?;
        let head = find(part, b"\r\n\r\n")?;
        let after = &part[head + 4..];
        let end = find(after, &between)?;
        parts.push(one(std::str::from_utf8(&part[..head]).ok()?, &after[..end])?);
        rest = &after[end + between.len()..];
    }
}

fn one<'a>(head: &str, content: &'a [u8]) -> Option<Part<'a>> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let parameter = |name: &str| {
        let marked = format!("{name}=\"");
        line.split("; ").find_map(|one| one.strip_prefix(&marked)?.strip_suffix('"'))
    };
    Some(Part { name: parameter("name")?.to_owned(), is_file: parameter("filename").is_some(), content })
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|part| part == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_to_the_byte() {
        let body = b"--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"x.pem\"\r\nContent-Type: text/plain\r\n\r\n\
                     1\r\n2\r\n\r\n--B\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n\r\n--B--\r\n";
        let parts = read("multipart/form-data; boundary=B", body).unwrap();
        let seen: Vec<_> = parts.iter().map(|part| (&part.name[..], part.is_file, part.content)).collect();
        assert_eq!(seen, [("a", true, &b"1\r\n2\r\n"[..]), ("b", false, b"")]);
        for (media, body) in [
            ("text/plain", &body[..]),
            ("multipart/form-data; boundary=C", body),
            ("multipart/form-data; boundary=B", &body[..40]),
            ("multipart/form-data; boundary=B", b"--B\r\n\r\n\r\n--B--"),
        ] {
            assert!(read(media, body).is_none(), "{media}");
        }
    }
}
