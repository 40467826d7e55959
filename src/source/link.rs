//! The address of the next page: as a `Link` header tells it (RFC 8288), and where it may lead.

use http::header::LINK;
use http::{HeaderMap, Uri};
use reqwest::Url;

use super::connector::Call;
use super::failure::Failure;

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
    let next = Some(told).filter(|told| told.len() <= CHARS_MAX).and_then(|told| here.join(told).ok());
    let mut next = next.ok_or_else(|| Failure::bad("the next page's address is none"))?;
    let own = next.origin() == here.origin() && next.username().is_empty() && next.password().is_none();
    if !own {
        return Err(elsewhere());
    }
    next.set_fragment(None);
    let added = |name: &str| {
        call.connection().sign.as_ref().is_some_and(|signing| signing.seal.query.iter().any(|(added, _)| added == name))
    };
    if next.query_pairs().any(|(name, _)| added(&name)) {
        let kept: Vec<(String, String)> = next.query_pairs().filter(|(name, _)| !added(name)).map(owned).collect();
        next.set_query(None);
        if !kept.is_empty() {
            next.query_pairs_mut().extend_pairs(kept);
        }
    }
    Ok(next.into())
}

/// The parameters of an address, not encoded.
pub(crate) fn query(url: &Url) -> Vec<(String, String)> {
    url.query_pairs().map(owned).collect()
}

fn owned((name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)) -> (String, String) {
    (name.into_owned(), value.into_owned())
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
