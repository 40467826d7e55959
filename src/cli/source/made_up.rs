//! Made-up values in place of a department's: digits for digits, letters for letters, characters for characters, dates for
//! dates. Equal values stay equal within one recording; with another recording's key they become others. What is kept is
//! what stands in the binding or its tables anyhow: codes, and what an answer is recognised by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::hmac;
use serde_json::{Map, Value};

use crate::base::pointer::Pointer;
use crate::model::binding::conversion::{Conversion, Kind};
use crate::model::binding::mapping::{Mapping, Read, Test};
use crate::model::binding::request::CallTemplate;
use crate::model::binding::request::reading::Condition;

/// Common characters, none of them a word of its own.
const CHARACTERS: &str = "一丁七万三上下中丰云五井元公六兰冬北南古可台右叶司合吉同名向后和品四田园圆地城夏外大天太夫宁安宋定宜家小少山川左平年广庆康开强心志思恒成";
const GEOJSON: [&str; 9] = [
    "Point",
    "MultiPoint",
    "LineString",
    "MultiLineString",
    "Polygon",
    "MultiPolygon",
    "GeometryCollection",
    "Feature",
    "FeatureCollection",
];
/// A picture of one pixel.
const PICTURE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
/// A run of so many digits in a member's name is taken for a key.
const DIGITS_MAX: usize = 4;

pub struct MadeUp {
    key: hmac::Key,
    /// By the last part of a pointer: the values that are kept there.
    kept: BTreeMap<String, BTreeSet<String>>,
    /// What was asked with.
    keys: Vec<Arc<str>>,
    /// Where the answer lists the columns of its rows.
    columns: Option<Pointer>,
}

impl MadeUp {
    /// `None`: the system gives no randomness.
    pub fn new(template: &CallTemplate, mapping: &Mapping, keys: &[Arc<str>]) -> Option<Self> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        let mut made_up = Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
            kept: BTreeMap::new(),
            keys: keys.to_vec(),
            columns: None,
        };
        let reading = &template.reading;
        made_up.columns = reading.columns.as_ref().map(|columns| reading.data.join(columns));
        let conditions = [&reading.ok, &reading.absent, &reading.elsewhere, &reading.only];
        conditions.into_iter().flatten().for_each(|condition| made_up.keep_condition(condition));
        if let Some(ticket) = template.ticket() {
            let conditions = [Some(&ticket.pending), ticket.failed.as_ref(), ticket.done.as_ref()];
            conditions.into_iter().flatten().for_each(|condition| made_up.keep_condition(condition));
        }
        if let Some(columns) = &reading.columns {
            let read = reading.item_key.iter().chain(reading.only.as_ref().map(|only| &only.at));
            let pointers = mapping.terms.iter().chain(read);
            let names: Vec<String> =
                pointers.filter_map(|pointer| pointer.segments().first()).map(|name| name.to_string()).collect();
            made_up.keep(columns, names);
        }
        made_up.keep_of(mapping);
        Some(made_up)
    }

    fn keep(&mut self, at: &Pointer, values: impl IntoIterator<Item = String>) {
        // The text of an XML element stands under the element's name.
        let Some(name) = at.segments().iter().rev().find(|name| &***name != "#text") else { return };
        self.kept.entry(name.to_string()).or_default().extend(values);
    }

    fn keep_condition(&mut self, condition: &Condition) {
        let values = condition.is.iter().chain(&condition.not).flat_map(|values| values.iter().cloned());
        self.keep(&condition.at, values.collect::<Vec<_>>());
    }

    fn keep_of(&mut self, mapping: &Mapping) {
        let term = |at: usize| mapping.terms.get(at);
        for entry in &mapping.entries {
            match &entry.read {
                Read::Scalar { at, conversion } => self.keep_codes(term(*at), conversion),
                Read::Scalars { over, conversion, .. } => self.keep_codes(over.term().and_then(term), conversion),
                Read::Object { inside, types, .. } => {
                    let told =
                        types.as_ref().map(|types| (types.at, types.by_text.keys().cloned().collect::<Vec<_>>()));
                    self.keep_inside(inside, told, None);
                }
                Read::Objects { inside, types, only, .. } => {
                    let told =
                        types.as_ref().map(|types| (types.at, types.by_text.keys().cloned().collect::<Vec<_>>()));
                    self.keep_inside(inside, told, only.as_ref());
                }
                _ => {}
            }
        }
    }

    fn keep_inside(&mut self, inside: &Mapping, types: Option<(usize, Vec<String>)>, only: Option<&Test>) {
        if let Some((at, values)) = types
            && let Some(at) = inside.terms.get(at)
        {
            self.keep(at, values);
        }
        if let Some(only) = only
            && let Some(at) = inside.terms.get(only.at)
        {
            self.keep(at, only.is.iter().cloned());
        }
        self.keep_of(inside);
    }

    fn keep_codes(&mut self, at: Option<&Pointer>, conversion: &Conversion) {
        let Some(at) = at else { return };
        let listed = [conversion.yes.as_ref(), conversion.no.as_ref(), Some(&conversion.nulls)];
        let mut values: Vec<String> = listed.into_iter().flatten().flat_map(|values| values.iter().cloned()).collect();
        if let Some(table) = &conversion.codes {
            values.extend(table.rows().map(|(code, _)| code.to_owned()));
        }
        match &conversion.kind {
            Kind::Enum(known) => values.extend(known.iter().cloned()),
            Kind::GeoJson => {
                let types = Pointer::parse("/type").unwrap_or_default();
                self.keep(&types, GEOJSON.map(str::to_owned));
            }
            Kind::Boolean => values.extend(["0", "1", "true", "false"].map(str::to_owned)),
            _ => {}
        }
        self.keep(at, values);
    }

    fn is_kept(&self, name: Option<&str>, text: &str) -> bool {
        let Some(name) = name else { return false };
        name == "__typename" || self.kept.get(name).is_some_and(|values| values.contains(text.trim()))
    }

    /// A made-up value of the same shape.
    pub fn text(&self, value: &str) -> String {
        if value.trim().is_empty() {
            return value.to_owned();
        }
        if value.starts_with("iVBORw0KGgo") || value.starts_with("/9j/") {
            return PICTURE.to_owned();
        }
        let mut made = value.to_owned();
        for round in 0..16_u8 {
            let mut bytes = Bytes { key: &self.key, value, round, block: 0, left: Vec::new() };
            made = date(value, &mut bytes).unwrap_or_else(|| shape(value, &mut bytes));
            if made != value {
                break;
            }
        }
        made
    }

    /// A JSON text with all values made up; `None`: it is none.
    pub fn json(&self, text: &str) -> Option<String> {
        let value: Value = serde_json::from_str(text).ok()?;
        let columns = self.columns.as_ref().and_then(|columns| value.pointer(&columns.to_string())?.as_array());
        let columns: Vec<&str> = columns.into_iter().flatten().filter_map(Value::as_str).collect();
        Some(format!("{:#}", self.value(&value, None, false, &columns)))
    }

    fn value(&self, value: &Value, name: Option<&str>, listed: bool, columns: &[&str]) -> Value {
        match value {
            Value::Null | Value::Bool(_) => value.clone(),
            Value::String(text) if self.is_kept(name, text) => value.clone(),
            Value::String(text) => Value::String(self.text(text)),
            Value::Number(number) => {
                let text = number.to_string();
                if self.is_kept(name, &text) {
                    return value.clone();
                }
                let place = listed && text.contains('.');
                let made = if place { self.coordinate(&text) } else { self.text(&text) };
                serde_json::from_str(&made).unwrap_or(Value::Null)
            }
            // A row: its cells are named by the columns.
            Value::Array(cells) if listed && !columns.is_empty() && cells.len() <= columns.len() => {
                let named = cells.iter().zip(columns);
                Value::Array(named.map(|(cell, column)| self.value(cell, Some(column), false, &[])).collect())
            }
            Value::Array(all) => Value::Array(all.iter().map(|one| self.value(one, name, true, columns)).collect()),
            Value::Object(members) => {
                let by_key = members.keys().any(|name| self.keys.iter().any(|key| **key == **name));
                let made = members.iter().map(|(name, inside)| {
                    let named = if by_key || tells(name) { self.text(name) } else { name.clone() };
                    (named, self.value(inside, Some(name), false, columns))
                });
                Value::Object(made.collect::<Map<_, _>>())
            }
        }
    }

    /// A number that is no larger: of a place on earth another one.
    fn coordinate(&self, text: &str) -> String {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        format!("{whole}.{}", self.text(&format!("1{fraction}")).get(1..).unwrap_or_default())
    }

    /// An XML text with all values made up. Comments are left out.
    pub fn xml(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut name = String::new();
        while let Some((inside, after)) = rest.split_once('<') {
            out.push_str(&self.xml_text(inside, &name));
            if let Some(after) = after.strip_prefix("!--") {
                rest = after.split_once("-->").map_or("", |(_, after)| after);
                continue;
            }
            if let Some(after) = after.strip_prefix("![CDATA[") {
                let (inside, after) = after.split_once("]]>").unwrap_or((after, ""));
                out.push_str(&escaped(&self.kept_or_made(inside, &name)));
                rest = after;
                continue;
            }
            let (tag, after) = after.split_once('>').unwrap_or((after, ""));
            out.push('<');
            out.push_str(&self.xml_tag(tag));
            out.push('>');
            let local = tag.split([' ', '/', '\n', '\t']).next().unwrap_or_default();
            name = local.rsplit(':').next().unwrap_or_default().to_owned();
            rest = after;
        }
        out.push_str(&self.xml_text(rest, ""));
        out
    }

    fn xml_text(&self, text: &str, name: &str) -> String {
        let plain =
            quick_xml::escape::unescape(text).map(|plain| plain.into_owned()).unwrap_or_else(|_| text.to_owned());
        escaped(&self.kept_or_made(&plain, name))
    }

    fn kept_or_made(&self, text: &str, name: &str) -> String {
        if self.is_kept(Some(name), text) { text.to_owned() } else { self.text(text) }
    }

    /// A tag with the values of its attributes made up, but for namespaces.
    fn xml_tag(&self, tag: &str) -> String {
        if let Some(rest) = tag.strip_prefix("?xml") {
            let version = if rest.contains("1.1") { "1.1" } else { "1.0" };
            return format!("?xml version=\"{version}\" encoding=\"UTF-8\"?");
        }
        let mut out = String::new();
        let mut rest = tag;
        while let Some(at) = rest.find(['"', '\'']) {
            let (before, from) = rest.split_at(at);
            let Some(quote) = from.chars().next() else { break };
            let (value, after) = from.get(1..).and_then(|from| from.split_once(quote)).unwrap_or(("", ""));
            out.push_str(before);
            let attribute = before.trim_end_matches('=').split_whitespace().last().unwrap_or_default();
            let ours = attribute.starts_with("xmlns") || attribute.ends_with(":nil") || attribute.ends_with(":type");
            let name = format!("@{}", attribute.rsplit(':').next().unwrap_or_default());
            let value = if ours { value.to_owned() } else { self.xml_text(value, &name) };
            out.push_str(&format!("\"{}\"", value.replace('"', "&quot;")));
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Whether a member's name looks like a key: it tells of somebody.
fn tells(name: &str) -> bool {
    name.split(|c: char| !c.is_ascii_digit()).any(|run| run.len() > DIGITS_MAX)
}

/// Bytes that only the key and the value decide.
struct Bytes<'a> {
    key: &'a hmac::Key,
    value: &'a str,
    round: u8,
    block: u32,
    left: Vec<u8>,
}

impl Bytes<'_> {
    /// Below `bound`.
    fn below(&mut self, bound: u32) -> u32 {
        if self.left.len() < 2 {
            let mut told = vec![self.round];
            told.extend(self.block.to_be_bytes());
            told.extend(self.value.as_bytes());
            self.left = hmac::sign(self.key, &told).as_ref().to_vec();
            self.block += 1;
        }
        let high = self.left.pop().unwrap_or_default();
        let low = self.left.pop().unwrap_or_default();
        (u32::from(high) << 8 | u32::from(low)) % bound.max(1)
    }
}

fn shape(value: &str, bytes: &mut Bytes<'_>) -> String {
    let check = value.len() == 18 && value.get(..17).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let letter = |base: u8, bytes: &mut Bytes<'_>| char::from(base + u8::try_from(bytes.below(26)).unwrap_or(0));
    let mut first = true;
    value
        .char_indices()
        .map(|(at, c)| match c {
            '0' if first && value.len() > 1 => {
                first = false;
                '0'
            }
            '0'..='9' if first => {
                first = false;
                char::from_digit(1 + bytes.below(9), 10).unwrap_or('1')
            }
            '0'..='9' => char::from_digit(bytes.below(10), 10).unwrap_or('0'),
            'X' | 'x' if check && at == 17 => c,
            'a'..='z' => letter(b'a', bytes),
            'A'..='Z' => letter(b'A', bytes),
            c if c.is_alphabetic() => {
                let count = u32::try_from(CHARACTERS.chars().count()).unwrap_or(1);
                CHARACTERS.chars().nth(usize::try_from(bytes.below(count)).unwrap_or(0)).unwrap_or('一')
            }
            c => c,
        })
        .collect()
}

/// Another date, written as this one is; `None`: it is none.
fn date(value: &str, bytes: &mut Bytes<'_>) -> Option<String> {
    let whole = |text: &str| text.parse::<u32>().ok();
    let fits = |year: u32, month: u32| (1850..=2100).contains(&year) && (1..=12).contains(&month);
    let all_digits = value.bytes().all(|b| b.is_ascii_digit());
    if all_digits && matches!(value.len(), 6 | 8 | 14) {
        let day = value.get(6..8).map_or(Some(1), whole)?;
        if !fits(whole(value.get(..4)?)?, whole(value.get(4..6)?)?) || !(1..=31).contains(&day) {
            return None;
        }
        let made = format!("{}{:02}{:02}", 1950 + bytes.below(60), 1 + bytes.below(12), 1 + bytes.below(28));
        let time = format!("{:02}{:02}{:02}", bytes.below(24), bytes.below(60), bytes.below(60));
        return format!("{made}{time}").get(..value.len()).map(str::to_owned);
    }
    // Runs of digits: year, month, day, hour, minute, second.
    let mut runs = value.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
    let (year, month) = (runs.next()?, runs.next()?);
    let marked = value.get(4..).is_some_and(|rest| rest.starts_with(['-', '/', '.', '年']));
    if year.len() != 4 || !marked || month.len() > 2 || !fits(whole(year)?, whole(month)?) {
        return None;
    }
    let mut out = String::new();
    let (mut at, mut run) = (0, String::new());
    for c in value.chars().chain(std::iter::once('\n')) {
        if c.is_ascii_digit() {
            run.push(c);
            continue;
        }
        if !run.is_empty() {
            let made = match at {
                0 => 1950 + bytes.below(60),
                1 => 1 + bytes.below(if run.len() == 1 { 9 } else { 12 }),
                2 => 1 + bytes.below(if run.len() == 1 { 9 } else { 28 }),
                3 => bytes.below(24),
                4 | 5 => bytes.below(60),
                // Fractions and the offset.
                _ => whole(&run).unwrap_or_default(),
            };
            out.push_str(&format!("{made:0width$}", width = run.len()));
            at += 1;
            run.clear();
        }
        if c != '\n' {
            out.push(c);
        }
    }
    Some(out)
}
