//! The traps of `docker volume prune` and `docker volume rm`: hosts on which the engine itself deletes data that somebody needs.
//!
//! Each test prepares two volumes in the same way. With `lost` it shows, by the engine's own command, that the trap is real: the
//! data is gone. Over `kept` it lets volgc sweep, in mode `enforce` and without any grace, and shows that the data stays and who
//! holds it (I1). What is not lost on some engine has no business here.

mod ancestors;
mod containers;
mod host;
mod links;
mod removal;
mod swarm;
mod twins;
mod unloaded;
