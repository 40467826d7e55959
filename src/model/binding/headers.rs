//! Names of headers that a binding may send.

use http::HeaderName;

/// What the connection itself is told with: another of them would part the request otherwise, or send it elsewhere.
const OF_THE_CONNECTION: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The name; or what is wrong with it, and what to do.
pub(super) fn name(written: &str) -> Result<HeaderName, (String, &'static str)> {
    let hint = "names of headers are letters, digits and `-`, for example X-Sign";
    let name = HeaderName::try_from(written).map_err(|_| (format!("`{written}` is not a header's name"), hint))?;
    if OF_THE_CONNECTION.contains(&name.as_str()) {
        let hint = "leave it out: it is of the connection, and the gateway says it where it is needed";
        return Err((format!("a binding does not send `{written}`"), hint));
    }
    Ok(name)
}
