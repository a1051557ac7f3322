//! Configurations that several tests share.

/// Whatever nothing holds goes into quarantine as soon as it can, and is deleted after so long; and what else is given.
#[macro_export]
macro_rules! everything {
    ($mode:literal, $delete_after:literal $(, $more:literal)?) => {
        concat!(
            "mode = \"", $mode, "\"\n[docker]\nhost = \"unix://{socket}\"\n",
            "[policy.anonymous]\nquarantine_after = \"0s\"\ndelete_after = \"", $delete_after, "\"\n",
            "[[rule]]\nname = \"everything\"\nmatch = { volume = \"*\" }\n",
            "quarantine_after = \"0s\"\ndelete_after = \"", $delete_after, "\"\n",
            "[limits]\nmin_grace = \"0s\"\nmin_sightings = 1\nmax_per_sweep = 1000\n",
            $($more)?
        )
    };
}

/// Enforce with no grace at all: whatever is not held goes as fast as it can, in the second sweep into quarantine and in the
/// third for good.
pub const NO_GRACE: &str = everything!("enforce", "0s");

/// The same, but what is in quarantine stays there.
pub const KEEP_IN_QUARANTINE: &str = everything!("quarantine", "1h");

/// Only clocks run; what is due, with no grace at all, is told and left.
pub const OBSERVE: &str = everything!("observe", "0s");
