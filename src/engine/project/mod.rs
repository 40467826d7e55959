//! Frames → the answer: wanted values are found in the sources' records, converted, masked and written straight into
//! one response; whatever is null has a reason in the journal.

mod agreed;
pub mod answer;
mod checklist;
mod connection;
mod derived;
mod element;
pub mod errors;
pub mod facts;
pub mod fetched;
mod held;
mod items;
mod list;
pub mod pick;
pub mod read;
mod straight;
pub mod trace;
mod typed;
pub mod write;
