//! Parts of a request as they are written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::binding::format::{Request, Scalar, Test};
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
    /// The parameter (of the query, the form or the JSON body) that takes the next page's cursor.
    pub cursor: Option<String>,
    /// With `cursor`: where the answer's data holds the next cursor; null, empty or missing: there is none.
    pub next: Option<Spanned<String>>,
    /// The parameter (of the query, the form or the JSON body) that takes the page's number.
    pub number: Option<String>,
    /// The parameter (of the query, the form or the JSON body) that takes how many records lie before the page.
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

/// An argument of a root field.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphqlArgument {
    /// The argument's name.
    pub name: String,
    /// As in a GraphQL document: `"[String!]!"`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// An argument of a root field whose value is always the same.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphqlConstant {
    /// The argument's name.
    pub name: String,
    /// Its type as a document has it: `Kind!`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The value, as JSON has it: a text for a value of an enumeration.
    pub value: serde_json::Value,
}

/// What a key column holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// A text of any kind.
    #[default]
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A UUID.
    Uuid,
}

impl KeyType {
    /// Whether a column of this type could hold the key, written as the database writes it.
    pub fn holds(self, key: &str) -> bool {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        match self {
            Self::Text => true,
            Self::Integer => key.parse::<i64>().is_ok_and(|number| number.to_string() == key),
            Self::Uuid => {
                let dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
                key.len() == 36 && key.bytes().enumerate().all(|(at, c)| if dash(at) { c == b'-' } else { hex(c) })
            }
        }
    }
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

/// The request is handed in and answered with a ticket; the answer is fetched with that. Pointers and tests start at the
/// whole answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// Where the request's answer holds the ticket.
    pub at: Spanned<String>,
    /// How the answer is asked for.
    pub poll: Spanned<Poll>,
    /// The source works on it still. HTTP status 202 always says so.
    pub pending: Test,
    /// The source will never answer.
    pub failed: Option<Test>,
    /// The answer is there; absent: it is where the source neither works on it nor failed.
    pub done: Option<Test>,
    /// Between one poll and the next, and before the first.
    #[serde(default = "default_interval_ms")]
    pub interval_ms: u64,
    /// How long a ticket is good for.
    #[serde(default = "default_keep_s")]
    pub keep_s: u64,
}

/// How the answer to a ticket is asked for: `{ticket}` is the ticket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// A path relative to `base_url`; exactly one of `get` and `post`.
    pub get: Option<Spanned<String>>,
    /// A path relative to `base_url`.
    pub post: Option<Spanned<String>>,
    /// Query parameters.
    #[serde(default)]
    pub query: BTreeMap<String, Spanned<Scalar>>,
    /// Headers of this request.
    #[serde(default)]
    pub headers: BTreeMap<String, Spanned<String>>,
    /// A JSON body, written in YAML.
    pub body: Option<Spanned<serde_json::Value>>,
    /// A body as forms have it: names and values.
    pub form: Option<Spanned<BTreeMap<String, Spanned<Scalar>>>>,
    /// An XML body; for SOAP what stands inside `soap:Body`.
    pub xml: Option<Spanned<String>>,
    /// SOAP 1.1: the `SOAPAction` header.
    pub action: Option<String>,
}

fn default_interval_ms() -> u64 {
    500
}

fn default_keep_s() -> u64 {
    600
}
