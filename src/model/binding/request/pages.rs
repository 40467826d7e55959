//! How a source cuts long answers into pages.

use super::format::{Pages, Until};
use super::reading::pointer;
use super::{Compiler, Protocol};
use crate::base::pointer::Pointer;
use crate::model::yaml::{self, Spanned};

const SIZE_DEFAULT: usize = 100;
const PAGES_DEFAULT: usize = 50;
const MAX: usize = 10_000;

#[derive(Debug, Clone)]
pub struct PageTemplate {
    pub by: PageBy,
    pub size_parameter: Option<Box<str>>,
    /// Records of a full page.
    pub size: usize,
    /// Pages followed for one read at most.
    pub pages_max: usize,
}

#[derive(Debug, Clone)]
pub enum PageBy {
    /// `next` starts at the answer's data.
    Cursor {
        parameter: Box<str>,
        next: Pointer,
    },
    Counted(Counted),
    /// The answer tells the next page's address: at a place of its data, or (`None`) in the header `Link`.
    Link {
        at: Option<Pointer>,
    },
}

/// Pages that are asked for by counting.
#[derive(Debug, Clone)]
pub struct Counted {
    pub parameter: Box<str>,
    /// Records are counted, not pages.
    pub records: bool,
    /// What the first page is asked with.
    pub from: u32,
    pub until: Until,
}

impl Compiler<'_> {
    pub(super) fn page(&mut self) -> Option<PageTemplate> {
        let spanned = self.request.pages.as_ref()?;
        let (pages, at) = (&spanned.value, yaml::span(spanned));
        let (size, pages_max) = (pages.size.unwrap_or(SIZE_DEFAULT), pages.pages_max.unwrap_or(PAGES_DEFAULT));
        if !(1..=MAX).contains(&size) || !(1..=MAX).contains(&pages_max) {
            self.fault(at, "`size` and `pages_max` are between 1 and 10 000", "");
        }
        if self.request.aliases || self.request.entities.is_some() || self.protocol == Protocol::Soap {
            self.fault(at, "this request cannot be paged", "aliases, entities and SOAP answer everything at once");
        }
        let by = self.page_by(spanned)?;
        self.strange_to(&by, pages, at);
        Some(PageTemplate { by, size_parameter: pages.size_parameter.as_deref().map(Into::into), size, pages_max })
    }

    fn page_by(&mut self, spanned: &Spanned<Pages>) -> Option<PageBy> {
        let (pages, at) = (&spanned.value, yaml::span(spanned));
        let sql = self.protocol == Protocol::Sql;
        match (&pages.cursor, &pages.number, &pages.offset, &pages.link) {
            (Some(_), None, None, None) | (None, None, Some(_), None) | (None, None, None, Some(_)) if sql => {
                self.fault(at, "a SQL source is paged by number", "write `number: page`");
                None
            }
            (Some(parameter), None, None, None) => {
                let Some(next) = &pages.next else {
                    self.fault(at, "`cursor` needs `next`", "say where the answer holds the next cursor");
                    return None;
                };
                let next = pointer(next, self.text, self.faults)?;
                Some(PageBy::Cursor { parameter: parameter.as_str().into(), next })
            }
            (None, Some(parameter), None, None) => Some(self.counted(pages, parameter, false)),
            (None, None, Some(parameter), None) => Some(self.counted(pages, parameter, true)),
            (None, None, None, Some(link)) => self.link(link),
            _ => {
                let message = "`pages` has not exactly one of `cursor`, `number`, `offset` and `link`";
                self.fault(at, message, "name the one way the source pages in");
                None
            }
        }
    }

    fn counted(&mut self, pages: &Pages, parameter: &str, records: bool) -> PageBy {
        if let Some(from) = pages.from.as_ref().filter(|from| from.value > 1 || self.protocol == Protocol::Sql) {
            let what = if records { "first record's offset" } else { "first page's number" };
            let hint = if self.protocol == Protocol::Sql { "leave `from` out" } else { "it is 0 or 1" };
            self.fault(yaml::span(from), format!("the {what} is not {}", from.value), hint);
        }
        // How long a page is, is known only where it is said: else one that looks short may be a full one.
        let told = pages.size.is_some() || pages.size_parameter.is_some() || self.protocol == Protocol::Sql;
        let until = match &pages.until {
            Some(until) => until.value,
            None if told => Until::Short,
            None => Until::Empty,
        };
        if let Some(written) = pages.until.as_ref().filter(|until| until.value == Until::Short && !told) {
            let hint = "write `size`, and `size_parameter` where it can be asked for; or `until: empty`";
            self.fault(yaml::span(written), "`until: short` needs to know how long a full page is", hint);
        }
        let from = pages.from.as_ref().map_or(u32::from(!records), |from| from.value);
        PageBy::Counted(Counted { parameter: parameter.into(), records, from, until })
    }

    fn link(&mut self, link: &Spanned<String>) -> Option<PageBy> {
        if self.protocol != Protocol::Rest || self.request.get.is_none() {
            let message = "pages by `link` are those of a `get` of a rest source";
            self.fault(yaml::span(link), message, "write `cursor`, `number` or `offset`");
            return None;
        }
        let at = match link.value.as_str() {
            "header" => None,
            _ => Some(pointer(link, self.text, self.faults)?),
        };
        Some(PageBy::Link { at })
    }

    /// Keys that mean nothing to the way the source pages in.
    fn strange_to(&mut self, by: &PageBy, pages: &Pages, at: crate::base::fault::Place) {
        let (cursor, counted) = (matches!(by, PageBy::Cursor { .. }), matches!(by, PageBy::Counted(_)));
        let keys = [
            ("next", pages.next.is_some() && !cursor, "it goes with `cursor`; with `link`, write its place there"),
            ("from", pages.from.is_some() && !counted, "it goes with `number` and `offset`"),
            ("until", pages.until.is_some() && !counted, "it goes with `number` and `offset`"),
        ];
        for (key, strange, hint) in keys {
            if strange {
                self.fault(at, format!("`{key}` means nothing to pages of this kind"), hint);
            }
        }
    }
}
