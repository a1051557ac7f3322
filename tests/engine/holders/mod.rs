//! Whatever holds a volume keeps it, also where the engine's own prune loses the data (I1).

mod accidents;
mod every_kind;
mod kernel;
mod paths;
mod swarm;
mod traps;
