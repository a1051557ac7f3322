//! The planner: scenarios, sequences of sweeps, properties.

mod properties;
mod scenarios;
mod sequences;
