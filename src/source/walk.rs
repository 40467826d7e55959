//! From page to page: which is the next, and that none comes twice.

use std::collections::HashSet;

use super::failure::Failure;
use super::records::PageEnd;
use super::{PageAt, rest};
use crate::model::binding::request::format::Until;
use crate::model::binding::request::{PageBy, PageTemplate};

/// The pages of one read. There are at most `pages_max` of them.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Pages read.
    pub pages: usize,
    asked: HashSet<PageAt>,
    marks: HashSet<u64>,
}

impl Walk {
    /// The page after the one that was read; none after the last.
    pub fn next(&mut self, page: &PageTemplate, at: &PageAt, end: PageEnd) -> Result<Option<PageAt>, Failure> {
        self.pages += 1;
        let next = match (&page.by, end.cursor) {
            (PageBy::Cursor { .. } | PageBy::Link { .. }, None) => return Ok(None),
            (PageBy::Cursor { .. }, Some(cursor)) => PageAt::Cursor(cursor),
            (PageBy::Link { .. }, Some(address)) => PageAt::Link(address),
            (PageBy::Counted(counted), _) => {
                if end.count == 0 || (counted.until == Until::Short && end.count < page.size) {
                    return Ok(None);
                }
                let step = if counted.records { u32::try_from(end.count).unwrap_or(u32::MAX) } else { 1 };
                PageAt::Number(rest::counted_at(counted, at).saturating_add(step))
            }
        };
        if end.mark.is_some_and(|mark| !self.marks.insert(mark)) {
            return Err(Failure::bad("a page comes twice; see `pages`"));
        }
        self.asked.insert(at.clone());
        if self.asked.contains(&next) {
            return Err(Failure::bad("the answer's next page is one that was read already"));
        }
        Ok(Some(next))
    }
}
