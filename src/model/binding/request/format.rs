//! Parts of a request as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::binding::format::{Request, Test};
use crate::model::yaml::Spanned;

/// Who is asked where an endpoint is not there: its records are read as the endpoint's own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    /// Where it is; absent: at the source's `base_url`. `${NAME}` stands for a variable.
    pub base_url: Option<Spanned<String>>,
    /// How it is asked; absent: as the endpoint is. Both, or neither, where the endpoint has both.
    pub one: Option<Spanned<Request>>,
    /// How it is asked for many keys at once.
    pub many: Option<Spanned<Request>>,
    /// Answers of the endpoint that mean "not now, ask there".
    pub on: Option<Test>,
}

/// How the source cuts long answers into pages. Exactly one of `cursor`, `number`, `offset` and `link`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pages {
    /// The query (or JSON body) parameter that takes the next page's cursor.
    pub cursor: Option<String>,
    /// With `cursor`: where the answer's data holds the next cursor; null, empty or missing: there is none.
    pub next: Option<Spanned<String>>,
    /// The query (or JSON body) parameter that takes the page's number.
    pub number: Option<String>,
    /// The query (or JSON body) parameter that takes how many records lie before the page.
    pub offset: Option<String>,
    /// Where the address of the next page is: `header` (`Link` with `rel="next"`, RFC 8288), or where the answer's
    /// data holds it.
    pub link: Option<Spanned<String>>,
    /// The first page's number (1 without it), or the first record's offset (0 without it).
    pub from: Option<Spanned<u32>>,
    /// With `number` and `offset`: which page is the last one.
    pub until: Option<Spanned<Until>>,
    /// The parameter that takes the page's size.
    pub size_parameter: Option<String>,
    /// Records of a full page; absent: 100.
    pub size: Option<usize>,
    /// Pages fetched for one read at most; absent: 50.
    pub pages_max: Option<usize>,
}

/// Which page is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// One with fewer records than `size`.
    Short,
    /// One without a record.
    Empty,
}
