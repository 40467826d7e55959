//! How requests of a source are signed: the compiled form of [`Sign`](format::Sign), variables filled in. All schemes are
//! one: texts with placeholders, one of which may be a signature over another text.

pub mod compile;
pub mod delegation;
pub mod format;
mod session;
pub mod sm2;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use format::{BodyDigest, ClientAuth, Digits, Hash, SignatureForm};

use crate::base::percent::percent;
use crate::base::pointer::Pointer;
use crate::model::binding::request::reading::Condition;

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
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

/// Where a text is that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Text(Secret),
    /// Read when it is used, so that a new one counts without a reload.
    File(PathBuf),
    /// One after the other; never parts of parts.
    Joined {
        parts: Box<[Origin]>,
        /// What files hold is percent-encoded: within an address, a password is not read as its end.
        encoded: bool,
    },
}

impl Default for Origin {
    fn default() -> Self {
        Self::Text(Secret::default())
    }
}

impl Origin {
    /// Whether a file is among its parts.
    pub fn is_mounted(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::File(_) => true,
            Self::Joined { parts, .. } => parts.iter().any(Self::is_mounted),
        }
    }

    /// Its text, with what `read` gives of each file.
    pub fn text<E>(&self, read: &mut dyn FnMut(&Path) -> Result<Secret, E>) -> Result<Secret, E> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => read(path),
            Self::Joined { parts, encoded } => {
                let mut text = String::new();
                for part in parts {
                    let own = part.text(read)?;
                    if *encoded && part.is_mounted() {
                        percent(own.reveal(), &mut text);
                    } else {
                        text.push_str(own.reveal());
                    }
                }
                Ok(Secret::new(text))
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// Where there is one, its value is the seal's secret.
    pub session: Option<Session>,
    /// Where there is one, the seal's secret signs tokens, and the token is what is sent.
    pub delegation: Option<Delegation>,
    pub seal: Seal,
}

/// What tokens in the caller's name say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    pub key_id: Option<String>,
    pub issuer: String,
    pub audience: String,
    pub actor: String,
    /// By the role here, the role there.
    pub roles: BTreeMap<String, String>,
    pub claims: Vec<String>,
}

impl Delegation {
    /// The caller's roles as the source knows them; none: it is not asked.
    pub fn roles_there<'d>(&'d self, roles: &[String]) -> BTreeSet<&'d str> {
        roles.iter().filter_map(|role| self.roles.get(role)).map(String::as_str).collect()
    }
}

/// Something that is fetched from the source (or beside it) and is good for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    Oauth2 {
        /// Absolute.
        token_url: String,
        client_id: Origin,
        client_secret: Origin,
        scope: Option<String>,
        auth: ClientAuth,
    },
    Call(Box<SessionCall>),
}

/// A call that gives the secret of other calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCall {
    /// Absolute.
    pub url: String,
    pub post: bool,
    pub query: Vec<(String, Origin)>,
    /// Members of its JSON body, or parameters of its form.
    pub body: Vec<(String, Origin)>,
    pub is_form: bool,
    /// How it is signed itself.
    pub seal: Option<Seal>,
    pub secret_at: Pointer,
    pub life_at: Option<Pointer>,
    pub life: Duration,
    /// Where this holds of an answer to another call, the secret is fetched anew.
    pub renew_on: Option<Condition>,
}

impl Session {
    /// Where it is fetched, absolute.
    pub fn url(&self) -> &str {
        match self {
            Self::Oauth2 { token_url, .. } => token_url,
            Self::Call(call) => &call.url,
        }
    }

    /// The same, fetched elsewhere.
    pub fn at(&self, address: String) -> Self {
        match self.clone() {
            Self::Oauth2 { client_id, client_secret, scope, auth, .. } => {
                Self::Oauth2 { token_url: address, client_id, client_secret, scope, auth }
            }
            Self::Call(call) => Self::Call(Box::new(SessionCall { url: address, ..*call })),
        }
    }

    pub fn renew_on(&self) -> Option<&Condition> {
        match self {
            Self::Oauth2 { .. } => None,
            Self::Call(call) => call.renew_on.as_ref(),
        }
    }
}

/// What is added to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    pub app_key: Origin,
    /// Absent where nothing needs it, or the session gives it.
    pub secret: Option<Origin>,
    /// Absent where nothing is signed: keys, tokens, Basic.
    pub signature: Option<Signature>,
    pub timestamp: Clock,
    pub body_digest: BodyDigest,
    pub parameters: Parameters,
    pub headers: Vec<(http::HeaderName, Text)>,
    pub query: Vec<(String, Text)>,
    /// Members of a JSON body, or parameters of a form.
    pub body: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub text: Text,
    /// In JSON, written without quotation marks.
    pub number: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub by: By,
    pub text: Text,
    pub encoding: Digits,
}

/// What makes the signature's bytes out of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    Digest(Hash),
    /// With its key.
    Hmac(Hash, Text),
    /// With the seal's secret as private key.
    Sm2 {
        user_id: String,
        form: SignatureForm,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clock {
    Seconds,
    Milliseconds,
    /// For `strftime`, at +08:00.
    Pattern(String),
}

/// How parameters are written when they are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    pub pair: String,
    pub join: String,
    pub encoded: bool,
    pub skip_empty: bool,
    pub also: Vec<(String, Text)>,
}

/// A text with placeholders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(pub Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// May come from a variable: never printed.
    Literal(Origin),
    Hole(Hole),
}

impl Text {
    pub fn has(&self, hole: Hole) -> bool {
        self.0.contains(&Piece::Hole(hole))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hole {
    Method,
    /// As it is sent.
    Path,
    /// Path and query as they are sent.
    Target,
    /// Query parameters, sorted.
    Query,
    /// Query parameters, and those of a form or members of a JSON body, sorted.
    Parameters,
    Body,
    BodyDigest,
    Timestamp,
    Nonce,
    AppKey,
    Secret,
    Signature,
    /// `base64(app_key:secret)`; nobody writes it.
    Basic,
}

impl Hole {
    pub const NAMES: [(&'static str, Self); 12] = [
        ("method", Self::Method),
        ("path", Self::Path),
        ("target", Self::Target),
        ("query", Self::Query),
        ("parameters", Self::Parameters),
        ("body", Self::Body),
        ("body_digest", Self::BodyDigest),
        ("timestamp", Self::Timestamp),
        ("nonce", Self::Nonce),
        ("app_key", Self::AppKey),
        ("secret", Self::Secret),
        ("signature", Self::Signature),
    ];
}
