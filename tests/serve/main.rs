//! The listener: HTTP, browsers, rates, TLS, files that change while it serves, and the traces it sends.

mod browser;
mod host;
mod http;
mod listen;
#[path = "../live_support/mod.rs"]
mod live_support;
#[path = "../identity_support/pki.rs"]
#[allow(dead_code, reason = "each crate of tests uses its part")]
mod pki;
mod rates;
mod raw;
mod reload;
mod sockets;
mod streams;
mod support;
#[path = "../support/temporary.rs"]
mod temporary;
mod traces;
