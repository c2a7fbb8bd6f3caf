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

#[test]
fn a_path_is_described() {
    let lab = Lab::new();
    lab.file("a", "abc");
    let stat = |name: &str| {
        lab.apply(&format!("file_stat(\"localhost\", dir + \"/{name}\")")).value().cast::<rhai::Map>()
    };
    let found = stat("a");
    assert_eq!(found["size"].as_int().unwrap(), 3);
    assert_eq!(found["mode"].clone().into_string().unwrap(), "0644");
    assert_eq!(
        found["sha256"].clone().into_string().unwrap(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let found = stat("missing/b");
    assert!(!found["exists"].as_bool().unwrap() && found["mode"].is_unit() && found["sha256"].is_unit());
}

#[test]
fn a_file_becomes_a_file_of_the_run() {
    let lab = Lab::new();
    lab.file("a", "kept");
    let ran = lab.apply(r#"file_fetch(["one", "two"], dir + "/a", "a.txt")"#);
    let names: Vec<_> = ran
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Artifact { name, .. } => Some(name.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"one-a.txt".to_owned()) && names.contains(&"two-a.txt".to_owned()));
}

#[test]
fn every_example_of_the_area_plans_here() {
    let lab = Lab::new();
    for function in super::super::BINDING.functions {
        let ran = lab.plan(function.signature.example);
        assert!(ran.result.is_ok(), "{}: {:?}", function.signature.name, ran.result);
    }
    assert!(!Path::new("/tmp/nlrun-example").exists());
}
