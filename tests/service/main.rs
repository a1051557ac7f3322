//! The service: its life under a service manager, its events, what it is granted and what it shows of itself.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests have effects, and fail loudly"
)]

mod events;
mod idle;
mod least_privilege;
mod life;
mod metrics;
mod passing;
mod schedule;
mod unit_file;
mod watched;

harness::reaper!();

/// Whoever makes a mount namespace that only `CAP_SYS_ADMIN` can read has it to himself: everybody without that capability keeps every
/// volume meanwhile.
static CLOSED_NAMESPACES: std::sync::RwLock<()> = std::sync::RwLock::new(());

/// Nobody makes such a namespace as long as this is held.
fn no_closed_namespaces() -> std::sync::RwLockReadGuard<'static, ()> {
    CLOSED_NAMESPACES.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Nobody is without that capability as long as this is held.
fn closed_namespaces() -> std::sync::RwLockWriteGuard<'static, ()> {
    CLOSED_NAMESPACES.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}
