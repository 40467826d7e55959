//! `huxiang source import`: drafts of bindings from what describes a system, each checked and served.

mod corpus;
mod graphql;
mod openapi;
mod sql;
mod support;
#[path = "../support/temporary.rs"]
mod temporary;
mod wsdl;
