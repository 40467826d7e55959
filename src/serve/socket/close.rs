//! Why a socket ends: the close codes of `graphql-transport-ws`, and those of WebSockets (RFC 6455) for the rest.

use axum::http::StatusCode;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::super::door::Refusal;

/// Bytes of a reason: a control frame holds no more.
const REASON_BYTES_MAX: usize = 123;

/// How a socket ends. Nothing of what its client sent stands in the reason, which is logged too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// `None`: its client closed it, or is gone.
    pub code: Option<u16>,
    pub reason: String,
    /// As which an HTTP request would have been refused; `None`: nothing is refused.
    pub status: Option<StatusCode>,
}

impl Close {
    pub const GONE: Self = Self { code: None, reason: String::new(), status: None };

    pub fn normal(reason: &str) -> Self {
        Self { code: Some(1000), reason: reason.to_owned(), status: None }
    }

    /// The other end should connect again.
    pub fn going_away(reason: &str) -> Self {
        Self { code: Some(1001), reason: reason.to_owned(), status: None }
    }

    /// What came is nothing that the protocol has.
    pub fn bad(reason: impl Into<String>) -> Self {
        Self::refused(4400, reason, StatusCode::BAD_REQUEST)
    }

    /// Something was asked before `connection_ack`.
    pub fn too_early() -> Self {
        Self::refused(
            4401,
            "Unauthorized: send connection_init first, and wait for connection_ack",
            StatusCode::UNAUTHORIZED,
        )
    }

    pub fn forbidden(reason: impl Into<String>) -> Self {
        Self::refused(4403, reason, StatusCode::FORBIDDEN)
    }

    pub fn no_init() -> Self {
        Self::refused(4408, "Connection initialisation timeout", StatusCode::REQUEST_TIMEOUT)
    }

    /// The id is not repeated: what is told here is logged too.
    pub fn id_taken() -> Self {
        Self::refused(4409, "Subscriber for this id already exists", StatusCode::BAD_REQUEST)
    }

    pub fn second_init() -> Self {
        Self::refused(4429, "Too many initialisation requests", StatusCode::BAD_REQUEST)
    }

    /// What came is of the protocol, but not how it came.
    pub fn policy(reason: impl Into<String>, status: StatusCode) -> Self {
        Self::refused(1008, reason, status)
    }

    /// Not now.
    pub fn try_later(reason: impl Into<String>) -> Self {
        Self::refused(1013, reason, StatusCode::SERVICE_UNAVAILABLE)
    }

    fn refused(code: u16, reason: impl Into<String>, status: StatusCode) -> Self {
        Self { code: Some(code), reason: reason.into(), status: Some(status) }
    }

    /// Of a connection that the door did not let in.
    pub fn of_refusal(refusal: &Refusal) -> Self {
        let code = match refusal.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => 4403,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => 1013,
            status if status.is_client_error() => 4400,
            _ => 4500,
        };
        Self::refused(code, refusal.error.message.clone(), refusal.status)
    }

    /// Of what could not be read from the connection.
    pub fn of_error(error: &Error, bytes_max: usize) -> Self {
        match error {
            Error::Capacity(_) => {
                let message = format!("a message is longer than {bytes_max} bytes");
                Self::refused(1009, message, StatusCode::PAYLOAD_TOO_LARGE)
            }
            Error::Utf8(_) => Self::refused(1007, "a message is not UTF-8", StatusCode::BAD_REQUEST),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::GONE,
            Error::Protocol(_) => Self::refused(1002, "what came is no WebSocket frame", StatusCode::BAD_REQUEST),
            _ => Self::GONE,
        }
    }

    /// What is sent of it.
    pub fn frame(&self) -> Option<CloseFrame> {
        let code = CloseCode::from(self.code?);
        Some(CloseFrame { code, reason: cut(&self.reason, REASON_BYTES_MAX).into() })
    }
}

/// The beginning of a text, in whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_into_its_frame_in_whole_characters() {
        for text in ["", "short", &"户".repeat(100), &"x户".repeat(100)] {
            let frame = Close::bad(text).frame().unwrap();
            assert!(frame.reason.len() <= REASON_BYTES_MAX && text.starts_with(frame.reason.as_str()), "{text}");
        }
    }
}
