//! `${file:NAME}`: texts that stand in files of the folder of secrets, and what of a connection changes with them.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;

use super::sign::{Origin, Secret, Session, Signing};
use super::{Compiler, Connection, Instance, instances};
use crate::base::fault::Place;
use crate::model::binding::format::Protocol;
use crate::model::binding::platform::is_at;

/// Which part of a connection a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    BaseUrl,
    /// Of [`Connection::standbys`].
    Standby(usize),
    /// Of [`Connection::headers`].
    Header(usize),
    /// The address of a session, or of an `oauth2` token.
    Session,
    Ca,
    Certificate,
    Key,
    /// The key of one of [`Connection::ciphers`].
    Cipher(usize),
}

/// A text as it is now, and what it is made of.
pub(super) struct Found {
    pub text: String,
    pub origin: Origin,
}

impl Found {
    /// A path below an address.
    pub(super) fn and(self, path: Self) -> Self {
        let parts = |found: &Origin| match found {
            Origin::Joined { parts, .. } => parts.to_vec(),
            one => vec![one.clone()],
        };
        let whole = matches!(self.origin, Origin::File(_));
        let text = self.text + &path.text;
        if !self.origin.is_mounted() && !path.origin.is_mounted() {
            return Self { origin: Origin::Text(Secret::new(text.clone())), text };
        }
        // An address that is whole in a file is written there as an address is.
        let parts =
            if whole { vec![self.origin, path.origin] } else { [parts(&self.origin), parts(&path.origin)].concat() };
        Self { text, origin: Origin::Joined { parts: parts.into(), encoded: !whole } }
    }
}

/// The name in `${file:NAME}`, where that is the whole text.
pub(super) fn alone(text: &str) -> Option<&str> {
    text.strip_prefix("${file:")?.strip_suffix('}').filter(|name| !name.contains('}'))
}

/// What a file holds, without a line end; none: it cannot be read.
fn held(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Some(line.to_owned())
}

impl Compiler<'_> {
    /// A text with variables, columns and files. In an address, what a file holds beside other text is percent-encoded.
    pub(super) fn found(&mut self, value: &str, at: Place, instance: Option<&Instance>) -> Option<Found> {
        self.joined(value, at, instance, false)
    }

    pub(super) fn found_in_address(&mut self, value: &str, at: Place, instance: Option<&Instance>) -> Option<Found> {
        self.joined(value, at, instance, true)
    }

    fn joined(&mut self, value: &str, at: Place, instance: Option<&Instance>, encoded: bool) -> Option<Found> {
        let mut parts = Vec::new();
        let mut rest = value;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, tail)) = after.split_once('}') else { break };
            literal(&mut parts, before);
            rest = tail;
            let column = |column: &str| instance.and_then(|instance| instance.columns.get(column).cloned());
            let text = match (name.strip_prefix("file:"), name.strip_prefix("instance.")) {
                (Some(file), _) => {
                    parts.push(self.secret_file(file, at)?);
                    continue;
                }
                (_, Some(name)) => column(name),
                _ => (self.variables)(name),
            };
            let Some(text) = text else {
                instances::undefined(self.text, at, name, self.faults);
                return None;
            };
            match alone(&text).filter(|_| name.starts_with("instance.")) {
                Some(file) => parts.push(self.secret_file(file, at)?),
                None => literal(&mut parts, &text),
            }
        }
        literal(&mut parts, rest);
        let one = if parts.len() == 1 { parts.pop() } else { None };
        let origin = match one {
            Some(one) => one,
            None if parts.is_empty() => Origin::default(),
            None => Origin::Joined { parts: parts.into(), encoded },
        };
        let mut now = |path: &Path| Ok::<_, Infallible>(Secret::new(self.now(path)));
        let text = origin.text(&mut now).unwrap_or_else(|never| match never {});
        Some(Found { text: text.reveal().to_owned(), origin })
    }

    /// What a file holds now. Where files are only looked at, it need not be there: as with variables.
    pub(super) fn now(&self, path: &Path) -> String {
        held(path).unwrap_or_else(|| {
            let folder = self.egress.secrets_folder();
            let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
            (self.variables)(&format!("file:{name}")).unwrap_or_default()
        })
    }

    pub(super) fn secret_file(&mut self, name: &str, at: Place) -> Option<Origin> {
        let Some(path) = self.egress.secret_file(name) else {
            let hint = "it stands in the folder that `egress.secrets` of gateway.yaml names (/run/secrets without it)";
            self.faults.add(self.text, at, format!("`{name}` is not a file of the folder of secrets"), hint);
            return None;
        };
        let there = std::fs::File::open(&path).is_ok() || (self.variables)(&format!("file:{name}")).is_some();
        if !there {
            let hint = "mount it, readable by the gateway";
            self.faults.add(self.text, at, format!("the secret's file `{name}` cannot be read"), hint);
            return None;
        }
        Some(Origin::File(path))
    }
}

/// Adds text, to the text before it where there is some.
fn literal(parts: &mut Vec<Origin>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Origin::Text(before)) => *before = Secret::new(format!("{}{text}", before.reveal())),
        _ => parts.push(Origin::Text(Secret::new(text.to_owned()))),
    }
}

/// The address as it is asked, where a source of this protocol can be asked there.
pub(super) fn address(protocol: Protocol, url: &str) -> Result<&str, Unfit> {
    let schemes: &[&str] = match protocol {
        Protocol::Sql => &["sqlite:", "postgres://", "postgresql://"],
        _ => &["http://", "https://"],
    };
    let parses = protocol == Protocol::Sql || reqwest::Url::parse(url).is_ok();
    if !parses || !schemes.iter().any(|scheme| url.starts_with(scheme)) {
        let hint = format!("it starts with {}", schemes.join(" or "));
        return Err(Unfit { what: "is not an address this protocol can call", hint });
    }
    if protocol != Protocol::Sql && url.contains(['?', '#']) {
        let hint = "write parameters under a request's `query`".to_owned();
        return Err(Unfit { what: "has parameters", hint });
    }
    Ok(url.trim_end_matches('/'))
}

/// Why an address is none to ask at; without it.
pub(super) struct Unfit {
    pub what: &'static str,
    pub hint: String,
}

impl Connection {
    /// The same with what its files hold now: a text for each of [`Connection::mounted`]. The error says what is of no use,
    /// without it.
    pub fn with(&self, texts: &[Secret]) -> Result<Self, String> {
        let mut next = self.clone();
        for ((place, _), text) in self.mounted.iter().zip(texts) {
            let address = || {
                let fits = address(self.protocol, text.reveal()).map(|url| Secret::new(url.to_owned()));
                let fits = fits.map_err(|unfit| format!("what a secret's file holds for `base_url` {}", unfit.what))?;
                match &self.platform {
                    Some(ground) if !is_at(&ground.base_url, fits.reveal()) => {
                        Err("what a secret's file holds for `base_url` is not at the platform's host".to_owned())
                    }
                    _ => Ok(fits),
                }
            };
            let pem = |key: &str| match text.reveal().contains("-----BEGIN") {
                true => Ok(Some(text.clone())),
                false => Err(format!("what a secret's file holds for `tls.{key}` is not PEM")),
            };
            match *place {
                Where::BaseUrl => next.base_url = address()?,
                Where::Standby(at) => {
                    let address = address()?;
                    if let Some(standby) = next.standbys.get_mut(at) {
                        *standby = address;
                    }
                }
                Where::Header(at) => {
                    let value = HeaderValue::from_bytes(text.reveal().as_bytes());
                    let mut value = value.map_err(|_| "what a secret's file holds is no header's value".to_owned())?;
                    value.set_sensitive(true);
                    if let Some((_, header)) = next.headers.get_mut(at) {
                        *header = value;
                    }
                }
                Where::Session => next.sign = next.sign.map(|signing| Arc::new(session_at(&signing, text))),
                Where::Ca => next.tls.ca = pem("ca")?,
                Where::Certificate => next.tls.certificate = pem("client_cert")?,
                Where::Key => next.tls.key = pem("client_key")?,
                Where::Cipher(at) => {
                    if let Some(cipher) = next.ciphers.get_mut(at) {
                        let name = Arc::clone(&cipher.name);
                        let why = || format!("what a secret's file holds is no key of the cipher `{name}`");
                        *cipher = cipher.keyed(text.reveal()).ok_or_else(why)?;
                    }
                }
            }
        }
        Ok(next)
    }
}

fn session_at(signing: &Signing, address: &Secret) -> Signing {
    // The file of an address may have a `/` at its end, before a path below it.
    let text = address.reveal();
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let text = format!("{scheme}://{}", rest.replace("//", "/"));
    let at = |session: &Session| session.at(text.clone());
    Signing { session: signing.session.as_ref().map(at), ..signing.clone() }
}
