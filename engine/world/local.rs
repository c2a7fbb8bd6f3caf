//! The local transport: commands on this machine, behind the same face as SSH.
