//! Reports, stories and lists, as people read them.

mod explain;
mod released;
mod screens;
mod shared_blocks;
mod spoken;
