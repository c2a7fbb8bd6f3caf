//! Hosts, groups, variables and the patterns that select them.
