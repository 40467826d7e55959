//! `resolvers/*.yaml`: which source answers for which contract fields, and how it is asked.

pub mod connection;
pub mod conversion;
pub mod format;
pub mod request;
