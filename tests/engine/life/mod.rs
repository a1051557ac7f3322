//! What nothing holds is quarantined, restored or deleted, and only that.

mod clock_steps;
mod collection;
mod copies;
mod deletion;
mod in_place;
mod movable;
mod names_used_again;
mod restore;
mod restore_as;
mod unlisted;
mod watched_time;
mod whole_life;
