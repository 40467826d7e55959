//! Why a call failed, before it is known how many requests were sent; and what operators may read of it.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use http::StatusCode;

use crate::base::code::ErrorCode;
use crate::egress::{Unanswered, Unfit, Unread, Unresolved};
use crate::model::binding::request::template::Unfilled;

/// Longest message of a source that is kept, in characters.
const MESSAGE_MAX: usize = 160;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub code: ErrorCode,
    pub detail: String,
    /// The endpoint is not there for now: another may be asked in its place.
    pub down: bool,
    /// It says that it answers nothing now, whatever it is asked: asked again, or in smaller pieces, it has only more to do.
    pub not_now: bool,
    /// What the source itself says of it. It may name anybody: for who tries a binding by hand, and not for a log.
    pub said: Option<String>,
}

impl Failure {
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), down: false, not_now: false, said: None }
    }

    /// An answer with this status. That a server erred (500) may be for the sake of what it was asked; that it has too much to do,
    /// or is not behind its proxy (502, 503, 504), is not.
    pub fn with_status(self, status: StatusCode) -> Self {
        use StatusCode as S;
        let not_now = matches!(status, S::BAD_GATEWAY | S::SERVICE_UNAVAILABLE | S::GATEWAY_TIMEOUT);
        Self { down: status.is_server_error(), not_now, ..self }
    }

    /// The endpoint did not answer, or says that it cannot for now.
    pub fn down(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { down: true, ..Self::new(code, detail) }
    }

    /// With what the source says of it, where it says anything.
    pub fn saying(self, said: Option<String>) -> Self {
        Self { said: said.filter(|said| !said.is_empty()), ..self }
    }

    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::SourceBadAnswer, detail)
    }

    /// An answer whose body was not had, of at most `max` bytes.
    pub fn unread(unread: Unread, max: usize) -> Self {
        match unread {
            Unread::TooLarge => Self::bad(format!("the answer is larger than {max} bytes (limits.answer_bytes_max)")),
            Unread::Cut => Self::down(ErrorCode::SourceUnreachable, unread.to_string()),
            Unread::Broken => Self::bad(unread.to_string()),
        }
    }

    /// Nothing was asked: what signs the calls was not there in time.
    pub fn no_session() -> Self {
        Self::new(ErrorCode::SourceTimeout, "no session with the source, or access token, before the deadline")
    }

    pub fn timeout() -> Self {
        Self::down(ErrorCode::SourceTimeout, "no answer before the deadline (limits.timeout_ms)")
    }

    /// It took the request, and did not begin to answer.
    pub fn silent() -> Self {
        Self::down(ErrorCode::SourceTimeout, "no answer began in time (first_byte_ms)")
    }
}

impl Failure {
    /// A request that got no answer. The reason is in words of ours: what the client says may hold addresses.
    pub fn unanswered(error: &Unanswered) -> Self {
        let Some(failed) = error.source() else {
            return Self::new(ErrorCode::SourceUnreachable, error.to_string());
        };
        if is_timeout(failed) {
            return Self::timeout();
        }
        if error.is_not_http() {
            let detail =
                "what is at its address and port does not answer in HTTP, or its headers do not end; see `base_url`";
            return Self::down(ErrorCode::SourceBadAnswer, detail);
        }
        let what = match reason(failed, &OF_SOURCES) {
            Some((_, reason)) => format!("the source cannot be reached: {reason}"),
            None if error.is_connect() => "the source cannot be reached".to_owned(),
            None => "the source closed the connection unanswered".to_owned(),
        };
        Self::down(ErrorCode::SourceUnreachable, what)
    }
}

/// What keeps a request from being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hindrance {
    Name,
    Refused,
    Tls,
}

/// How the settings are called that a reason speaks of.
pub(crate) struct Settings {
    pub authority: &'static str,
    pub address: &'static str,
    pub client: &'static str,
}

const OF_SOURCES: Settings = Settings { authority: "`tls.ca`", address: "`base_url`", client: "`tls`" };

/// What an operator can do something about.
pub(crate) fn reason(error: &(dyn Error + 'static), settings: &Settings) -> Option<(Hindrance, String)> {
    if let Some(Unresolved(why)) = error.downcast_ref::<Unresolved>() {
        return Some((Hindrance::Name, why.clone()));
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return tls_reason(error, settings).map(|why| (Hindrance::Tls, why));
    }
    let Some(io) = error.downcast_ref::<io::Error>() else {
        return error.source().and_then(|source| reason(source, settings));
    };
    // What an I/O error wraps is not its source, but what the wrapped one wraps is.
    match io.get_ref() {
        Some(inner) => reason(inner, settings),
        None if io.kind() == io::ErrorKind::ConnectionRefused => {
            Some((Hindrance::Refused, "nothing listens at its address and port".to_owned()))
        }
        None => None,
    }
}

fn tls_reason(error: &rustls::Error, settings: &Settings) -> Option<String> {
    use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

    let Settings { authority, address, client } = settings;
    let why = match error {
        Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => {
                &format!("an authority that is not known signed it; name that authority in {authority}")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                &format!("it is of another name than the host of {address}")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
            CertificateError::Revoked => "it was revoked",
            // As `openssl req -x509` makes them, unless it is told otherwise.
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                "it is made as an authority's (CA:TRUE); the department has one made for its server (CA:FALSE)"
            }
            _ => "it does not verify",
        },
        Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => {
            return Some(format!("it ended the TLS handshake; perhaps it asks for a client certificate ({client})"));
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            return Some("it does not speak TLS at that port: is it `http://`?".to_owned());
        }
        _ => return None,
    };
    Some(format!("its certificate is not accepted: {why}"))
}

/// The system gave the connection up.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::TimedOut) || error.source().is_some_and(is_timeout)
}

impl From<Unfit> for Failure {
    fn from(_: Unfit) -> Self {
        Self::new(ErrorCode::Internal, "the request's address is none; see `base_url`")
    }
}

impl From<Unfilled> for Failure {
    fn from(unfilled: Unfilled) -> Self {
        match unfilled {
            Unfilled::Missing(name) => {
                Self::new(ErrorCode::InputMissing, format!("the request needs `{{{name}}}`, which is not there"))
            }
            Unfilled::Unfit(why) => Self::new(ErrorCode::ValueInvalid, why),
        }
    }
}

/// A source's message without the values it was asked with and without long numbers (ids, telephones, amounts).
pub(crate) fn redacted(message: &str, keys: &[Arc<str>], inputs: &[(Arc<str>, String)]) -> String {
    let mut text: String = message.chars().take(4 * MESSAGE_MAX).collect();
    for value in keys.iter().map(AsRef::as_ref).chain(inputs.iter().map(|(_, value)| value.as_str())) {
        if value.chars().count() > 1 && text.contains(value) {
            text = text.replace(value, "…");
        }
    }
    let (mut out, mut digits) = (String::new(), String::new());
    for c in text.chars().chain(std::iter::once('\n')) {
        if c.is_numeric() {
            digits.push(c);
            continue;
        }
        if digits.chars().count() > 4 {
            digits = "…".to_owned();
        }
        let _ = write!(out, "{digits}{}", if c.is_control() { ' ' } else { c });
        digits.clear();
    }
    out.trim().chars().take(MESSAGE_MAX).collect()
}
