//! What the audit records say of reading as a whole: statistics, and alerts on what is unusual.
//!
//! Alerts are found in the records as they are written, and are records themselves; so are acknowledgements. What is
//! known here can therefore be lost: it is read again from the records at the next start.

mod alerts;
mod follow;
mod look;
pub mod statistics;
mod unusual;

pub use alerts::{Acknowledgement, Alert};
pub use follow::Watch;
