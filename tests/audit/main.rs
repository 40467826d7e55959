//! The audit: one durable record before each answer, what is done to records afterwards, and who may read them.

mod access_log;
#[path = "../support/alone.rs"]
mod alone;
mod checkpoints;
mod commands;
mod crash;
mod door;
mod late;
#[path = "../support/mod.rs"]
mod support;
mod tampering;
#[path = "../support/temporary.rs"]
mod temporary;
