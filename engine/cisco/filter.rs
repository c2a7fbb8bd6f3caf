//! What a device prints beside its configuration, and what changes by itself: dropped before texts are compared or kept.

use super::Os;

/// Returns a configuration without what is none: heads, counters, times, checksums, and blanks at the ends of lines.
///
/// What remains is what a person keeps in Git. The end (`end`, `: end`) stays, so that a text that was cut off can be told.
pub fn filter(os: Os, text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut is_begun = false;
    for line in text.lines() {
        let line = line.trim_end();
        let is_blank = line.is_empty();
        if is_passing(os, line) || (is_blank && (!is_begun || kept.ends_with("\n\n"))) {
            continue;
        }
        is_begun = true;
        kept.push_str(line);
        kept.push('\n');
    }
    kept.truncate(kept.trim_end().len());
    if !kept.is_empty() {
        kept.push('\n');
    }
    kept
}

/// Whether a line is not part of what somebody configured.
pub(super) fn is_passing(os: Os, line: &str) -> bool {
    let bare = line.trim_start_matches(['!', ' ']);
    let begins = |words: &str| bare.starts_with(words);
    let is_remark = line.starts_with('!');
    begins("Building configuration")
        || (begins("Current configuration") && (bare.ends_with("bytes") || is_remark))
        || (begins("Using ") && bare.contains(" out of ") && bare.ends_with("bytes"))
        || (is_remark && begins("Last configuration change"))
        || begins("Last configuration change at ")
        || (is_remark && (begins("NVRAM config last") || begins("No configuration change since")))
        || begins("Configuration last modified")
        || (is_remark && (begins("Time source is") || begins("Load for ")))
        || begins("Load for five secs")
        || begins("Time source is")
        || line.starts_with("ntp clock-period ")
        || begins("Cryptochecksum")
        || (os == Os::Asa
            && (line == ":"
                || [": Saved", ": Written by", ": Serial Number", ": Hardware"]
                    .iter()
                    .any(|words| line.starts_with(words))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_by_itself_is_dropped_and_nothing_else() {
        let ios = "\nBuilding configuration...\n\nCurrent configuration : 4096 bytes\n!\n! Last configuration change at 10:00:00 UTC Mon Mar 1 2027 by bob\n\
                   ! NVRAM config last updated at 10:00:00 UTC\n! No configuration change since last restart\n!\nversion 15.6\nhostname a  \n\n\nntp clock-period 17180\nend\n\n";
        assert_eq!(filter(Os::Ios, ios), "!\n!\nversion 15.6\nhostname a\n\nend\n");
        let asa = ": Saved\n: \n: Serial Number: X\n: Hardware:   ASA5508\n: Written by bob\n!\nASA Version 9.16(4) \n!\nhostname a\n\
                   Cryptochecksum:0123\n: end\n";
        assert_eq!(filter(Os::Asa, asa), "!\nASA Version 9.16(4)\n!\nhostname a\n: end\n");
        let text = "interface Gi0/1\n description Current configuration of bytes\n! a remark\nbanner motd ^C\nLoad\n^C\n";
        assert_eq!(filter(Os::Ios, text), text);
        assert_eq!(filter(Os::Ios, "\n\n"), "");
    }
}
