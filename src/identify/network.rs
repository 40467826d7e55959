//! The caller's address, where proxies stand between.

use std::net::{IpAddr, SocketAddr};

use crate::model::config::Networks;

/// A listed proxy forwards something that is no address, so whose request it is cannot be known.
#[derive(Debug, PartialEq, Eq)]
pub struct ForwardedError;

impl std::fmt::Display for ForwardedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("X-Forwarded-For is not a list of addresses; the proxy must set it")
    }
}

impl std::error::Error for ForwardedError {}

/// The right-most address that is no listed proxy; the peer's own where it is no proxy itself.
///
/// `forwarded` are the values of all `X-Forwarded-For` headers in their order. What stands left of the address
/// found was written by the caller and is not looked at.
pub fn caller_address<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    networks: &Networks,
) -> Result<IpAddr, ForwardedError> {
    let mut nearest = peer.to_canonical();
    for header in forwarded.rev() {
        let text = std::str::from_utf8(header).map_err(|_| ForwardedError)?;
        for entry in text.rsplit(',') {
            if !networks.is_proxy(nearest) {
                return Ok(nearest);
            }
            nearest = parse(entry.trim())?.to_canonical();
        }
    }
    Ok(nearest)
}

/// An address, also with a port, as some proxies write it.
fn parse(text: &str) -> Result<IpAddr, ForwardedError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|at| at.ip())).map_err(|_| ForwardedError)
}
