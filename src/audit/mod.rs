//! Who read what, when, from where and for which purpose: one record a request, durable before its answer.
//!
//! Records hold no values. Households and persons stand in them only as keyed HMACs.

mod record;
mod store;
mod writer;

pub use record::{Access, AuditRecord, Outcome, SourceCall, SubjectKey, Who, timestamp};
pub use store::{AuditError, AuditStore, ChainFault, Receipt, verify_chain};
