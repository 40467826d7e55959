//! Readers: one a kind of description.

pub mod openapi;
mod request;
mod schema;
mod security;
