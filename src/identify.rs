//! Who asks, from which network and for which purpose.
//!
//! A request without a token is a visitor (role `public` alone); a request with a token that is not accepted is
//! refused, never served as a visitor's.

mod certificate;
mod keys;
mod mint;
mod network;
pub mod rate;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use certificate::{CertificateError, ForwardedCertificates, client_verifier, from_der as certificate_from_der};
pub use mint::{MintError, mint};
pub use network::{ForwardedError, caller_address};
pub use token::{AuthError, Verifier};

pub use crate::model::access::ClientCertificate;

/// The role of whoever shows no token.
pub const PUBLIC_ROLE: &str = "public";

/// Longest purpose or case, in characters.
const DECLARED_CHARS_MAX: usize = 128;

/// Who a checked token speaks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Principal {
    /// The token's `sub`, or the claim that the issuer's `claims.id` names.
    pub id: String,
    pub issuer: String,
    pub roles: Vec<String>,
    /// Only the claims that the configuration declares, each of its declared type; those the token lacks are absent.
    pub claims: Map<String, Value>,
}

/// All that authorization knows about a request's caller.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// `None`: no token was shown.
    pub principal: Option<Principal>,
    /// The caller's address: the peer's, or the one a listed proxy forwards for.
    pub address: IpAddr,
    /// The configured networks that hold the address.
    pub networks: Vec<String>,
    pub purpose: Option<String>,
    pub case: Option<String>,
    /// The verified client certificate of the caller's connection, not expired.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl Identity {
    /// A visitor at an address that is in no network.
    pub fn at(address: IpAddr) -> Self {
        Self { principal: None, address, networks: Vec::new(), purpose: None, case: None, certificate: None }
    }

    /// The principal's roles; without a token, `public` alone.
    pub fn roles(&self) -> Vec<&str> {
        match &self.principal {
            Some(principal) => principal.roles.iter().map(String::as_str).collect(),
            None => vec![PUBLIC_ROLE],
        }
    }
}

/// What a caller declares beside the token.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Declared {
    pub purpose: Option<String>,
    pub case: Option<String>,
}

impl Declared {
    /// From the request's `extensions` or the headers `X-Purpose` and `X-Case`. The error says what does not fit.
    pub fn from(
        extensions: &Map<String, Value>,
        purpose_header: Option<&[u8]>,
        case_header: Option<&[u8]>,
    ) -> Result<Self, String> {
        Ok(Self {
            purpose: declared("purpose", extensions.get("purpose"), "X-Purpose", purpose_header)?,
            case: declared("case", extensions.get("case"), "X-Case", case_header)?,
        })
    }
}

fn declared(
    name: &str,
    extension: Option<&Value>,
    header_name: &str,
    header: Option<&[u8]>,
) -> Result<Option<String>, String> {
    let extension = match extension {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => return Err(format!("`extensions.{name}` must be a string")),
    };
    let header = match header.map(std::str::from_utf8) {
        None => None,
        Some(Ok(text)) => Some(text.trim()),
        Some(Err(_)) => return Err(format!("the header {header_name} must be UTF-8")),
    };
    if let (Some(a), Some(b)) = (extension, header)
        && a != b
    {
        return Err(format!("`extensions.{name}` and the header {header_name} differ; send one of them"));
    }
    match extension.or(header) {
        None | Some("") => Ok(None),
        Some(text) if text.chars().count() > DECLARED_CHARS_MAX || text.chars().any(char::is_control) => {
            Err(format!("the {name} must be at most {DECLARED_CHARS_MAX} characters, without control characters"))
        }
        Some(text) => Ok(Some(text.to_owned())),
    }
}

#[cfg(test)]
mod tests;
