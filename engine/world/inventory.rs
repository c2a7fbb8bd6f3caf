//! Reads inventories from disk: ours in YAML, and existing Ansible ones in place.
