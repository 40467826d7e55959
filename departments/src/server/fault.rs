//! Ways for a department to be ill.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Response, StatusCode, header};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    #[default]
    None,
    /// Answers right, but so much later.
    Slow(Duration),
    /// Status 200 and a body that is no answer.
    Nonsense,
    Http500,
    /// Status 200 and no body.
    Empty,
    /// The right answer, cut in half.
    Truncated,
}

impl Fault {
    pub(super) async fn apply(self, response: Response<Body>) -> Response<Body> {
        match self {
            Self::None | Self::Slow(_) => response,
            Self::Nonsense => with(response, StatusCode::OK, Some("}<!-- \u{0}系统繁忙 -->{")).await,
            Self::Http500 => {
                with(response, StatusCode::INTERNAL_SERVER_ERROR, Some("java.lang.NullPointerException")).await
            }
            Self::Empty => with(response, StatusCode::OK, Some("")).await,
            Self::Truncated => with(response, StatusCode::OK, None).await,
        }
    }
}

/// The response with another status and body; without a body, with half of its own.
async fn with(response: Response<Body>, status: StatusCode, body: Option<&'static str>) -> Response<Body> {
    let (mut parts, own) = response.into_parts();
    parts.status = status;
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = match body {
        Some(text) => Body::from(text),
        None => {
            let bytes = to_bytes(own, 64 << 20).await.unwrap_or_default();
            Body::from(bytes.slice(..bytes.len() / 2))
        }
    };
    Response::from_parts(parts, body)
}
