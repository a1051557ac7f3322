//! Evidence that is incomplete, contradicts itself or comes from elsewhere: refused or held, and nothing is changed (I2).

mod answers;
mod brakes;
mod hung_mounts;
mod mismatches;
mod odd_names;
mod path_too_long;
mod podman;
mod read_only;
mod remote;
mod rootless;
