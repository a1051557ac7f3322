//! The data itself as a witness: what something used that no list knows of is neither moved nor deleted.

mod deletion;
mod quarantine;
mod table;
mod uses;
