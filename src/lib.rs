//! Huxiang (户像): a GraphQL federation gateway over departmental APIs.
//!
//! A request goes one way through the rooms: [`identify`] → [`engine`] (operation → authorize → plan → execute →
//! project) → [`audit`] → answer. A module imports only from those above it in this list. `docs/architecture.md`
//! is the map.

pub mod answer;
pub mod audit;
pub mod base;
pub mod cli;
pub mod engine;
pub mod identify;
pub mod model;
pub mod serve;
pub mod source;
