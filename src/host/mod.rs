//! Effects: thin, without decisions. Everything that touches a file, a process or the engine is here.

pub mod alarm;
pub mod clock;
pub mod covers;
pub mod directory;
pub mod engine;
pub mod engine_owner;
pub mod engine_process;
pub mod exports;
pub mod fault;
pub mod http;
pub mod ledger;
pub mod patient;
pub mod proc;
pub mod pulse;
pub mod quarantine;
pub mod replace;
pub mod resolve;
pub mod search;
pub mod sharing;
pub mod systemd;
pub mod unlink;
pub mod usage;
pub mod view;
pub mod volumes_dir;
pub mod walk;
