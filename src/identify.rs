//! Who asks, from which network and for which purpose.
//!
//! A request without a token is a visitor (role `public` alone); a request with a token that is not accepted is
//! refused, never served as a visitor's.

mod binding;
mod certificate;
mod keys;
mod login;
mod mint;
mod network;
pub mod rate;
mod revocation;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use certificate::{CertificateError, ForwardedCertificates, client_verifier, from_der as certificate_from_der};
pub use login::{CodeExchange, LoginBegun, LoginDone, LoginError, LoginStart};
pub use mint::{MintError, mint};
pub use network::{ForwardedError, caller_address};
pub use revocation::{Revocation, RevocationError, Revocations, RevokedKind};
pub use token::{AuthError, RevocationOrder, Revoked, Verifier};

pub use crate::model::access::ClientCertificate;

/// The role of whoever shows no token.
pub const PUBLIC_ROLE: &str = "public";

/// Longest purpose, case or approval id, in characters.
pub const DECLARED_CHARS_MAX: usize = 128;
/// Characters of a reason, and digits in a row in it: a year is none of the numbers that name somebody.
const REASON_CHARS_MIN: usize = 4;
const REASON_CHARS_MAX: usize = 400;
const REASON_DIGITS_MAX: usize = 5;

/// Who a checked token speaks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Principal {
    /// The token's `sub`, or the claim that the issuer's `claims.id` names.
    pub id: String,
    pub issuer: String,
    pub roles: Vec<String>,
    /// Who acts in the principal's name, by the token's `act` (RFC 8693): the one who asks first, then for whom that one acts.
    pub actors: Vec<String>,
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
    /// The id of an approval that the request relies on.
    pub approval: Option<String>,
    /// Why the caller breaks the glass: an emergency that is reviewed afterwards.
    pub break_glass: Option<String>,
}

impl Identity {
    /// A visitor at an address that is in no network.
    pub fn at(address: IpAddr) -> Self {
        Self::new(None, address, Vec::new(), Declared::default())
    }

    /// With what the request declares.
    pub fn declaring(self, declared: Declared) -> Self {
        let Declared { purpose, case, approval, break_glass } = declared;
        Self { purpose, case, approval, break_glass, ..self }
    }

    /// Without a client certificate.
    pub fn new(principal: Option<Principal>, address: IpAddr, networks: Vec<String>, declared: Declared) -> Self {
        let Declared { purpose, case, approval, break_glass } = declared;
        Self { principal, address, networks, purpose, case, certificate: None, approval, break_glass }
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
    pub approval: Option<String>,
    pub break_glass: Option<String>,
}

impl Declared {
    /// The headers that say what `extensions` may say too.
    pub const HEADERS: [&str; 4] = ["x-purpose", "x-case", "x-approval", "x-break-glass"];

    /// From the request's `extensions` or its headers (asked for by [`Self::HEADERS`]). The error says what does not
    /// fit.
    pub fn from<'h>(
        extensions: &Map<String, Value>,
        header: impl Fn(&'static str) -> Option<&'h [u8]>,
    ) -> Result<Self, String> {
        let [purpose, case, approval, break_glass] = Self::HEADERS;
        let read = |name: &str, from: &'static str, chars_max| {
            declared(name, extensions.get(name), from, header(from), chars_max)
        };
        let declared = Self {
            purpose: read("purpose", purpose, DECLARED_CHARS_MAX)?,
            case: read("case", case, DECLARED_CHARS_MAX)?,
            approval: read("approval", approval, DECLARED_CHARS_MAX)?,
            break_glass: read("breakGlass", break_glass, REASON_CHARS_MAX)?,
        };
        if let Some(reason) = &declared.break_glass {
            check_reason(reason)?;
        }
        Ok(declared)
    }
}

/// A reason is kept and read by reviewers: it says why, and names nobody by number.
pub fn check_reason(reason: &str) -> Result<(), String> {
    let digits = |text: &str| {
        text.chars().fold((0, 0), |(run, most), c| {
            let run = if c.is_numeric() { run + 1 } else { 0 };
            (run, run.max(most))
        })
    };
    if reason.trim().chars().count() < REASON_CHARS_MIN || reason.chars().count() > REASON_CHARS_MAX {
        return Err(format!("a reason has {REASON_CHARS_MIN} to {REASON_CHARS_MAX} characters; say what happened"));
    }
    if digits(reason).1 > REASON_DIGITS_MAX || reason.chars().any(char::is_control) {
        return Err("a reason says why, not of whom: leave out id, telephone and account numbers".to_owned());
    }
    Ok(())
}

fn declared(
    name: &str,
    extension: Option<&Value>,
    header_name: &str,
    header: Option<&[u8]>,
    chars_max: usize,
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
        Some(text) if text.chars().count() > chars_max || text.chars().any(char::is_control) => {
            Err(format!("`{name}` must be at most {chars_max} characters, without control characters"))
        }
        Some(text) => Ok(Some(text.to_owned())),
    }
}

#[cfg(test)]
mod tests;
