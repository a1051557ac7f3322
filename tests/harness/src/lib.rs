//! Drives real Docker Engines for the integration tests.
//!
//! Every test gets an engine of its own: data root, exec root, pid file, socket, containerd and control groups all lie
//! below a fresh temporary directory (or carry its name), and all of it is gone when the [`PrivateEngine`] is dropped,
//! also when the test panics. What a killed test process leaves behind is removed by the next start. Tests never speak
//! to the machine's own engine.
//!
//! `tests/setup` installs what is needed. A missing engine is a failure that says so, never a skipped test.

#![allow(
    clippy::disallowed_methods,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::print_stderr,
    clippy::unnecessary_debug_formatting,
    clippy::wildcard_enum_match_arm,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "the harness is the world outside of the product: it has effects, and it fails loudly"
)]

mod config;
mod contents;
pub mod daemon;
mod engine;
pub mod fake;
mod http;
pub mod hung;
mod images;
mod lane;
pub mod node;
pub mod plugin;
pub mod podman;
pub mod pool;
pub mod proxy;
pub mod reaper;
pub mod recording;
mod rest;
pub mod scenario;
mod startup;
mod strace;
mod takedown;
mod told;
pub mod treasure;
mod tree;
mod unmount;
mod versions;
mod volgc;
mod watchdog;

pub use config::{KEEP_IN_QUARANTINE, NO_GRACE, OBSERVE};
pub use contents::Contents;
pub use engine::{Builder, PrivateEngine, Version, project};
pub use lane::in_full;
pub use rest::{Gate, Resting};
pub use takedown::{left_behind, take_down};
pub use told::{grace_of_a_host_that_was_off, text, wait_until};
pub use tree::{fill, tree_digest, tree_listing};
pub use unmount::unmount;
pub use volgc::{Output, Volgc, program};

/// Makes one `#[test]` per engine version of each function, named `<function>::v20_10`, `<function>::v26_1` and `<function>::v28_5`.
///
/// The argument is either a running engine, clean and for this test alone (see [`pool`]), or the version for a test that starts
/// its engine by itself:
///
/// ```ignore
/// on_each_engine! {
///     fn lists_volumes(engine: PrivateEngine) { ... }
///     fn survives_live_restore(version: Version) { ... }
/// }
/// ```
#[macro_export]
macro_rules! on_each_engine {
    () => {};
    ($(#[$meta:meta])* fn $name:ident($engine:ident: PrivateEngine) $body:block $($rest:tt)*) => {
        $crate::on_each_engine! {
            $(#[$meta])*
            fn $name(version: Version) {
                let $engine = $crate::pool::take(version);
                $body
            }
        }
        $crate::on_each_engine! { $($rest)* }
    };
    ($(#[$meta:meta])* fn $name:ident($version:ident: Version) $body:block $($rest:tt)*) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "the body may need nothing of its surroundings")]
            use super::*;

            fn body($version: $crate::Version) $body

            #[test]
            fn v20_10() {
                body($crate::Version::V20_10);
            }

            #[test]
            fn v26_1() {
                body($crate::Version::V26_1);
            }

            #[test]
            fn v28_5() {
                body($crate::Version::V28_5);
            }
        }
        $crate::on_each_engine! { $($rest)* }
    };
}
/// Shows what a failed command wrote, for panic messages.
pub fn show(output: &std::process::Output) -> String {
    format!(
        "{}\n--- stdout\n{}--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
