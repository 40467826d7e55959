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

/// The bytes that a percent-encoded text stands for. A `%` without two hex digits stands for itself.
pub fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        // A sign before a digit is none of a number here.
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(b'%'));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_two_hex_digits_and_nothing_else() {
        for (text, expected) in [
            ("a%20b%C3%A9", "a bé"),
            ("%+5%-1% 1%", "%+5%-1% 1%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("%%41", "%A"),
            ("é%41", "éA"),
        ] {
            assert_eq!(decoded(text), expected.as_bytes(), "{text}");
        }
        assert_eq!(decoded("%D0%D5"), [0xd0, 0xd5]);
    }
}
