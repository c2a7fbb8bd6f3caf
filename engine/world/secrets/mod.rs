//! Where secret values come from: environment, files, our encrypted file, Ansible Vault, commands.
