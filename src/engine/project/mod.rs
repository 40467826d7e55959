//! Records → the answer.
pub mod pick;
