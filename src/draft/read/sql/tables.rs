//! Tables → operations that read them, by key, by what refers to another table, and all of them.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::{Column, Table};
use crate::draft::name;
use crate::draft::operation::{Asked, Found, Key, Operation, Record};
use crate::draft::read::openapi::object;
use crate::draft::types::{Member, Shape};
use crate::draft::{Limits, Wanted};
use crate::model::binding::request::quoted_identifier;

/// Keys in one statement, and rows of one page.
const BATCH: u64 = 200;
const PAGE: u64 = 500;
const ENUM_MAX: usize = 200;

struct Drafting<'a> {
    tables: &'a [Table],
    wanted: &'a Wanted,
    limits: Limits,
    found: &'a mut Found,
    /// What the records of each table are called.
    records: Vec<String>,
    /// Tables that are entities, and their keys.
    keys: HashMap<usize, String>,
    /// Endpoints and queries.
    names: HashSet<String>,
}

pub fn draft(tables: &[Table], wanted: &Wanted, limits: Limits, found: &mut Found) {
    let mut taken = HashSet::new();
    let records = tables.iter().map(|table| {
        let wish = name::pascal(&name::singular(table.name.last())).unwrap_or_else(|| "Record".to_owned());
        name::unique(wish, &mut taken)
    });
    let mut drafting = Drafting {
        tables,
        wanted,
        limits,
        found,
        records: records.collect(),
        keys: HashMap::new(),
        names: HashSet::new(),
    };
    drafting.all();
}

impl Drafting<'_> {
    fn all(&mut self) {
        let wanted = |table: &Table| {
            let only = self.wanted.only.as_deref().unwrap_or_default();
            table.name.last().starts_with(only) || table.name.shown().starts_with(only)
        };
        let mut chosen = Vec::new();
        for (at, table) in self.tables.iter().enumerate().filter(|(_, table)| wanted(table)) {
            if table.name.0.len() <= 3 && table.name.0.iter().all(|part| quoted_identifier(&part.folded).is_some()) {
                chosen.push(at);
            } else {
                let why = "the gateway names only what is called with letters, digits and `_`: make a view of it";
                self.found.left_out.push((label(table), why.to_owned()));
            }
        }
        if self.wanted.entity.is_some() {
            for at in chosen {
                self.by_wanted_key(at);
            }
            return;
        }
        for at in &chosen {
            let key = self.tables.get(*at).and_then(|table| Some((table, table.key()?)));
            if let Some((_, key)) = key.filter(|(table, key)| key_type(table, key).is_some()) {
                self.keys.insert(*at, key.to_owned());
            }
        }
        for at in &chosen {
            self.itself(*at);
        }
        for at in &chosen {
            self.referring(*at);
        }
        for at in &chosen {
            self.listed(*at);
        }
    }

    /// One row by its key.
    fn itself(&mut self, at: usize) {
        let (Some(table), Some(key)) = (self.tables.get(at), self.keys.get(&at).cloned()) else { return };
        let record = self.record(at, false);
        let mut decide = Vec::new();
        if table.is_view {
            decide.push(format!("is {key} the key of this view? It is that of a table it reads"));
        }
        let own = self.records.get(at).cloned().unwrap_or_default();
        let name = self.named(&own);
        let asked = Asked::Many(Key {
            parameter: key.clone(),
            group: format!("{own} key"),
            last: true,
            required: true,
            generic: false,
        });
        let request = self.request(table, Some(&key));
        self.operation(table, name, None, label(table), asked, request, decide, record);
    }

    /// The rows that refer to a row of another table.
    fn referring(&mut self, at: usize) {
        let Some(table) = self.tables.get(at) else { return };
        let mut names: HashSet<String> = HashSet::new();
        for foreign in &table.foreign {
            let ([column], Some(to)) = (foreign.columns.as_slice(), self.target(table, foreign)) else { continue };
            let Some(column) = table.column(column) else { continue };
            let folded = &column.name.folded;
            if quoted_identifier(folded).is_none() || key_type(table, folded).is_none() {
                continue;
            }
            let one = table.is_unique(folded);
            let (Some(own), Some(other)) = (self.records.get(at).cloned(), self.records.get(to).cloned()) else {
                continue;
            };
            let linked = self.linked(at, table, folded);
            let called = linked.as_ref().map_or(&own, |(record, _)| record);
            let plain = name::camel(called).unwrap_or_else(|| "record".to_owned());
            let mut field = if one { plain } else { name::plural(&plain) };
            if !names.insert(format!("{other} {field}")) {
                field = format!("{field}By{}", name::pascal(&column.name.shown).unwrap_or_default());
            }
            let of_entity = linked.or_else(|| Some((own.clone(), self.keys.get(&at)?.clone())));
            let record = match of_entity {
                Some((of, key)) => {
                    let shape = Shape::Entity { record: of, list: !one };
                    let pointer = pointer(&key);
                    let member = Member { name: field.clone(), pointer, shape, description: None, decide: None };
                    Record { name: None, list: !one, members: vec![member] }
                }
                None => Record { list: !one, ..self.record(at, false) },
            };
            let key = Key {
                parameter: folded.clone(),
                group: format!("{other} key"),
                last: false,
                required: true,
                generic: false,
            };
            let mut decide = Vec::new();
            if record.name.is_some() {
                decide
                    .push(format!("{} has no key of one column: it is read by what it refers to", table.name.shown()));
            }
            let name = self.named(&format!("{field} of {other}"));
            let request = self.request(table, Some(folded));
            let label = format!("{} by {}", label(table), column.name.shown);
            self.operation(table, name, Some(field), label, Asked::Many(key), request, decide, record);
        }
    }

    /// Of a table that only links two others: the other one than that which this column refers to, and its column.
    fn linked(&self, at: usize, table: &Table, column: &str) -> Option<(String, String)> {
        let [one, other] = table.foreign.as_slice() else { return None };
        let ([a], [b]) = (one.columns.as_slice(), other.columns.as_slice()) else { return None };
        let says_more = table.columns.iter().any(|own| {
            let own_name = &own.name.folded;
            !own_name.eq_ignore_ascii_case(a) && !own_name.eq_ignore_ascii_case(b) && own.kind != Kind::DateTime
        });
        if self.keys.contains_key(&at) || says_more || a.eq_ignore_ascii_case(b) {
            return None;
        }
        let (far, foreign) = if a.eq_ignore_ascii_case(column) { (b, other) } else { (a, one) };
        let record = self.records.get(self.target(table, foreign)?)?;
        Some((record.clone(), table.column(far)?.name.folded.clone()))
    }

    /// All rows.
    fn listed(&mut self, at: usize) {
        let Some(table) = self.tables.get(at) else { return };
        let key = self.keys.get(&at).cloned();
        let reached = key.is_none()
            && table.foreign.iter().any(|foreign| foreign.columns.len() == 1 && self.target(table, foreign).is_some());
        if reached {
            return;
        }
        let record = self.record(at, true);
        if record.members.is_empty() {
            self.found.left_out.push((label(table), "it has no column that could be read as a text".to_owned()));
            return;
        }
        let mut request = self.request(table, key.as_deref());
        request.remove("batch_max");
        request.insert("items".to_owned(), json!(""));
        let mut decide = Vec::new();
        if key.is_some() {
            request.insert("pages".to_owned(), json!({"number": "page", "size": PAGE}));
        } else {
            request.remove("key_type");
            decide.push(format!("{} has no key of one column: which field tells its rows apart?", table.name.shown()));
        }
        let own = self.records.get(at).cloned().unwrap_or_default();
        let name = self.named(&name::plural(&own));
        let label = format!("{}, all rows", label(table));
        self.operation(table, name, None, label, Asked::With(Vec::new()), request, decide, record);
    }

    /// The rows of an entity that is known elsewhere.
    fn by_wanted_key(&mut self, at: usize) {
        let Some(table) = self.tables.get(at) else { return };
        let mut keys = self.wanted.keys.iter().filter_map(|(name, _)| Some((name, table.column(name)?)));
        let Some((parameter, column)) = keys.next() else {
            self.found.left_out.push((label(table), "it has none of the columns given with --key".to_owned()));
            return;
        };
        let folded = &column.name.folded;
        if quoted_identifier(folded).is_none() || key_type(table, folded).is_none() {
            self.found
                .left_out
                .push((label(table), format!("its {} cannot be a key: cast it in a view", column.name.shown)));
            return;
        }
        let record = Record { list: !table.is_unique(folded), ..self.record(at, false) };
        let key =
            Key { parameter: parameter.clone(), group: String::new(), last: false, required: true, generic: false };
        let own = name::camel(table.name.last()).unwrap_or_else(|| format!("table{}", at + 1));
        let name = self.named(&own);
        let request = self.request(table, Some(folded));
        self.operation(table, name, None, label(table), Asked::Many(key), request, Vec::new(), record);
    }

    fn named(&mut self, wish: &str) -> String {
        name::unique(name::camel(wish).unwrap_or_else(|| "table".to_owned()), &mut self.names)
    }

    #[expect(clippy::too_many_arguments, reason = "what an operation is made of")]
    fn operation(
        &mut self,
        table: &Table,
        name: String,
        field: Option<String>,
        label: String,
        asked: Asked,
        request: Map<String, Value>,
        decide: Vec<String>,
        record: Record,
    ) {
        if record.members.is_empty() {
            self.found.left_out.push((label, "it has no column that could be read as a text".to_owned()));
            return;
        }
        let summary = table.comment.clone();
        self.found.operations.push(Operation {
            name,
            field,
            label,
            summary,
            asked,
            request,
            batch: None,
            decide,
            record,
        });
    }

    fn request(&self, table: &Table, key: Option<&str>) -> Map<String, Value> {
        let mut request = object([("view", json!(table.name.whole()))]);
        if let Some(key) = key {
            request.insert("key_column".to_owned(), json!(key));
            if let Some(of) = key_type(table, key).filter(|of| *of != "text") {
                request.insert("key_type".to_owned(), json!(of));
            }
            request.insert("batch_max".to_owned(), json!(BATCH));
        }
        request
    }

    /// The table that a column refers to, where that is an entity and is referred to by its key.
    fn target(&self, table: &Table, foreign: &super::Foreign) -> Option<usize> {
        let schema = table.name.0.split_last().map_or(&[][..], |(_, schema)| schema);
        let alike = |other: &Table| other.name.is_alike(&foreign.to);
        let same = |other: &Table| other.name.0.split_last().is_some_and(|(_, own)| own == schema);
        let all = || self.keys.keys().copied().filter(|at| self.tables.get(*at).is_some_and(alike));
        let at = all().find(|at| self.tables.get(*at).is_some_and(same)).or_else(|| all().min())?;
        let key = self.keys.get(&at)?;
        let by_key = match foreign.referred.as_slice() {
            [] => true,
            [one] => one.eq_ignore_ascii_case(key),
            _ => false,
        };
        by_key.then_some(at)
    }

    fn record(&mut self, at: usize, list: bool) -> Record {
        let Some(table) = self.tables.get(at) else { return Record::default() };
        let key = self.keys.get(&at).cloned();
        let mut taken = HashSet::new();
        let mut members = Vec::new();
        let refers = |column: &Column| {
            let own = &column.name.folded;
            table.foreign.iter().any(|foreign| {
                foreign.columns.len() == 1 && foreign.columns.iter().any(|one| one.eq_ignore_ascii_case(own))
            })
        };
        let mut columns: Vec<&Column> = table.columns.iter().collect();
        // What is cut off is what nothing goes by.
        columns.sort_by_key(|column| (Some(&column.name.folded) != key.as_ref(), !refers(column)));
        columns.truncate(self.limits.fields);
        let kept: HashSet<&str> = columns.iter().map(|column| column.name.folded.as_str()).collect();
        for (number, column) in table.columns.iter().enumerate() {
            if kept.contains(column.name.folded.as_str()) {
                let is_key = Some(&column.name.folded) == key.as_ref() || refers(column);
                self.member(at, number, column, is_key, &mut taken, &mut members);
            }
        }
        // Value objects in a list lead nowhere: only entities do.
        if self.keys.contains_key(&at) {
            for foreign in &table.foreign {
                let ([column], Some(to)) = (foreign.columns.as_slice(), self.target(table, foreign)) else { continue };
                let (Some(column), Some(other)) = (table.column(column), self.records.get(to)) else { continue };
                let named = name::camel(&column.name.shown).unwrap_or_default();
                let stem =
                    ["Id", "ID", "Uuid", "UUID", "Code", "Key", "No"].iter().find_map(|end| named.strip_suffix(end));
                let stem = stem.filter(|stem| !stem.is_empty()).map(str::to_owned);
                let wish = stem.unwrap_or_else(|| match named.as_str() {
                    "" => name::camel(other).unwrap_or_else(|| "other".to_owned()),
                    named => format!("{named}Record"),
                });
                let shape = Shape::Entity { record: other.clone(), list: false };
                let pointer = pointer(&column.name.folded);
                let wish = if taken.contains(&wish) { format!("{wish}Record") } else { wish };
                let name = name::unique(wish, &mut taken);
                members.push(Member { name, pointer, shape, description: None, decide: None });
            }
        }
        Record { name: self.records.get(at).cloned(), list, members }
    }

    fn member(
        &mut self,
        at: usize,
        number: usize,
        column: &Column,
        is_key: bool,
        taken: &mut HashSet<String>,
        members: &mut Vec<Member>,
    ) {
        let named = name::camel(&column.name.shown);
        let mut decide = named.is_none().then(|| format!("a name for {}", column.name.shown));
        let field = named.unwrap_or_else(|| format!("field{}", number + 1));
        let is_id = is_key || field == "id" || field.ends_with("Id") || field.ends_with("ID");
        let plain = |kind: &str| Shape::Leaf { kind: kind.to_owned(), list: false, options: Vec::new() };
        let codes = match &column.kind {
            Kind::Values(codes) => codes,
            _ => &column.codes,
        };
        let shape = match &column.kind {
            Kind::Bytes => return,
            _ if !codes.is_empty() && codes.len() <= ENUM_MAX && !is_key => {
                let texts: Vec<&str> = codes.iter().map(String::as_str).collect();
                let record = self.records.get(at).map_or("", String::as_str);
                self.found.types.codes(&format!("{record} {field}"), &texts, false)
            }
            Kind::Int | Kind::Whole if is_id => plain("String"),
            Kind::Int => plain("Int"),
            Kind::Whole | Kind::Decimal => plain("Decimal"),
            Kind::Boolean => plain("Boolean"),
            Kind::Date => plain("Date"),
            Kind::DateTime => plain("DateTime"),
            Kind::Text | Kind::Uuid | Kind::Values(_) => plain("String"),
            Kind::List => {
                decide = decide.or_else(|| Some("a list, as the database writes it; a view could cut it".to_owned()));
                plain("String")
            }
            Kind::Named(kind) => {
                decide = decide.or_else(|| Some(format!("what a {kind} is, and how it is written")));
                plain("String")
            }
        };
        if !column.numbers.is_empty() {
            decide = Some(format!("what its codes mean, as `codes` or `map`: {}", column.numbers.join(", ")));
        }
        let is_enum = matches!(&shape, Shape::Leaf { options, .. } if !options.is_empty());
        let (name, pointer) = (name::unique(field, taken), pointer(&column.name.folded));
        members.push(Member {
            name: name.clone(),
            pointer: pointer.clone(),
            shape,
            description: column.comment.clone(),
            decide,
        });
        if is_enum {
            let name = name::unique(format!("{name}Code"), taken);
            members.push(Member { name, pointer, shape: plain("String"), description: None, decide: None });
        }
    }
}

/// What `key_type` says of a column that can be asked by.
fn key_type(table: &Table, column: &str) -> Option<&'static str> {
    quoted_identifier(column)?;
    match table.column(column)?.kind {
        Kind::Text => Some("text"),
        Kind::Int | Kind::Whole => Some("integer"),
        Kind::Uuid => Some("uuid"),
        _ => None,
    }
}

fn label(table: &Table) -> String {
    format!("{} {}", if table.is_view { "view" } else { "table" }, table.name.shown())
}

fn pointer(column: &str) -> String {
    format!("/{}", column.replace('~', "~0").replace('/', "~1"))
}
