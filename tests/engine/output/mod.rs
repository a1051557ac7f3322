//! Reports, stories and lists, as people read them.

mod explain;
mod explain_entry;
mod released;
mod screens;
mod shared_blocks;
mod spoken;
