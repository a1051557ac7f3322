//! Wrong input and damaged state: one clear message, and nothing is lost (I4, I9).

mod bad_input;
mod state;
