//! Decimal numbers out of texts of others.

use rust_decimal::Decimal;

/// Longest text that is read as a number, leading and trailing zeros included: reading one takes stack for each of its
/// digits, and a text of a department or a caller may have millions.
const CHARS_MAX: usize = 128;

/// The number, if the text is one that fits exactly.
pub fn exact(text: &str) -> Option<Decimal> {
    bounded(text).and_then(|text| Decimal::from_str_exact(text).ok())
}

/// Whether the text is a number, be it one with more places than fit.
pub fn is_decimal(text: &str) -> bool {
    bounded(text).is_some_and(|text| text.parse::<Decimal>().is_ok())
}

fn bounded(text: &str) -> Option<&str> {
    Some(text).filter(|text| text.len() <= CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_any_length_is_read_or_refused_and_takes_no_more_stack() {
        assert_eq!(exact("-012.50").map(|number| number.to_string()).as_deref(), Some("-12.50"));
        for digit in ["0", "9", ".0", "_"] {
            let long = format!("1{}", digit.repeat(8 << 20));
            assert_eq!(exact(&long), None, "{digit}");
            assert!(!is_decimal(&long), "{digit}");
        }
    }
}
