//! Request ids.

use crate::trace::random;

/// 32 random hex digits.
pub fn new_request_id() -> String {
    format!("{:032x}", u128::from_ne_bytes(random()))
}

/// Whether a proxy's request id can be taken over: 8 to 64 letters, digits, `-` and `_`.
pub fn is_request_id(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_differ_and_foreign_ones_are_checked() {
        assert_ne!(new_request_id(), new_request_id());
        assert!(is_request_id(&new_request_id()));
        for bad in ["short", "with blank in it", "x\"y-long-enough", &"x".repeat(65)] {
            assert!(!is_request_id(bad), "{bad}");
        }
    }
}
