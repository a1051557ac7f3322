//! Configurations that several tests share.

/// Enforce with no grace at all: whatever is not held goes as fast as it can, in the second sweep into quarantine and in the
/// third for good.
pub const NO_GRACE: &str = r#"
mode = "enforce"
[docker]
host = "unix://{socket}"
[policy.anonymous]
quarantine_after = "0s"
delete_after = "0s"
[[rule]]
name = "everything"
match = { volume = "*" }
quarantine_after = "0s"
delete_after = "0s"
[limits]
min_grace = "0s"
min_sightings = 1
max_per_sweep = 1000
"#;

/// The same, but what is in quarantine stays there.
pub const KEEP_IN_QUARANTINE: &str = r#"
mode = "quarantine"
[docker]
host = "unix://{socket}"
[policy.anonymous]
quarantine_after = "0s"
delete_after = "1h"
[[rule]]
name = "everything"
match = { volume = "*" }
quarantine_after = "0s"
delete_after = "1h"
[limits]
min_grace = "0s"
min_sightings = 1
max_per_sweep = 1000
"#;

/// Only clocks run; what is due, with no grace at all, is told and left.
pub const OBSERVE: &str = r#"
mode = "observe"
[docker]
host = "unix://{socket}"
[[rule]]
name = "everything"
match = { volume = "*" }
quarantine_after = "0s"
delete_after = "0s"
[limits]
min_grace = "0s"
min_sightings = 1
"#;
