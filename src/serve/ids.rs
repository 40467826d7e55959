//! Request ids and W3C trace context.

use rustls::crypto::aws_lc_rs::default_provider;

/// Random bytes; where the system gives none there is no id to trust, so all are zero and nothing else breaks.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = default_provider().secure_random.fill(&mut bytes);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// 32 random hex digits.
pub fn new_request_id() -> String {
    hex(&random::<16>())
}

/// Whether a proxy's request id can be taken over: 8 to 64 letters, digits, `-` and `_`.
pub fn is_request_id(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The `traceparent` to pass on (W3C Trace Context, version 00): the caller's trace with a span of our own, or a new
/// trace where the caller sent none or a broken one.
pub fn traceparent(incoming: Option<&str>) -> String {
    let span = hex(&random::<8>());
    match incoming.and_then(trace_of) {
        Some((trace, flags)) => format!("00-{trace}-{span}-{flags}"),
        None => format!("00-{}-{span}-00", hex(&random::<16>())),
    }
}

/// Trace id and flags of a valid header. Later versions may carry more fields after these.
fn trace_of(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.trim().split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let not_zero = |part: &str| part.bytes().any(|b| b != b'0');
    let known = lower_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    let fits = lower_hex(trace, 32) && not_zero(trace) && lower_hex(parent, 16) && not_zero(parent);
    (known && fits && lower_hex(flags, 2))
        .then_some((trace, if flags.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']) { "01" } else { "00" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_trace_goes_on_with_a_new_span_and_a_broken_one_is_replaced() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let out = traceparent(Some(&format!("00-{trace}-00f067aa0ba902b7-01")));
        assert!(out.starts_with(&format!("00-{trace}-")) && out.ends_with("-01") && out.len() == 55, "{out}");
        assert!(!out.contains("00f067aa0ba902b7"));
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let later = format!("cc-{trace}-00f067aa0ba902b7-00-more");
        assert!(traceparent(Some(&later)).contains(trace));
        for broken in ["", "00-x-y-z", &zero, &format!("ff-{trace}-00f067aa0ba902b7-01"), &trace.to_uppercase()] {
            let out = traceparent(Some(broken));
            assert!(out.len() == 55 && !out.contains(trace) && trace_of(&out).is_some(), "{broken} {out}");
        }
    }

    #[test]
    fn request_ids_differ_and_foreign_ones_are_checked() {
        assert_ne!(new_request_id(), new_request_id());
        assert!(is_request_id(&new_request_id()));
        for bad in ["short", "with blank in it", "x\"y-long-enough", &"x".repeat(65)] {
            assert!(!is_request_id(bad), "{bad}");
        }
    }
}
