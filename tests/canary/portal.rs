//! A portal that people log in at: it gives a code, and for the code a token, once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

use crate::identity_support::issuer::{Key, now};
use crate::identity_support::serve_routes;

/// Where browsers come back to.
pub const BACK: &str = "https://portal.example/back";
/// What the gateway shows the portal; it belongs in no log either.
pub const SECRET: &str = "d9b1d7db4cd6e70935368a1efb10e377";

/// A code that was given, and for whom.
struct Given {
    challenge: String,
    nonce: String,
    /// The claims of the token.
    who: Value,
}

pub struct Portal {
    pub url: String,
    key: Key,
    given: Mutex<HashMap<String, Given>>,
}

fn form(text: &str) -> HashMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://x/?{text}")).expect("a form");
    url.query_pairs().into_owned().collect()
}

impl Portal {
    /// Runs until the test ends.
    pub async fn start() -> Arc<Self> {
        let portal = Arc::new(std::sync::OnceLock::<Arc<Self>>::new());
        let answering = Arc::clone(&portal);
        let token = move |headers: HeaderMap, body: String| async move {
            answering.get().expect("it has started").token(&headers, &body)
        };
        let (url, _) = serve_routes(Router::new().route("/token", post(token))).await;
        let made = Arc::new(Self { url, key: Key::new(None), given: Mutex::default() });
        assert!(portal.set(Arc::clone(&made)).is_ok(), "it starts once");
        made
    }

    pub fn public_pem(&self) -> String {
        self.key.public_pem()
    }

    /// As an entry of `issuers` in gateway.yaml.
    pub fn as_issuer(&self) -> String {
        let url = &self.url;
        format!(
            "  - issuer: {url}\n    audience: huxiang\n    algorithms: [EdDSA]\n    keys: [\"${{PORTAL_PUBLIC_KEY}}\"]\n    \
             login: {{name: portal, authorize_url: '{url}/authorize', token_url: '{url}/token', client_id: huxiang-web, \
             client_secret: '${{PORTAL_SECRET}}', redirect_uris: ['{BACK}']}}\n"
        )
    }

    /// What happens in the browser: somebody agrees, and comes back with a code.
    pub fn authorize(&self, url: &str, who: Value) -> String {
        let asked = form(url.split_once('?').expect("parameters").1);
        let (challenge, nonce) = (asked["code_challenge"].clone(), asked["nonce"].clone());
        let code = format!("code-{}", &asked["state"][..20]);
        self.given.lock().expect("nobody panics here").insert(code.clone(), Given { challenge, nonce, who });
        code
    }

    fn token(&self, headers: &HeaderMap, body: &str) -> Response {
        let basic = format!("Basic {}", STANDARD.encode(format!("huxiang-web:{SECRET}")));
        if headers.get("authorization").is_none_or(|value| value != basic.as_str()) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let sent = form(body);
        let given = self.given.lock().expect("nobody panics here").remove(&sent["code"]);
        let verified = |given: &Given| {
            URL_SAFE_NO_PAD.encode(Sha256::digest(&sent["code_verifier"])) == given.challenge
                && sent["redirect_uri"] == BACK
        };
        let Some(given) = given.filter(verified) else {
            return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
        };
        let mut access = json!({"iss": self.url, "aud": "huxiang", "iat": now(), "exp": now() + 600});
        for (name, value) in given.who.as_object().into_iter().flatten() {
            access[name] = value.clone();
        }
        let access_token = self.key.sign(&access);
        let id_token = json!({
            "iss": self.url, "aud": "huxiang-web", "sub": access["sub"], "iat": now(), "exp": now() + 60,
            "nonce": given.nonce, "at_hash": URL_SAFE_NO_PAD.encode(&Sha512::digest(&access_token)[..32]),
        });
        let id_token = self.key.sign(&id_token);
        Json(json!({"access_token": access_token, "token_type": "Bearer", "id_token": id_token})).into_response()
    }
}
