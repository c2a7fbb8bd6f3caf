use super::*;

#[test]
fn a_file_is_read_as_text_or_bytes() {
    let lab = Lab::new();
    lab.file("a", "hällo\n");
    lab.file("b", b"\0\xff\n");
    lab.file("c", "");
    let read = |name: &str, options: &str| {
        lab.apply(&format!("file_read(\"localhost\", dir + \"/{name}\", #{{ {options} }})"))
    };
    assert_eq!(read("a", "").value().into_string().unwrap(), "hällo\n");
    assert_eq!(read("c", "").value().into_string().unwrap(), "");
    assert_eq!(read("b", "blob: true").value().into_blob().unwrap(), b"\0\xff\n");
    assert_eq!(read("b", "").reason(), "not_text");
    assert_eq!(read("a", "max_bytes: 6").reason(), "too_large");
    assert_eq!(read("d", "").reason(), "absent");
    assert_eq!(read("", "").failure().kind, "invalid");
}
