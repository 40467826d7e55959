//! Tokens bound to a client certificate.

use serde_json::{Map, Value};

use super::token::AuthError;
use crate::model::access::ClientCertificate;

/// What a token's `cnf` asks of the connection (RFC 7800, RFC 8705).
pub(super) enum Binding {
    None,
    /// SHA-256 of the client certificate, base64url.
    Certificate(String),
}

impl Binding {
    /// A way of confirmation that is not known here could not be checked, so the token is refused.
    pub(super) fn of(token: &Map<String, Value>) -> Result<Self, AuthError> {
        match token.get("cnf") {
            None => Ok(Self::None),
            Some(Value::Object(cnf)) if cnf.len() == 1 => match cnf.get("x5t#S256") {
                Some(Value::String(thumbprint)) => Ok(Self::Certificate(thumbprint.clone())),
                _ => Err(AuthError::Binding),
            },
            Some(_) => Err(AuthError::Binding),
        }
    }

    pub(super) fn holds(&self, shown: Option<&ClientCertificate>) -> bool {
        match self {
            Self::None => true,
            Self::Certificate(thumbprint) => shown.is_some_and(|shown| shown.thumbprint == *thumbprint),
        }
    }
}
