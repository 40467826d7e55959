//! Frames → the answer: wanted values are found in the sources' records, converted, masked and written straight into
//! one response; whatever is null has a reason in the journal.

pub mod answer;
mod derived;
pub mod errors;
mod items;
mod list;
pub mod pick;
pub mod read;
pub mod write;
