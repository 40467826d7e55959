//! How long answers are cut: parameters and members that are called so.

use serde_json::{Map, Value, json};

use super::openapi::object;
use super::schema::{Flat, Schemas};

const NUMBERS: [&str; 7] = ["page", "pageno", "pagenum", "pagenumber", "pageindex", "currentpage", "pagenr"];
const OFFSETS: [&str; 7] = ["offset", "skip", "start", "startindex", "startat", "pageoffset", "from"];
const CURSORS: [&str; 14] = [
    "cursor",
    "after",
    "pagetoken",
    "nexttoken",
    "nextpagetoken",
    "continuationtoken",
    "marker",
    "pagecursor",
    "nextcursor",
    "pageafter",
    "continuation",
    "pagekey",
    "starttoken",
    "scrollid",
];
const SIZES: [&str; 11] = [
    "perpage",
    "pagesize",
    "size",
    "limit",
    "pagelimit",
    "rows",
    "maxresults",
    "maxitems",
    "count",
    "itemsperpage",
    "top",
];
/// Members that hold the next cursor, and objects that such a member is in.
const NEXT: [&str; 10] = [
    "nextcursor",
    "nextpagetoken",
    "nexttoken",
    "continuationtoken",
    "next",
    "endcursor",
    "after",
    "nextpagecursor",
    "nextmarker",
    "cursor",
];
const LINKS: [&str; 5] = ["next", "nextlink", "nexturl", "nextpage", "nextpageurl"];
const AROUND: [&str; 10] =
    ["meta", "pagination", "paging", "page", "pageinfo", "links", "responsemetadata", "cursors", "metadata", "cursor"];
/// Records of a page where the document does not say.
const SIZE: u64 = 100;

/// Parameters by which pages could be asked for.
#[derive(Default)]
pub struct Cut {
    number: Option<(String, Option<String>)>,
    offset: Option<(String, Option<String>)>,
    cursor: Option<String>,
    size: Option<Size>,
}

struct Size {
    parameter: String,
    default: Option<u64>,
    maximum: Option<u64>,
}

impl Cut {
    /// A parameter of the query, and the value it has by itself.
    pub fn add(&mut self, name: &str, default: Option<&str>, maximum: Option<u64>) {
        let plain = plain(name);
        let is = |names: &[&str]| names.contains(&plain.as_str());
        let default_text = default.map(str::to_owned);
        if is(&NUMBERS) {
            self.number.get_or_insert((name.to_owned(), default_text));
        } else if is(&OFFSETS) {
            self.offset.get_or_insert((name.to_owned(), default_text));
        } else if is(&CURSORS) {
            self.cursor.get_or_insert(name.to_owned());
        } else if is(&SIZES) && self.size.is_none() {
            let default = default.and_then(|default| default.parse().ok());
            self.size = Some(Size { parameter: name.to_owned(), default, maximum });
        }
    }

    /// `pages` of the binding, and what is to be decided about it. `data` is the answer's data.
    pub fn pages<'a>(&self, data: &Flat<'a>, link: bool, schemas: &mut Schemas<'a>) -> Option<(Value, String)> {
        let mut pages = Map::new();
        let next = |schemas: &mut Schemas<'a>, names: &[&str], uri: bool| self::next(data, names, uri, schemas);
        let what = if let Some((name, first)) = &self.number {
            pages.insert("number".to_owned(), json!(name));
            if first.as_deref() == Some("0") {
                pages.insert("from".to_owned(), json!(0));
            }
            "which number has the first page, and how long is a page?"
        } else if link {
            pages.insert("link".to_owned(), json!("header"));
            "is the `Link` header there on every page but the last?"
        } else if let Some((cursor, at)) = self.cursor.as_ref().zip(next(schemas, &NEXT, false)) {
            pages.extend(object([("cursor", json!(cursor)), ("next", json!(at))]));
            "is there no next cursor on the last page?"
        } else if let Some((name, first)) = &self.offset {
            pages.insert("offset".to_owned(), json!(name));
            if let Some(first) = first.as_deref().filter(|first| *first == "1") {
                pages.insert("from".to_owned(), json!(first.parse::<u64>().unwrap_or(1)));
            }
            "does it count records, and from which?"
        } else if let Some(at) = next(schemas, &LINKS, true) {
            pages.insert("link".to_owned(), json!(at));
            "is there no address on the last page?"
        } else {
            return None;
        };
        self.size(&mut pages);
        Some((Value::Object(pages), format!("pages: {what}")))
    }

    /// Whether there is a parameter for pages, whatever the answer holds.
    pub fn is_cut(&self) -> bool {
        self.number.is_some() || self.offset.is_some() || self.cursor.is_some()
    }

    fn size(&self, pages: &mut Map<String, Value>) {
        let Some(Size { parameter, default, maximum }) = &self.size else { return };
        pages.insert("size_parameter".to_owned(), json!(parameter));
        let known = maximum.or(*default).filter(|size| *size > 0);
        pages.insert("size".to_owned(), json!(known.unwrap_or(SIZE).clamp(1, 1_000)));
        // A source may give fewer than it is asked for where nothing says how many it gives.
        if known.is_none() && (pages.contains_key("number") || pages.contains_key("offset")) {
            pages.insert("until".to_owned(), json!("empty"));
        }
    }
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Where the data tells of the next page: in itself, or in an object that is about pages. `uri`: an address.
fn next<'a>(data: &Flat<'a>, names: &[&str], uri: bool, schemas: &mut Schemas<'a>) -> Option<String> {
    let mut around = Vec::new();
    for wanted in names {
        let named = data.properties.iter().find(|(name, _)| plain(name) == *wanted);
        if let Some((name, schema)) = named
            && fits(&schemas.flat(schema), name, uri)
        {
            return Some(format!("/{}", escaped(name)));
        }
    }
    for (name, schema) in data.properties.iter().filter(|(name, _)| AROUND.contains(&plain(name).as_str())) {
        around.push((name, schemas.flat(schema)));
    }
    for (name, inner) in around {
        for wanted in names {
            let named = inner.properties.iter().find(|(name, _)| plain(name) == *wanted);
            if let Some((own, schema)) = named
                && fits(&schemas.flat(schema), &format!("{name}/{own}"), uri)
            {
                return Some(format!("/{}/{}", escaped(name), escaped(own)));
            }
        }
    }
    None
}

fn fits(flat: &Flat<'_>, path: &str, uri: bool) -> bool {
    let text = flat.kind == Some("string");
    let called = |words: &[&str]| words.iter().any(|word| plain(path).contains(word));
    let address = matches!(flat.format, Some("uri" | "url" | "uri-reference")) || called(&["link", "url", "href"]);
    if uri { text && address } else { (text && !address) || flat.kind == Some("integer") }
}
