//! How requests of a source are signed: the compiled form of [`Sign`](super::super::format::Sign), secrets filled in.

use std::fmt;

use http::HeaderName;

use super::super::format::HmacHash;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Debug, Clone)]
pub enum Signing {
    HmacParams {
        hash: HmacHash,
        app_key: String,
        secret: Secret,
    },
    HmacHeader {
        hash: HmacHash,
        header: HeaderName,
        key_id: String,
        secret: Secret,
    },
    Basic {
        user: String,
        password: Secret,
    },
    Oauth2 {
        /// Absolute.
        token_url: String,
        client_id: String,
        client_secret: Secret,
        scope: Option<String>,
    },
}
