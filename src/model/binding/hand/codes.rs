//! Codes that are withheld: patterns, held against what the department writes and what the contract makes of it.

use crate::model::contract::SlotId;

/// Codes of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    /// Where the code stands.
    pub slot: SlotId,
    patterns: Vec<Pattern>,
}

/// A code, or the beginning of codes. Case does not count: `f20` is `F20`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    text: String,
    any_ending: bool,
}

impl Codes {
    /// A trailing `*` stands for any ending, nothing included.
    pub fn new<'a>(slot: SlotId, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let pattern = |written: &str| {
            let written = written.trim();
            let (text, any_ending) = written.strip_suffix('*').map_or((written, false), |start| (start, true));
            Pattern { text: text.to_uppercase(), any_ending }
        };
        Self { slot, patterns: patterns.into_iter().map(pattern).collect() }
    }

    pub fn covers(&self, code: &str) -> bool {
        let code = code.trim().to_uppercase();
        self.patterns
            .iter()
            .any(|pattern| if pattern.any_ending { code.starts_with(&pattern.text) } else { code == pattern.text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_stands_for_any_ending() {
        let codes = Codes::new(SlotId(0), ["F2*", "D66"]);
        for withheld in ["F20.0", "F2", " f29 ", "D66", "d66"] {
            assert!(codes.covers(withheld), "{withheld}");
        }
        for given in ["F3", "F", "D66.1", "", "XF20"] {
            assert!(!codes.covers(given), "{given}");
        }
    }
}
