//! Replaces secret values by their names in everything that is recorded or shown.
