//! Readers: one a kind of description.

mod example;
pub mod graphql;
pub mod introspection;
pub mod openapi;
mod pages;
mod paths;
mod request;
mod rpc;
mod schema;
mod security;
pub mod sql;
pub mod wsdl;
mod xml;
mod xsd;
