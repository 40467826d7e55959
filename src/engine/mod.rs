//! Executing one operation: operation → authorize → plan → execute → project.
//!
//! Every step takes what the step before it made and nothing else can make: an operation that was not authorized
//! cannot be planned. [`plan`], [`project`] and [`derive`] are synchronous and do no IO.

pub mod authorize;
pub mod convert;
pub mod error;
pub mod execute;
pub mod frame;
pub mod operation;
pub mod periods;
pub mod plan;
pub mod project;
mod scalar;
