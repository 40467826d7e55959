//! From `sign` as it is written to [`Signing`]: which keys a scheme takes, and what its texts are made of.

use http::HeaderName;

use super::super::mounted::Found;
use super::super::{Compiler, Instance};
use super::format::{BodyDigest, Digits, Hash, Scheme, Sign};
use super::{By, Clock, Hole, Member, Origin, Parameters, Piece, Seal, Secret, Session, Signature, Signing, Text};
use crate::base::fault::Place;
use crate::model::binding::headers;
use crate::model::yaml::{self, Spanned};

type Written<'a> = Option<&'a Spanned<String>>;

/// Placeholders of what is signed; of what is sent; of an HMAC's key.
const SIGNED: &[Hole] = &[
    Hole::Secret,
    Hole::Method,
    Hole::Path,
    Hole::Target,
    Hole::Query,
    Hole::Parameters,
    Hole::Body,
    Hole::BodyDigest,
    Hole::Timestamp,
    Hole::Nonce,
    Hole::AppKey,
];
/// Without the secret, which is a private key.
const SIGNED_ALONE: &[Hole] = match SIGNED {
    [_, rest @ ..] => rest,
    [] => &[],
};
const SENT: &[Hole] = &[Hole::Timestamp, Hole::Nonce, Hole::AppKey, Hole::BodyDigest, Hole::Signature];
const SENT_IN_BODY: &[Hole] = &[Hole::Timestamp, Hole::Nonce, Hole::AppKey, Hole::Signature];
const SORTED: &[Hole] = &[Hole::Timestamp, Hole::Nonce, Hole::AppKey];
const KEYED: &[Hole] = &[Hole::Secret, Hole::AppKey, Hole::Timestamp, Hole::Nonce];

const DIGEST_KEYS: &[&str] = &["app_key", "encoding", "timestamp", "body_digest", "parameters"];
const SM2_KEYS: &[&str] = &["user_id", "form", "app_key", "encoding", "timestamp", "body_digest", "parameters"];
const HMAC_KEYS: &[&str] = &["app_key", "encoding", "timestamp", "body_digest", "parameters", "hmac_key"];

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "api-key",
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::Oauth2 => "oauth2",
            Self::Hmac => "hmac",
            Self::Digest => "digest",
            Self::HmacParams => "hmac-params",
            Self::HmacHeader => "hmac-header",
            Self::Sm2 => "sm2",
            Self::Delegation => "delegation",
        }
    }

    /// The key that `session` may stand in for.
    fn secret(self) -> Option<&'static str> {
        match self {
            Self::ApiKey => Some("key"),
            Self::Bearer => Some("token"),
            Self::Hmac | Self::Digest | Self::HmacParams | Self::HmacHeader => Some("secret"),
            Self::Basic | Self::Oauth2 | Self::Delegation | Self::Sm2 => None,
        }
    }

    /// The keys it needs, and those it may have.
    fn keys(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::ApiKey => (&["key"], &["header", "query"]),
            Self::Bearer => (&["token"], &[]),
            Self::Basic => (&["user", "password"], &[]),
            Self::Oauth2 => (&["token_url", "client_id", "client_secret"], &["scope", "client_auth"]),
            Self::Hmac => (&["hash", "secret", "text", "send"], HMAC_KEYS),
            Self::Digest => (&["hash", "secret", "text", "send"], DIGEST_KEYS),
            Self::HmacParams => (&["hash", "app_key", "secret"], &[]),
            Self::HmacHeader => (&["hash", "header", "key_id", "secret"], &[]),
            Self::Sm2 => (&["key", "text", "send"], SM2_KEYS),
            Self::Delegation => (&["key", "issuer", "audience", "roles"], &["key_id", "actor", "claims"]),
        }
    }
}

impl Sign {
    /// The keys that are there, and where.
    fn given(&self) -> Vec<(&'static str, Place)> {
        fn at<T>(name: &'static str, value: Option<&Spanned<T>>) -> Option<(&'static str, Place)> {
            value.map(|value| (name, yaml::span(value)))
        }
        let all = [
            at("header", self.header.as_ref()),
            at("query", self.query.as_ref()),
            at("key", self.key.as_ref()),
            at("token", self.token.as_ref()),
            at("user", self.user.as_ref()),
            at("password", self.password.as_ref()),
            at("token_url", self.token_url.as_ref()),
            at("client_id", self.client_id.as_ref()),
            at("client_secret", self.client_secret.as_ref()),
            at("scope", self.scope.as_ref()),
            at("client_auth", self.client_auth.as_ref()),
            at("hash", self.hash.as_ref()),
            at("app_key", self.app_key.as_ref()),
            at("key_id", self.key_id.as_ref()),
            at("issuer", self.issuer.as_ref()),
            at("audience", self.audience.as_ref()),
            at("actor", self.actor.as_ref()),
            at("roles", self.roles.values().next()),
            at("claims", self.claims.first()),
            at("secret", self.secret.as_ref()),
            at("user_id", self.user_id.as_ref()),
            at("form", self.form.as_ref()),
            at("text", self.text.as_ref()),
            at("hmac_key", self.hmac_key.as_ref()),
            at("encoding", self.encoding.as_ref()),
            at("timestamp", self.timestamp.as_ref()),
            at("body_digest", self.body_digest.as_ref()),
            at("parameters", self.parameters.as_ref()),
            at("send", self.send.as_ref()),
            at("session", self.session.as_deref()),
        ];
        all.into_iter().flatten().collect()
    }
}

impl Default for Seal {
    fn default() -> Self {
        Self {
            app_key: Origin::default(),
            secret: None,
            signature: None,
            timestamp: Clock::Seconds,
            body_digest: BodyDigest { hash: Hash::Sha256, encoding: Digits::Hex },
            parameters: Parameters {
                pair: "=".to_owned(),
                join: "&".to_owned(),
                encoded: false,
                skip_empty: false,
                also: Vec::new(),
            },
            headers: Vec::new(),
            query: Vec::new(),
            body: Vec::new(),
        }
    }
}

fn text(pieces: &[Result<Hole, &str>]) -> Text {
    let piece = |piece: &Result<Hole, &str>| match piece {
        Ok(hole) => Piece::Hole(*hole),
        Err(literal) => Piece::Literal(Origin::Text(Secret::new((*literal).to_owned()))),
    };
    Text(pieces.iter().map(piece).collect())
}

impl Compiler<'_> {
    /// And where its session's address is from. `None` means that at least one fault was added.
    pub(in crate::model::binding::connection) fn sign(
        &mut self,
        sign: &Sign,
        instance: Option<&Instance>,
    ) -> Option<(Signing, Origin)> {
        self.fitting(sign)?;
        let (mut session, mut delegation, mut address) = (None, None, Origin::default());
        if sign.session.is_some() {
            let (call, found) = self.session(sign, instance)?;
            (session, address) = (Some(call), found);
        }
        let seal = match sign.scheme.value {
            Scheme::ApiKey => self.api_key(sign, instance)?,
            Scheme::Bearer => {
                let secret = self.secret_or_session(sign, sign.token.as_ref(), instance);
                let sent = text(&[Err("Bearer "), Ok(Hole::Secret)]);
                Seal { secret: secret?, headers: vec![(http::header::AUTHORIZATION, sent)], ..Seal::default() }
            }
            Scheme::Basic => {
                let (user, password) =
                    (self.told(sign.user.as_ref(), instance), self.secret(sign.password.as_ref(), instance));
                let headers = vec![(http::header::AUTHORIZATION, text(&[Err("Basic "), Ok(Hole::Basic)]))];
                Seal { app_key: user?, secret: Some(password?), headers, ..Seal::default() }
            }
            Scheme::Oauth2 => {
                let (call, found) = self.oauth2(sign, instance)?;
                (session, address) = (Some(call), found);
                let sent = text(&[Err("Bearer "), Ok(Hole::Secret)]);
                Seal { headers: vec![(http::header::AUTHORIZATION, sent)], ..Seal::default() }
            }
            Scheme::Hmac | Scheme::Digest | Scheme::Sm2 => self.declared(sign, instance)?,
            Scheme::HmacParams => {
                let app_key = self.told(sign.app_key.as_ref(), instance);
                let secret = self.secret_or_session(sign, sign.secret.as_ref(), instance);
                let mut seal = Seal { app_key: app_key?, secret: secret?, ..Seal::default() };
                let (timestamp, nonce) = (text(&[Ok(Hole::Timestamp)]), text(&[Ok(Hole::Nonce)]));
                seal.parameters.also =
                    vec![("timestamp".to_owned(), timestamp.clone()), ("nonce".to_owned(), nonce.clone())];
                seal.headers = vec![
                    (HeaderName::from_static("x-app-key"), text(&[Ok(Hole::AppKey)])),
                    (HeaderName::from_static("x-timestamp"), timestamp),
                    (HeaderName::from_static("x-nonce"), nonce),
                    (HeaderName::from_static("x-sign"), text(&[Ok(Hole::Signature)])),
                ];
                seal.signature = Some(Signature {
                    by: By::Hmac(sign.hash.as_ref()?.value, text(&[Ok(Hole::Secret)])),
                    text: text(&[Ok(Hole::Parameters)]),
                    encoding: Digits::Hex,
                });
                seal
            }
            Scheme::Delegation => {
                let secret = self.delegation_key(sign.key.as_ref(), instance);
                delegation = Some(self.delegation(sign, instance)?);
                let sent = text(&[Err("Bearer "), Ok(Hole::Secret)]);
                Seal { secret: Some(secret?), headers: vec![(http::header::AUTHORIZATION, sent)], ..Seal::default() }
            }
            Scheme::HmacHeader => {
                let header = sign.header.as_ref().and_then(|name| self.header(&name.value, yaml::span(name)));
                let key_id = self.told(sign.key_id.as_ref(), instance);
                let secret = self.secret_or_session(sign, sign.secret.as_ref(), instance);
                let sent = [Ok(Hole::AppKey), Err(":"), Ok(Hole::Timestamp), Err(":"), Ok(Hole::Signature)];
                let line = Err("\n");
                let signed =
                    [Ok(Hole::Method), line, Ok(Hole::Target), line, Ok(Hole::Timestamp), line, Ok(Hole::BodyDigest)];
                Seal {
                    app_key: key_id?,
                    secret: secret?,
                    headers: vec![(header?, text(&sent))],
                    signature: Some(Signature {
                        by: By::Hmac(sign.hash.as_ref()?.value, text(&[Ok(Hole::Secret)])),
                        text: text(&signed),
                        encoding: Digits::Base64,
                    }),
                    ..Seal::default()
                }
            }
        };
        Some((Signing { session, delegation, seal }, address))
    }

    /// Whether the scheme's keys are there, and no others.
    fn fitting(&mut self, sign: &Sign) -> Option<()> {
        let scheme = sign.scheme.value;
        let (needed, more) = scheme.keys();
        let mut needed = needed.to_vec();
        if let Some(secret) = scheme.secret().filter(|_| sign.session.is_some()) {
            needed.retain(|key| *key != secret);
            needed.push("session");
        }
        let before = self.faults.len();
        let given = sign.given();
        for (name, at) in &given {
            if !needed.contains(name) && !more.contains(name) {
                let hint = format!("it takes {}", [needed.as_slice(), more].concat().join(", "));
                let message = if scheme.secret() == Some(name) {
                    format!("`{name}` and `session` stand for the same: one of them is enough")
                } else {
                    format!("`{name}` means nothing to the scheme {}", scheme.name())
                };
                self.faults.add(self.text, *at, message, hint);
            }
        }
        for name in needed.iter().filter(|name| !given.iter().any(|(there, _)| there == *name)) {
            let message = format!("the scheme {} needs `{name}`", scheme.name());
            let hint = "see \"Signing requests\" in docs/bindings.md";
            self.faults.add(self.text, yaml::span(&sign.scheme), message, hint);
        }
        (self.faults.len() == before).then_some(())
    }

    pub(super) fn filled(&mut self, written: Written<'_>, instance: Option<&Instance>) -> Option<String> {
        let written = written?;
        self.fill(&written.value, yaml::span(written), instance)
    }

    /// A text with variables and files.
    pub(super) fn secret(&mut self, written: Written<'_>, instance: Option<&Instance>) -> Option<Origin> {
        let at = yaml::span(written?);
        let found = self.found(&written?.value, at, instance)?;
        if matches!(found.origin, Origin::Text(_)) && found.text.is_empty() {
            self.faults.add(self.text, at, "the secret is empty", "set the variable it is read from");
            return None;
        }
        Some(found.origin)
    }

    /// A text with variables and files that may be empty.
    fn told(&mut self, written: Written<'_>, instance: Option<&Instance>) -> Option<Origin> {
        let written = written?;
        self.found(&written.value, yaml::span(written), instance).map(|found| found.origin)
    }

    /// `Some(None)`: the session gives it.
    fn secret_or_session(
        &mut self,
        sign: &Sign,
        written: Written<'_>,
        instance: Option<&Instance>,
    ) -> Option<Option<Origin>> {
        if sign.session.is_some() { Some(None) } else { self.secret(written, instance).map(Some) }
    }

    fn header(&mut self, name: &str, at: Place) -> Option<HeaderName> {
        let header = headers::name(name);
        header.map_err(|(message, hint)| self.faults.add(self.text, at, message, hint)).ok()
    }

    fn api_key(&mut self, sign: &Sign, instance: Option<&Instance>) -> Option<Seal> {
        let secret = self.secret_or_session(sign, sign.key.as_ref(), instance);
        let sent = text(&[Ok(Hole::Secret)]);
        let mut seal = Seal::default();
        match (&sign.header, &sign.query) {
            (Some(name), None) => seal.headers.push((self.header(&name.value, yaml::span(name))?, sent)),
            (None, Some(name)) => seal.query.push((name.value.clone(), sent)),
            _ => {
                let hint = "give one of them: `header: X-API-Key` or `query: apikey`";
                let message = "the scheme api-key has exactly one of `header` and `query`";
                self.faults.add(self.text, yaml::span(&sign.scheme), message, hint);
                return None;
            }
        }
        seal.secret = secret?;
        Some(seal)
    }

    fn oauth2(&mut self, sign: &Sign, instance: Option<&Instance>) -> Option<(Session, Origin)> {
        let client_id = self.told(sign.client_id.as_ref(), instance);
        let client_secret = self.secret(sign.client_secret.as_ref(), instance);
        let written = sign.token_url.as_ref()?;
        let Found { text: token_url, origin } =
            self.absolute(&written.value, "token_url", yaml::span(written), instance)?;
        let scope = match &sign.scope {
            Some(scope) => Some(self.filled(Some(scope), instance)?),
            None => None,
        };
        let auth = sign.client_auth.as_ref().map(|auth| auth.value).unwrap_or_default();
        let session = Session::Oauth2 { token_url, client_id: client_id?, client_secret: client_secret?, scope, auth };
        Some((session, origin))
    }

    /// Absolute, or a path below `base_url`.
    pub(super) fn absolute(&mut self, url: &str, key: &str, at: Place, instance: Option<&Instance>) -> Option<Found> {
        let found = self.found_in_address(url, at, instance)?;
        let found = if found.text.starts_with('/') { self.base_url(instance)?.and(found) } else { found };
        let fits = reqwest::Url::parse(&found.text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !fits {
            self.faults.add(self.text, at, format!("`{key}` is not an address"), "write `https://…` or `/oauth/token`");
            return None;
        }
        self.within(&found.text, at)?;
        Some(found)
    }

    /// `hmac`, `digest` and `sm2`: what the file says.
    fn declared(&mut self, sign: &Sign, instance: Option<&Instance>) -> Option<Seal> {
        let before = self.faults.len();
        let secret = match sign.scheme.value {
            Scheme::Sm2 => self.sm2_key(sign.key.as_ref(), instance),
            _ => self.secret_or_session(sign, sign.secret.as_ref(), instance).unwrap_or_default(),
        };
        let mut seal = Seal { secret, ..Seal::default() };
        if let Some(app_key) = &sign.app_key {
            seal.app_key = self.told(Some(app_key), instance).unwrap_or_default();
        }
        if let Some(written) = &sign.timestamp {
            seal.timestamp = self.clock(written).unwrap_or(Clock::Seconds);
        }
        if let Some(digest) = &sign.body_digest {
            seal.body_digest = digest.value;
        }
        if let Some(Spanned { value: given, .. }) = &sign.parameters {
            seal.parameters = Parameters {
                pair: given.pair.clone(),
                join: given.join.clone(),
                encoded: given.encoded,
                skip_empty: given.skip_empty,
                also: self.texts(&given.also, SORTED, instance),
            };
        }
        let written = sign.text.as_ref()?;
        let holes = if sign.scheme.value == Scheme::Sm2 { SIGNED_ALONE } else { SIGNED };
        let signed = self.template(written, holes, instance).unwrap_or_default();
        let by = self.by(sign, &signed, before, instance)?;
        self.send(sign, &signed, &mut seal, instance);
        let uses_app_key = sign.app_key.is_some();
        let names_it = |text: &Text| text.has(Hole::AppKey);
        let named = names_it(&signed)
            || matches!(&by, By::Hmac(_, key) if names_it(key))
            || seal.headers.iter().any(|(_, text)| names_it(text))
            || seal.query.iter().chain(&seal.parameters.also).any(|(_, text)| names_it(text))
            || seal.body.iter().any(|member| names_it(&member.text));
        if named && !uses_app_key {
            let hint = "give it: `app_key: \"${NAME}\"`";
            self.faults.add(self.text, yaml::span(written), "`{app_key}` is used and there is none", hint);
        }
        seal.signature = Some(Signature {
            by,
            text: signed,
            encoding: sign.encoding.as_ref().map_or(Digits::Hex, |encoding| encoding.value),
        });
        (self.faults.len() == before).then_some(seal)
    }

    fn by(&mut self, sign: &Sign, signed: &Text, before: usize, instance: Option<&Instance>) -> Option<By> {
        let written = sign.text.as_ref()?;
        let (by, keyed, at) = match sign.scheme.value {
            Scheme::Sm2 => return self.sm2(sign),
            Scheme::Hmac => {
                let key = match &sign.hmac_key {
                    Some(key) => self.template(key, KEYED, instance).unwrap_or_default(),
                    None => text(&[Ok(Hole::Secret)]),
                };
                let has = key.has(Hole::Secret);
                (By::Hmac(sign.hash.as_ref()?.value, key), has, sign.hmac_key.as_ref().unwrap_or(written))
            }
            _ => (By::Digest(sign.hash.as_ref()?.value), signed.has(Hole::Secret), written),
        };
        if !keyed && self.faults.len() == before {
            let hint = "without `{secret}`, anybody can make this signature";
            self.faults.add(self.text, yaml::span(at), "what is signed with does not hold the secret", hint);
        }
        Some(by)
    }

    fn send(&mut self, sign: &Sign, signed: &Text, seal: &mut Seal, instance: Option<&Instance>) {
        let Some(send) = &sign.send else { return };
        for (name, written) in &send.value.headers {
            let header = self.header(name, yaml::span(written));
            if let Some((header, text)) = header.zip(self.template(written, SENT, instance)) {
                seal.headers.push((header, text));
            }
        }
        seal.query = self.texts(&send.value.query, SENT, instance);
        for (name, written) in &send.value.body {
            let bare = written.value.strip_suffix("#}").map(|bare| format!("{bare}}}"));
            let number = bare.is_some();
            let written = Spanned { value: bare.unwrap_or_else(|| written.value.clone()), ..written.clone() };
            if let Some(text) = self.template(&written, SENT_IN_BODY, instance) {
                seal.body.push(Member { name: name.clone(), text, number });
            }
        }
        let in_body = seal.body.iter().any(|member| member.text.has(Hole::Signature));
        let in_query = seal.query.iter().any(|(_, text)| text.has(Hole::Signature));
        let sent = in_body || in_query || seal.headers.iter().any(|(_, text)| text.has(Hole::Signature));
        if !sent {
            let hint = "say where it goes: `send: {headers: {X-Sign: \"{signature}\"}}`";
            self.faults.add(self.text, yaml::span(send), "the signature is sent nowhere", hint);
        }
        if in_body && (signed.has(Hole::Body) || signed.has(Hole::BodyDigest)) {
            let hint = "sign `{parameters}`, which leave the signature out, or send it in a header";
            self.faults.add(self.text, yaml::span(send), "the body cannot hold a signature over itself", hint);
        }
    }
}
