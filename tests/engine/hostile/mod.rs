//! Volumes are written by untrusted containers: whatever one holds or is called is sized, quarantined, listed, restored byte for
//! byte and deleted, and nothing outside of it is touched (I6).

mod listing;
mod mounts;
mod names;
mod protected;
mod swapped;
mod trees;
mod watched;
