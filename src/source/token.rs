//! OAuth 2.0 client credentials (RFC 6749 section 4.4): one token a source, fetched by one call at a time.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::guard::body;
use super::rest::percent;
use super::sign::basic;
use crate::base::code::ErrorCode;
use crate::egress::Client;
use crate::model::binding::connection::sign::{Secret, Signing};

const ANSWER_MAX: usize = 64 << 10;
/// A token whose server does not say how long it lives is used this long.
const LIFE_DEFAULT: u64 = 300;
/// A token is given up this long before it expires, or at nine tenths of a short life.
const EARLY: u64 = 30;

/// The token of one source.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<Option<Token>>);

#[derive(Debug, Clone)]
struct Token {
    value: Secret,
    until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u64>,
}

impl Tokens {
    /// The token; fetched where there is none, it is about to expire, or it is the one that was `refused`.
    /// Whoever comes while one call fetches it waits for that call.
    pub async fn get(
        &self,
        client: &Client,
        signing: &Signing,
        refused: Option<&Secret>,
        deadline: Instant,
    ) -> Result<Secret, Failure> {
        let late = || Failure::new(ErrorCode::SourceTimeout, "no access token before the deadline");
        let mut held = timeout_at(deadline, self.0.lock()).await.map_err(|_| late())?;
        if let Some(token) = held.as_ref()
            && token.until > Instant::now()
            && refused != Some(&token.value)
        {
            return Ok(token.value.clone());
        }
        let token = timeout_at(deadline, fetch(client, signing)).await.map_err(|_| late())??;
        *held = Some(token.clone());
        Ok(token.value)
    }
}

async fn fetch(client: &Client, signing: &Signing) -> Result<Token, Failure> {
    let Signing::Oauth2 { token_url, client_id, client_secret, scope } = signing else {
        return Err(Failure::new(ErrorCode::Internal, "the source has no token endpoint"));
    };
    let mut form = "grant_type=client_credentials".to_owned();
    if let Some(scope) = scope {
        form.push_str("&scope=");
        percent(scope, &mut form);
    }
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(AUTHORIZATION, basic(&encoded(client_id), &encoded(client_secret.reveal()))?);
    let asked = Instant::now();
    let url = Url::parse(token_url).map_err(|_| Failure::new(ErrorCode::Internal, "`token_url` is not an address"))?;
    let response = client.request(Method::POST, url)?.headers(headers).body(form).send().await;
    let response =
        response.map_err(|_| Failure::new(ErrorCode::SourceUnreachable, "the token endpoint cannot be reached"))?;
    let status = response.status();
    if !status.is_success() {
        let detail = format!("the token endpoint answered with HTTP status {}", status.as_u16());
        return Err(Failure::new(ErrorCode::SourceError, detail));
    }
    let bytes = body::read(response, ANSWER_MAX).await?;
    let answer: Answer = serde_json::from_slice(&bytes)
        .map_err(|_| Failure::bad("the token endpoint's answer is not as RFC 6749 section 5.1 says"))?;
    let life = answer.expires_in.unwrap_or(LIFE_DEFAULT).min(86_400);
    let until = asked + Duration::from_secs(life.saturating_sub(EARLY.min(life / 10 + 1)));
    Ok(Token { value: Secret::new(answer.access_token), until })
}

/// RFC 6749 section 2.3.1: id and secret are form-encoded before they are joined.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    percent(text, &mut out);
    out
}
