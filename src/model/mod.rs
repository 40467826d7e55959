//! What the files declare: compiled at load, immutable, without IO on a request's way.

pub mod access;
pub mod advice;
pub mod binding;
pub mod config;
pub mod contract;
pub mod documents;
pub mod files;
pub mod mask;
pub mod rule;
pub mod schema;
pub mod snapshot;
pub mod subject;
pub mod yaml;
