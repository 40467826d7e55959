//! Media types and status codes of GraphQL over HTTP.

use axum::http::{HeaderMap, StatusCode, header};

use super::Outcome;
use crate::base::code::ErrorCode;

/// What an answer is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    GraphqlResponse,
    Json,
    /// Server-Sent Events: of a subscription its frames, of anything else its one answer.
    EventStream,
}

impl Media {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
            Self::EventStream => "text/event-stream; charset=utf-8",
        }
    }
}

/// The media type the caller likes best of the two; without `Accept`, and for `*/*`, `application/json`, which every
/// client understands. `None`: neither is accepted (406).
pub fn accepted(headers: &HeaderMap) -> Option<Media> {
    let mut best: Option<(f32, u8, Media)> = None;
    let mut any = false;
    for value in headers.get_all(header::ACCEPT) {
        for entry in value.to_str().unwrap_or("").split(',') {
            let mut parts = entry.split(';').map(str::trim);
            let kind = parts.next().unwrap_or("").to_ascii_lowercase();
            if kind.is_empty() {
                continue;
            }
            any = true;
            let (mut quality, mut utf8) = (1.0_f32, true);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    "charset" => utf8 = is_utf8(value),
                    _ => {}
                }
            }
            // At equal quality the more precise type wins, then the one that tells more by its status codes.
            let (precision, media) = match kind.as_str() {
                "application/graphql-response+json" => (3, Media::GraphqlResponse),
                "application/json" => (2, Media::Json),
                "application/*" => (1, Media::Json),
                "*/*" => (0, Media::Json),
                _ => continue,
            };
            let better = best.is_none_or(|(q, p, _)| (quality, precision) > (q, p));
            if utf8 && quality > 0.0 && better {
                best = Some((quality, precision, media));
            }
        }
    }
    if any { best.map(|(_, _, media)| media) } else { Some(Media::Json) }
}

/// Whether the caller takes `text/event-stream`, by its name: whoever takes anything did not ask for a stream.
pub fn accepts_events(headers: &HeaderMap) -> bool {
    let entries = headers.get_all(header::ACCEPT).iter().flat_map(|value| value.to_str().unwrap_or("").split(','));
    entries.into_iter().any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"));
        let is_taken = parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => value.trim().parse::<f32>().is_ok_and(|quality| quality > 0.0),
                "charset" => is_utf8(value),
                _ => true,
            }
        });
        is_named && is_taken
    })
}

/// Whether a body is `application/json` in UTF-8, the only thing a POST may carry.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(text) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let mut parts = text.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    json && parts
        .filter_map(|part| part.split_once('='))
        .all(|(name, value)| !name.trim().eq_ignore_ascii_case("charset") || is_utf8(value))
}

fn is_utf8(charset: &str) -> bool {
    let charset = charset.trim().trim_matches('"');
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}

/// The status of an engine's answer. `application/json` says 200 for whatever a well-formed request got, because an
/// intermediary might have made any other; only a refused caller and the gateway's own faults show. A stream says 200: what its
/// events hold is read by nobody otherwise.
pub fn status(outcome: Outcome, media: Media) -> StatusCode {
    if media == Media::EventStream {
        return StatusCode::OK;
    }
    let code = match outcome {
        Outcome::Ok => return StatusCode::OK,
        Outcome::TryLater { .. } => return StatusCode::TOO_MANY_REQUESTS,
        Outcome::RequestError(code) => code,
    };
    match (code, media) {
        (ErrorCode::Unauthenticated, _) => StatusCode::UNAUTHORIZED,
        (ErrorCode::AuditUnavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
        (ErrorCode::Internal, _) => StatusCode::INTERNAL_SERVER_ERROR,
        (ErrorCode::BadRequest, _) => StatusCode::BAD_REQUEST,
        (_, Media::Json) => StatusCode::OK,
        (ErrorCode::Forbidden, _) => StatusCode::FORBIDDEN,
        (ErrorCode::DeadlineExceeded, _) => StatusCode::GATEWAY_TIMEOUT,
        (ErrorCode::ParseFailed | ErrorCode::ValidationFailed | ErrorCode::LimitExceeded, _) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_where_they_are_named() {
        let takes = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, http::HeaderValue::from_static(text));
            accepts_events(&headers)
        };
        assert!(takes("text/event-stream"));
        assert!(takes("application/json, Text/Event-Stream;q=0.5; charset=utf-8"));
        for other in ["*/*", "text/*", "text/event-stream;q=0", "text/event-stream; charset=gbk", "application/json"] {
            assert!(!takes(other), "{other}");
        }
        assert!(!accepts_events(&HeaderMap::new()));
    }

    #[test]
    fn the_best_acceptable_media_type_is_chosen() {
        let choose = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::ACCEPT,
                http::HeaderValue::from_str(text).unwrap_or(http::HeaderValue::from_static("")),
            );
            accepted(&headers)
        };
        let (graphql, json) = (Some(Media::GraphqlResponse), Some(Media::Json));
        for (text, expected) in [
            ("application/graphql-response+json", graphql),
            ("application/json, application/graphql-response+json", graphql),
            ("application/graphql-response+json;q=0.5, application/json", json),
            ("application/graphql-response+json; charset=utf-8, application/json; charset=utf-8", graphql),
            ("application/json, multipart/mixed", json),
            ("*/*", json),
            ("text/html, application/*;q=0.1", json),
            ("text/html", None),
            ("application/json; charset=gbk", None),
            ("application/json;q=0", None),
        ] {
            assert_eq!(choose(text), expected, "{text}");
        }
        assert_eq!(accepted(&HeaderMap::new()), json);
    }
}
