//! The gateway's own API: each part's fields, statistics and alerts, what operators see, and bindings published through it.

#[path = "../live_support/mod.rs"]
mod live_support;
mod parts;
mod registry;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/temporary.rs"]
mod temporary;
mod watch;
mod watching;
