//! How much of a long enumeration a test goes through.

/// Whether a test goes through all of it, as `make test-long` does (`VOLGC_LONG`). Else it leaves out what comes to the same as
/// something else that it tries, and says so where it does.
pub fn in_full() -> bool {
    std::env::var_os("VOLGC_LONG").is_some()
}
