//! The listener: HTTP, browsers, rates, TLS, files that change while it serves, and the traces it sends.

mod browser;
mod host;
mod http;
mod listen;
#[path = "../live_support/mod.rs"]
mod live_support;
mod rates;
mod raw;
mod reload;
mod sockets;
mod streams;
mod support;
#[path = "../support/temporary.rs"]
mod temporary;
mod traces;
