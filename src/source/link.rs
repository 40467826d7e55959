//! The address of the next page: as a `Link` header tells it (RFC 8288), and where it may lead.

use http::header::LINK;
use http::{HeaderMap, Uri};
use reqwest::Url;

use super::charset;
use super::connector::Call;
use super::failure::Failure;
use crate::model::binding::format::Encoding;

/// Longest address that is followed.
const CHARS_MAX: usize = 2_048;

/// The target of the first link that is the next page of this one.
pub(crate) fn next(headers: &HeaderMap) -> Option<&str> {
    headers.get_all(LINK).iter().filter_map(|header| header.to_str().ok()).find_map(|header| {
        let mut rest = header;
        loop {
            let (_, after) = rest.split_once('<')?;
            let (target, after) = after.split_once('>')?;
            let (parameters, following) = parameters(after);
            // A link with another context tells nothing of this page.
            if is_next(&parameters) && !parameters.iter().any(|(name, _)| name.eq_ignore_ascii_case("anchor")) {
                return Some(target.trim());
            }
            rest = following;
        }
    })
}

/// Only the first `rel` counts; it holds relation types between blanks.
fn is_next(parameters: &[(&str, &str)]) -> bool {
    let rel = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("rel"));
    rel.is_some_and(|(_, value)| value.split_ascii_whitespace().any(|kind| kind.eq_ignore_ascii_case("next")))
}

/// The parameters of one link, and what follows its comma.
fn parameters(mut rest: &str) -> (Vec<(&str, &str)>, &str) {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start();
        let Some(after) = rest.strip_prefix(';') else {
            return (found, rest.strip_prefix(',').unwrap_or(rest));
        };
        let end = after.find(['=', ';', ',']).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let Some(value) = after.strip_prefix('=').map(str::trim_start) else {
            found.push((name.trim(), ""));
            rest = after;
            continue;
        };
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => value.split_at(value.find([';', ',']).unwrap_or(value.len())),
        };
        found.push((name.trim(), value.trim()));
        rest = after;
    }
}

/// The next page's address: of the source's own host, without what the signature adds anew.
pub(crate) fn followed(call: &Call<'_>, here: &Uri, told: &str) -> Result<String, Failure> {
    let elsewhere = || {
        let detail = "the next page's address is of another host than `base_url`, and is not asked";
        Failure::bad(detail)
    };
    let here = Url::parse(&here.to_string()).map_err(|_| elsewhere())?;
    let encoding = call.connection().encoding;
    let told = written(told, encoding)?;
    let next = Some(told).filter(|told| told.len() <= CHARS_MAX).and_then(|told| here.join(&told).ok());
    let mut next = next.ok_or_else(|| Failure::bad("the next page's address is none"))?;
    let own = next.origin() == here.origin() && next.username().is_empty() && next.password().is_none();
    if !own {
        return Err(elsewhere());
    }
    next.set_fragment(None);
    let anew = call.connection().sign.as_ref().map_or(&[][..], |signing| &signing.seal.query);
    let added = |part: &str| pair(part, encoding).is_some_and(|(name, _)| anew.iter().any(|(added, _)| *added == name));
    if let Some(raw) = next.query().filter(|_| !anew.is_empty()) {
        // What else the source said stays as it said it, byte for byte.
        let kept: Vec<&str> = raw.split('&').filter(|part| !part.is_empty() && !added(part)).collect();
        let kept = kept.join("&");
        next.set_query(Some(kept.as_str()).filter(|kept| !kept.is_empty()));
    }
    Ok(next.into())
}

/// What of an address's query is not ASCII, as the source reads its parameters.
fn written(told: &str, encoding: Encoding) -> Result<String, Failure> {
    let Some((path, query)) = told.split_once('?').filter(|_| encoding != Encoding::Auto) else {
        return Ok(told.to_owned());
    };
    let mut written = format!("{path}?");
    for c in query.chars() {
        if c.is_ascii() {
            written.push(c);
        } else {
            charset::percent(c.encode_utf8(&mut [0; 4]), encoding, &mut written)?;
        }
    }
    Ok(written)
}

/// The parameters of an address, not encoded; what is in no charset of the source is left as it is.
pub(crate) fn query(url: &Url, encoding: Encoding) -> Vec<(String, String)> {
    let parts = url.query().unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts.map(|part| pair(part, encoding).unwrap_or_else(|| (part.to_owned(), String::new()))).collect()
}

/// A parameter, by its name and value; none where it is not in the charset.
fn pair(part: &str, encoding: Encoding) -> Option<(String, String)> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    Some((charset::decoded(name, encoding)?, charset::decoded(value, encoding)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &'static str) -> Option<String> {
        next(&links(&[header])).map(str::to_owned)
    }

    fn links(headers: &[&'static str]) -> HeaderMap {
        headers.iter().map(|header| (LINK, http::HeaderValue::from_static(header))).collect()
    }

    #[test]
    fn the_next_page_is_found_among_all_links() {
        let cases = [
            (r#"</p?n=2>; rel="next""#, Some("/p?n=2")),
            ("</p?n=2>;rel=next", Some("/p?n=2")),
            (r#"</a>; rel="prev", </b>; title="x, y; <z>"; rel="last NEXT""#, Some("/b")),
            (r#"<>; rel=next"#, Some("")),
            (r#"</a>; rel="prev"; rel="next""#, None),
            (r#"</a>; rel="next"; anchor="/other""#, None),
            (r#"</a>; rel="nextarchive""#, None),
            (r#"</a>; crossorigin; rel=next"#, Some("/a")),
            ("</a>", None),
            ("no link at all; rel=next", None),
            ("", None),
            (r#"</a; rel="next""#, None),
            (r#"</a>; rel="next"#, Some("/a")),
        ];
        for (header, expected) in cases {
            assert_eq!(of(header).as_deref(), expected, "{header}");
        }
        let mut several = HeaderMap::new();
        for link in ["</a>; rel=self", "</b>; rel=next"] {
            several.append(LINK, http::HeaderValue::from_static(link));
        }
        assert_eq!(next(&several), Some("/b"));
    }
}
