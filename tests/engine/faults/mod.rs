//! A kill, an error or an engine in trouble at every step: data is whole and in one place (I4, I5).

mod authorization;
mod delete_in_doubt;
mod engine_in_trouble;
mod errors;
mod killed;
mod restore_given_up;
mod who_answers;
