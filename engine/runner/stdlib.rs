//! The standard library in Rhai, embedded in the binary.

/// Every script of `stdlib/` with its path below it, sorted by path.
pub const STDLIB: &[(&str, &str)] = &[
    ("appliances.rhai", include_str!("../../stdlib/appliances.rhai")),
    ("apt.rhai", include_str!("../../stdlib/apt.rhai")),
    ("argocd.rhai", include_str!("../../stdlib/argocd.rhai")),
    ("cert.rhai", include_str!("../../stdlib/cert.rhai")),
    ("certs.rhai", include_str!("../../stdlib/certs.rhai")),
    ("dnf.rhai", include_str!("../../stdlib/dnf.rhai")),
    ("facts.rhai", include_str!("../../stdlib/facts.rhai")),
    ("health.rhai", include_str!("../../stdlib/health.rhai")),
    ("network.rhai", include_str!("../../stdlib/network.rhai")),
    ("options.rhai", include_str!("../../stdlib/options.rhai")),
    ("packages.rhai", include_str!("../../stdlib/packages.rhai")),
    ("pkg.rhai", include_str!("../../stdlib/pkg.rhai")),
    ("report.rhai", include_str!("../../stdlib/report.rhai")),
    ("shell.rhai", include_str!("../../stdlib/shell.rhai")),
    ("systemd.rhai", include_str!("../../stdlib/systemd.rhai")),
    ("users.rhai", include_str!("../../stdlib/users.rhai")),
    ("velero.rhai", include_str!("../../stdlib/velero.rhai")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_every_script_of_the_folder() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("stdlib");
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        let mut found: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.strip_suffix(".rhai").is_some())
            .collect();
        found.sort();
        let listed: Vec<&str> =
            STDLIB.iter().map(|(path, _)| *path).filter(|path| !path.contains('/')).collect();
        assert_eq!(found, listed);
    }
}
