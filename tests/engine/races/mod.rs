//! Others at work at the very same moment.

mod as_new_as_the_step;
mod started_at_each_point;
mod started_meanwhile;
mod thousand_containers;
mod two_at_once;
