//! `cors:`: pages of which other sites may ask from a browser. An exact list; there is no wildcard.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::fault::{Faults, SourceText};
use crate::model::yaml::{self, Spanned};

const MAX_AGE_S: u32 = 600;
/// Browsers keep a preflight's answer no longer than a day.
const MAX_AGE_S_MAX: u32 = 86_400;

/// As it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CorsEntry {
    /// `https://portal.example.gov.cn`, with a port where it is not the scheme's own.
    pub origins: Vec<Spanned<String>>,
    /// Whether a browser may send client certificates and cookies along. Tokens need it not.
    pub credentials: bool,
    /// How long a browser may keep the answer to its question.
    pub max_age_s: Option<Spanned<u32>>,
}

/// Checked. Without origins: off.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// As browsers write them.
    pub origins: Vec<String>,
    pub credentials: bool,
    pub max_age_s: u32,
}

impl Cors {
    pub(super) fn read(entry: &CorsEntry, file: &Arc<SourceText>, faults: &mut Faults) -> Self {
        let mut origins = Vec::new();
        for at in &entry.origins {
            match serialized(&at.value) {
                Ok(origin) => origins.push(origin),
                Err(hint) => {
                    faults.add(file, yaml::place_of(at), format!("`{}` is no origin to list", at.value), hint);
                }
            }
        }
        let max_age_s = entry.max_age_s.as_ref().map_or(MAX_AGE_S, |at| at.value);
        if let Some(at) = entry.max_age_s.as_ref().filter(|at| at.value > MAX_AGE_S_MAX) {
            let hint = format!("at most {MAX_AGE_S_MAX}: a browser keeps it no longer");
            faults.add(file, yaml::span(at), "this is more than a day", hint);
        }
        Self { origins, credentials: entry.credentials, max_age_s }
    }
}

/// The origin as browsers write it: lower case, without the scheme's own port.
fn serialized(text: &str) -> Result<String, &'static str> {
    if text == "*" || text.contains('*') {
        return Err("there is no wildcard: list every site, or pages of any could ask as whoever looks at them");
    }
    let shape = "write for example `https://portal.example.gov.cn` or `http://localhost:3000`, without a path";
    let lower = text.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or(shape)?;
    let own = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return Err(shape),
    };
    let authority = authority.strip_suffix(own).unwrap_or(authority);
    let plain = authority.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    if authority.is_empty() || !plain || authority.parse::<http::uri::Authority>().is_err() {
        return Err(shape);
    }
    Ok(format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_exact_and_written_as_browsers_do() {
        for (text, origin) in [
            ("https://Portal.Example.gov.cn", Some("https://portal.example.gov.cn")),
            ("https://portal.example:443", Some("https://portal.example")),
            ("http://localhost:3000", Some("http://localhost:3000")),
            ("http://[::1]:3000", Some("http://[::1]:3000")),
            ("*", None),
            ("https://*.example.gov.cn", None),
            ("null", None),
            ("portal.example.gov.cn", None),
            ("https://portal.example/", None),
            ("https://user@portal.example", None),
            ("https://", None),
            ("file:///x", None),
            ("https://户像.example", None),
        ] {
            assert_eq!(serialized(text).ok().as_deref(), origin, "{text}");
        }
    }
}
