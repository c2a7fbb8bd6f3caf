//! How much memory this process uses.

/// Returns the resident memory in bytes, as the kernel tells it (proc(5), `statm`).
pub fn bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
