//! Who read what, when, from where and for which purpose: one record a request, durable before its answer.
//!
//! Records hold no values. Households and persons stand in them only as keyed HMACs.

mod chain;
mod checkpoint;
mod checkpointer;
mod follow;
mod index;
mod key;
mod reader;
mod record;
mod retention;
mod revocation;
mod rows;
mod segment;
mod store;
mod tail;
mod verify;
mod writer;

pub use checkpoint::{Checkpoint, Kept, PublicKey, Removed, Signer, new_key, read as read_checkpoints};
pub use follow::{Frames, Intent};
pub use key::{SubjectDigest, SubjectKey, is_digest};
pub use reader::{Entry, PAGE_MAX, Page, ReadError, Reader, Search};
pub use record::{Access, AuditRecord, Kind, Outcome, SourceCall, Who, timestamp};
pub use revocation::{RevokeError, revoke};
pub use store::{AuditError, AuditStore, Head, Receipt, WeakStore};
pub use tail::Tail;
pub use verify::{Fault, Report, Wrong, verify};
