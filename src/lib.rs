//! Huxiang (户像): a GraphQL federation gateway over departmental APIs.
//!
//! A request goes one way through the rooms: [`identify`] → [`engine`] (operation → authorize → plan → execute →
//! project) → [`audit`] → answer. A module imports only from those above it in this list. `docs/architecture.md`
//! is the map.

// What a request's way may not do; tests may (see clippy.toml).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![deny(clippy::todo, clippy::unimplemented, clippy::dbg_macro)]

pub mod admin;
pub mod answer;
pub mod approval;
pub mod audit;
pub mod base;
pub mod cli;
pub mod draft;
pub mod egress;
pub mod engine;
pub mod identify;
pub mod model;
pub mod registry;
pub mod scan;
pub mod serve;
pub mod source;
pub mod trace;
pub mod watch;
