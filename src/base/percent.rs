//! Percent-encoding (RFC 3986).

use std::fmt::Write as _;

/// Percent-encoded but for RFC 3986's unreserved characters.
pub fn percent(text: &str, out: &mut String) {
    percent_bytes(text.as_bytes(), out);
}

/// As [`percent`], of a text in any charset.
pub fn percent_bytes(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        match *byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(*byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}
