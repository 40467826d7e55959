//! What cursors of scans are bound to: what is asked, of which divisions, and by whom. A cursor goes on with that scan and no
//! other, and under the approval that it was given out under.

use std::sync::Arc;

use serde_json::{Value, json};

use super::permit::Division;
use super::plan::Verdict;
use crate::engine::execute::candidates::Reached;
use crate::engine::execute::cursor::CursorSeal;

/// What pages are bound to.
pub(super) struct OfPages<'b> {
    /// Everything that decides what is found.
    pub scan: &'b str,
    pub verdict: Verdict,
    pub divisions: &'b [Division],
    pub among: Option<&'b [Arc<str>]>,
    pub caller: Option<&'b str>,
}

impl OfPages<'_> {
    /// By listing, one for each division; of keys, one.
    pub fn names(&self) -> Vec<String> {
        let divisions = codes(self.divisions);
        let name =
            |part: Value| json!(["scan", self.scan, self.verdict.as_str(), divisions, part, self.caller]).to_string();
        match self.among {
            Some(keys) => {
                let among: Vec<&str> = keys.iter().map(|key| &**key).collect();
                vec![name(json!({ "among": among }))]
            }
            None => divisions.iter().map(|of| name(json!(of))).collect(),
        }
    }

    /// The approval that a cursor was given out under.
    pub fn approval(&self, seal: &CursorSeal, cursor: &str) -> Option<Arc<str>> {
        Reached::opened(seal, &self.names(), cursor)?.approval
    }
}

/// What a statistic that goes on is bound to.
pub(super) fn of_statistic(scan: &str, divisions: &[Division], caller: Option<&str>) -> String {
    json!(["statistics", scan, codes(divisions), caller]).to_string()
}

fn codes(divisions: &[Division]) -> Vec<&str> {
    divisions.iter().map(|division| division.prefix.as_str()).collect()
}
