//! Reading an answer's body, no more of it than the binding allows.

use std::error::Error;
use std::io::ErrorKind;

use reqwest::Response;

use super::super::failure::Failure;
use crate::base::code::ErrorCode;

/// The body, decompressed, at most `max` bytes.
pub(crate) async fn read(mut response: Response, max: usize) -> Result<Vec<u8>, Failure> {
    let too_large = || Failure::bad(format!("the answer is larger than {max} bytes (limits.answer_bytes_max)"));
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(announced.unwrap_or(0).min(1 << 20));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > max => return Err(too_large()),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) if error.is_timeout() => return Err(Failure::timeout()),
            Err(error) if was_cut(&error) => {
                return Err(Failure::down(ErrorCode::SourceUnreachable, "the connection broke off in the answer"));
            }
            Err(_) => return Err(Failure::bad("the answer breaks off, or cannot be decompressed")),
        }
    }
}

fn was_cut(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        let kind = inner.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe)) {
            return true;
        }
        source = inner.source();
    }
    false
}
