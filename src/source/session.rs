//! What is fetched from a source and signs its calls for a while: OAuth 2.0 client credentials (RFC 6749 section 4.4), and
//! secrets and tokens of a platform's own.
//!
//! One fetch at a time, which no caller's deadline cuts short: whoever comes meanwhile waits for it. It is fetched anew
//! while the held one is still good. After a failure nobody asks again for a while, so that an endpoint that is down is
//! not asked once a call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::failure::Failure;
use super::secret::Secrets;
use super::sign::{Sealed, basic, seal};
use super::wire::{Outgoing, Plain};
use super::{charset, json};
use crate::base::code::ErrorCode;
use crate::base::percent::percent;
use crate::egress::{self, Address, Client};
use crate::model::binding::connection::sign::format::ClientAuth;
use crate::model::binding::connection::sign::{Secret, Session, SessionCall, Signing};
use crate::model::binding::format::Encoding;
use crate::model::binding::request::template::json_text;

const ANSWER_MAX: usize = 64 << 10;
const FORM: &str = "application/x-www-form-urlencoded";
/// One fetch takes no longer.
const FETCH_MAX: Duration = Duration::from_secs(10);
/// A token whose server does not say how long it lives is used this long.
const LIFE_DEFAULT: u64 = 300;
const LIFE_MAX: u64 = 86_400;
/// Given up this long before it expires, or at nine tenths of a short life.
const GIVE_UP: Duration = Duration::from_secs(30);
/// Fetched anew this long before it expires, or at three quarters of a short life.
const RENEW: Duration = Duration::from_secs(120);
/// After a failure; doubled with each that follows.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What one source's calls are signed with.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What the session was made with: other settings are another session.
    signing: Option<Arc<Signing>>,
    held: Option<Held>,
    running: Option<Running>,
    /// The last failure, and until when it stands for an answer.
    failed: Option<(Failure, Instant)>,
    failures: u32,
    /// Until then a refusal is no reason to fetch: the last fetched one was refused at once.
    useless: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Held {
    value: Secret,
    renew: Instant,
    until: Instant,
}

/// The client that fetches, and the secrets it fetches with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By<'a> {
    pub source: &'a Arc<str>,
    pub client: &'a Client,
    pub secrets: &'a Arc<Secrets>,
}

type Running = Shared<BoxFuture<'static, Result<Secret, Failure>>>;

enum Found {
    JsonValue(Secret),
    Wait(Running),
}

impl Sessions {
    /// The value; fetched where there is none, it is no longer good, or it is the one that was `refused`.
    pub async fn get(
        &self,
        by: By<'_>,
        signing: &Arc<Signing>,
        refused: Option<&Secret>,
        deadline: Instant,
    ) -> Result<Secret, Failure> {
        match self.find(by, signing, refused)? {
            Found::JsonValue(value) => Ok(value),
            Found::Wait(running) => timeout_at(deadline, running).await.map_err(|_| Failure::no_session())?,
        }
    }

    fn find(&self, by: By<'_>, signing: &Arc<Signing>, refused: Option<&Secret>) -> Result<Found, Failure> {
        let now = Instant::now();
        let mut state = lock(&self.0);
        if state.signing.as_ref() != Some(signing) {
            *state = State { signing: Some(Arc::clone(signing)), ..State::default() };
        }
        let paused = state.failed.as_ref().is_some_and(|(_, until)| *until > now);
        if let Some(held) = state.held.clone().filter(|held| held.until > now) {
            let bad = refused == Some(&held.value) && state.useless.is_none_or(|until| until <= now);
            if !bad {
                if held.renew <= now && !paused && state.running.is_none() {
                    let _in_the_background = self.begin(&mut state, by, signing);
                }
                return Ok(Found::JsonValue(held.value));
            }
        }
        if let Some(running) = &state.running {
            return Ok(Found::Wait(running.clone()));
        }
        match &state.failed {
            Some((failure, _)) if paused => Err(failure.clone()),
            _ => Ok(Found::Wait(self.begin(&mut state, by, signing))),
        }
    }

    /// In a task of its own: it goes on when its caller does not.
    fn begin(&self, state: &mut State, by: By<'_>, signing: &Arc<Signing>) -> Running {
        let (client, secrets) = (by.client.clone(), Arc::clone(by.secrets));
        let source = Arc::clone(by.source);
        let (signing, shared) = (Arc::clone(signing), Arc::clone(&self.0));
        let task = tokio::spawn(async move {
            let late = || Failure::new(ErrorCode::SourceTimeout, "the token endpoint does not answer");
            let fetched = timeout(FETCH_MAX, fetch(&client, &secrets, &signing)).await.unwrap_or_else(|_| Err(late()));
            let mut state = lock(&shared);
            if state.signing.as_ref() == Some(&signing) {
                state.ended(fetched.as_ref(), &source);
            }
            fetched.map(|held| held.value)
        });
        let ended = || Failure::new(ErrorCode::Internal, "fetching the access token was broken off");
        let running = task.map(move |done| done.unwrap_or_else(|_| Err(ended()))).boxed().shared();
        state.running = Some(running.clone());
        running
    }

    /// The source refused what had just been fetched: fetching again would not help for now.
    pub fn useless(&self) {
        lock(&self.0).useless = Some(Instant::now() + PAUSE_MAX);
    }
}

impl State {
    fn ended(&mut self, fetched: Result<&Held, &Failure>, source: &str) {
        self.running = None;
        match fetched {
            Ok(held) => {
                self.held = Some(held.clone());
                (self.failed, self.failures) = (None, 0);
            }
            Err(failure) => {
                let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX);
                self.failed = Some((failure.clone(), Instant::now() + pause));
                self.failures = self.failures.saturating_add(1);
                tracing::warn!(%source, detail = %failure.detail, "no session with the source");
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Only ever changed whole.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Held {
    fn new(value: Secret, asked: Instant, life: Duration) -> Self {
        let until = asked + life;
        Self { value, renew: until - RENEW.min(life / 4), until: until - GIVE_UP.min(life / 10) }
    }
}

async fn fetch(client: &Client, secrets: &Secrets, signing: &Signing) -> Result<Held, Failure> {
    match &signing.session {
        Some(Session::Oauth2 { token_url, client_id, client_secret, scope, auth }) => {
            let (id, secret) = (secrets.read(client_id)?, secrets.read(client_secret)?);
            oauth2(client, token_url, (&id, &secret, *auth), scope.as_deref()).await
        }
        Some(Session::Call(call)) => own(client, secrets, call).await,
        None => Err(Failure::new(ErrorCode::Internal, "the source has no token endpoint")),
    }
}

/// A platform's own way.
async fn own(client: &Client, secrets: &Secrets, call: &SessionCall) -> Result<Held, Failure> {
    let address = Address::parse(&call.url)?;
    let mut query = Vec::with_capacity(call.query.len());
    for (name, value) in &call.query {
        query.push((name.clone(), secrets.read(value)?.reveal().to_owned()));
    }
    let mut encoded = charset::parameters(&query, Encoding::Auto)?;
    if !encoded.is_empty() {
        encoded.insert(0, '?');
    }
    let uri = address.with_query(&encoded)?;
    let mut headers = address.headers().clone();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let (mut json, mut form, mut body) = (None, None, Bytes::new());
    if call.is_form {
        let mut all = Vec::with_capacity(call.body.len());
        for (name, value) in &call.body {
            all.push((name.clone(), secrets.read(value)?.reveal().to_owned()));
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
        body = charset::parameters(&all, Encoding::Auto)?.into();
        form = Some(all);
    } else if call.post {
        let mut text = String::from("{");
        for (name, value) in &call.body {
            text.push_str(if text.len() > 1 { "," } else { "" });
            json_text(name, &mut text);
            text.push(':');
            json_text(secrets.read(value)?.reveal(), &mut text);
        }
        text.push('}');
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        body = text.clone().into();
        json = Some(text);
    }
    let method = if call.post { Method::POST } else { Method::GET };
    let plain = Some(Box::new(Plain { query, json, form }));
    let out = Outgoing { method, uri, headers: HeaderMap::new(), body, plain };
    let sealed = match &call.seal {
        Some(own) => {
            let first = own.secret.as_ref().map(|origin| secrets.read(origin)).transpose()?;
            seal(own, secrets, first.as_ref(), &out, headers, Encoding::Auto)?
        }
        None => Sealed { uri: out.uri.clone(), headers, body: out.body.clone() },
    };
    let asked = Instant::now();
    let response = client.send(sealed.request(&out.method)).await;
    let response =
        response.map_err(|_| Failure::new(ErrorCode::SourceUnreachable, "the session's endpoint cannot be reached"))?;
    let status = response.status();
    if !status.is_success() {
        let detail = format!("the session's endpoint answered with HTTP status {}", status.as_u16());
        return Err(Failure::new(ErrorCode::SourceError, detail));
    }
    let answer = json::read(charset::utf8(read(response).await?)?)?;
    let found = |pointer| json::find(answer.root(), pointer).map(json::text).transpose();
    let secret = found(&call.secret_at)?.filter(|secret| !matches!(secret.as_ref(), "" | "null"));
    let secret = secret.ok_or_else(|| {
        Failure::new(ErrorCode::SourceError, "the session's endpoint gave no secret (sign.session.secret_at)")
    })?;
    let told = match &call.life_at {
        Some(at) => found(at)?.and_then(|life| life.parse().ok()),
        None => None,
    };
    let life = told.map_or(call.life, |seconds: u64| Duration::from_secs(seconds.min(LIFE_MAX)));
    Ok(Held::new(Secret::new(secret.into_owned()), asked, life))
}

async fn read(response: egress::Answer) -> Result<Bytes, Failure> {
    let read = response.bytes(ANSWER_MAX).await;
    read.map(|(_, bytes)| bytes).map_err(|unread| Failure::unread(unread, ANSWER_MAX))
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u64>,
}

async fn oauth2(
    client: &Client,
    token_url: &str,
    (id, secret, auth): (&Secret, &Secret, ClientAuth),
    scope: Option<&str>,
) -> Result<Held, Failure> {
    let mut form = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
    form.extend(scope.map(|scope| ("scope".to_owned(), scope.to_owned())));
    let address = Address::parse(token_url)?;
    let mut headers = address.headers().clone();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
    match auth {
        ClientAuth::ClientSecretBasic => {
            headers.insert(AUTHORIZATION, basic(&encoded(id.reveal()), &encoded(secret.reveal()))?);
        }
        ClientAuth::ClientSecretPost => {
            form.push(("client_id".to_owned(), id.reveal().to_owned()));
            form.push(("client_secret".to_owned(), secret.reveal().to_owned()));
        }
    }
    let form = charset::parameters(&form, Encoding::Auto)?;
    let asked = Instant::now();
    let request = Sealed { uri: address.whole()?, headers, body: form.into() }.request(&Method::POST);
    let response = client.send(request).await;
    let response =
        response.map_err(|_| Failure::new(ErrorCode::SourceUnreachable, "the token endpoint cannot be reached"))?;
    let status = response.status();
    if !status.is_success() {
        let other = match auth {
            ClientAuth::ClientSecretBasic => "client_secret_post",
            ClientAuth::ClientSecretPost => "client_secret_basic",
        };
        let mut detail = format!("the token endpoint answered with HTTP status {}", status.as_u16());
        if matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) {
            detail.push_str(&format!("; it may want `client_auth: {other}` (sign)"));
        }
        return Err(Failure::new(ErrorCode::SourceError, detail));
    }
    let bytes = read(response).await?;
    let answer: Answer = serde_json::from_slice(&bytes)
        .map_err(|_| Failure::bad("the token endpoint's answer is not as RFC 6749 section 5.1 says"))?;
    let life = Duration::from_secs(answer.expires_in.unwrap_or(LIFE_DEFAULT).min(LIFE_MAX));
    Ok(Held::new(Secret::new(answer.access_token), asked, life))
}

/// RFC 6749 section 2.3.1: id and secret are form-encoded before they are joined.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    percent(text, &mut out);
    out
}
