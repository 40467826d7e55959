//! What cursors of scans are bound to: what is asked, of which divisions, and by whom. A cursor goes on with that scan and no
//! other, and says by which approval it has come so far: by that one it goes on without another use.

use std::sync::Arc;

use serde_json::{Value, json};

use super::permit::Division;
use super::plan::Verdict;
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
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

    /// How far a scan has come, by the cursor that it goes on from.
    pub fn reached(&self, seal: &CursorSeal, cursor: &str) -> Result<Reached, RequestError> {
        Reached::opened(seal, &self.names(), cursor).ok_or_else(no_cursor)
    }
}

pub(super) fn no_cursor() -> RequestError {
    let message = "`after` is not a cursor of this scan: give it back unchanged, with the same arguments and in the same name; or \
                   leave it out, and begin anew";
    RequestError::new(ErrorCode::ValidationFailed, message.to_owned())
}

/// What a statistic that goes on is bound to.
pub(super) fn of_statistic(scan: &str, divisions: &[Division], caller: Option<&str>) -> String {
    json!(["statistics", scan, codes(divisions), caller]).to_string()
}

fn codes(divisions: &[Division]) -> Vec<&str> {
    divisions.iter().map(|division| division.prefix.as_str()).collect()
}
