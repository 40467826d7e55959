//! `login` of an issuer: how a portal's code is exchanged for a token (OpenID Connect, authorization code with PKCE).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::egress::EgressConfig;
use super::reader::Reader;
use crate::model::binding::connection::sign::Secret;
use crate::model::yaml::{self, Spanned};

/// As it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginEntry {
    /// As it stands in the paths: small letters, digits, `-`.
    pub name: Spanned<String>,
    /// Where browsers are sent.
    pub authorize_url: Spanned<String>,
    /// Where the gateway exchanges the code.
    pub token_url: Spanned<String>,
    /// As the issuer knows this gateway.
    pub client_id: Spanned<String>,
    /// Sent as HTTP Basic; absent: a public client, which PKCE alone protects.
    pub client_secret: Option<Spanned<String>>,
    /// The frontends' addresses that browsers come back to; each compared whole.
    pub redirect_uris: Vec<Spanned<String>>,
    /// Asked for besides `openid`.
    pub scopes: Option<Vec<Spanned<String>>>,
    /// Which of the issuer's tokens the frontend gets.
    #[serde(default)]
    pub token: LoginToken,
}

/// Which of the issuer's two tokens frontends get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoginToken {
    #[default]
    AccessToken,
    IdToken,
}

/// Checked.
#[derive(Debug, Clone)]
pub struct LoginConfig {
    /// As it stands in `/login/NAME/token`.
    pub name: String,
    pub authorize_url: String,
    pub token_url: String,
    pub client_id: String,
    /// `None`: a public client, which PKCE alone protects.
    pub client_secret: Option<Secret>,
    /// Compared whole.
    pub redirect_uris: Vec<String>,
    /// Among them always `openid`.
    pub scopes: Vec<String>,
    pub token: LoginToken,
}

impl Reader<'_> {
    pub(super) fn login(&mut self, entry: &LoginEntry, egress: &EgressConfig) -> Option<LoginConfig> {
        let name = entry.name.value.clone();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            let hint = "write small letters, digits and `-`: it stands in /login/NAME/token";
            self.fault(&entry.name, "this is no name for a way to log in", hint);
        }
        let authorize_url = self.fill(&entry.authorize_url);
        // Browsers go there, not the gateway: it is bound by no egress.
        let authorize_url = self.url(&entry.authorize_url, authorize_url, &EgressConfig::default());
        let token_url = self.fill(&entry.token_url);
        let token_url = self.url(&entry.token_url, token_url, egress);
        if entry.redirect_uris.is_empty() {
            let hint = "list the portal's own addresses that the issuer sends browsers back to, each whole";
            self.fault(&entry.name, "no `redirect_uris` are listed", hint);
        }
        let redirect_uris = entry.redirect_uris.iter().filter_map(|at| self.redirect_uri(at)).collect();
        let mut scopes: Vec<String> = vec!["openid".to_owned()];
        for at in entry.scopes.iter().flatten() {
            let scope = |c: char| ('!'..='~').contains(&c) && c != '"' && c != '\\';
            if at.value.is_empty() || !at.value.chars().all(scope) {
                self.fault(at, "this is no scope", "list each by itself, without blanks");
            }
            if !scopes.contains(&at.value) {
                scopes.push(at.value.clone());
            }
        }
        let client_id = self.fill(&entry.client_id);
        let client_secret = entry.client_secret.as_ref().map(|at| Secret::new(self.fill(at)));
        Some(LoginConfig {
            name,
            authorize_url: authorize_url?,
            token_url: token_url?,
            client_id,
            client_secret,
            redirect_uris,
            scopes,
            token: entry.token,
        })
    }

    /// Https, or this machine; also an application's own scheme (`app.example:/back`), as RFC 8252 has it.
    fn redirect_uri(&mut self, at: &Spanned<String>) -> Option<String> {
        let text = self.fill(at);
        let fits = match reqwest::Url::parse(&text) {
            Ok(url) if url.fragment().is_some() || text.contains('*') => false,
            Ok(url) => match url.scheme() {
                "https" => true,
                "http" => matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")),
                scheme => scheme.contains('.'),
            },
            Err(_) => false,
        };
        if !fits {
            let hint = "a whole https address without `#` and `*`; http only on the user's own machine";
            self.faults.add(self.text, yaml::place_of(at), "codes must not be sent back to this address", hint);
        }
        fits.then_some(text)
    }
}
