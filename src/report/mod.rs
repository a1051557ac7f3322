//! What was found and what follows from it, for people and for programs.

pub mod columns;
pub mod dates;
pub mod document;
pub mod explain;
pub mod metrics;
pub mod mismatch;
pub mod table;
pub mod text;
