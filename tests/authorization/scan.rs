//! What a scan is asked, by chance: a condition over fields of the contract, with values that households have, and what
//! stands beside it. Filter types are the contract's own, said again here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::access_oracle::{Contract, Field};
use crate::case::{ABSENT, Case, HOUSEHOLDS, NOBODY, Root, VILLAGE};
use crate::document::{Writer, name};

/// What must be so of the thing it stands at.
#[derive(Debug, Clone)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// Of a field of the object.
    At(Field, Box<Condition>),
    /// `some`, `every` or `none` of the list's elements.
    Of(&'static str, Box<Condition>),
    Count(Box<Condition>),
    Is(Operator),
}

/// What a value is held against.
#[derive(Debug, Clone)]
pub struct Operator {
    pub name: &'static str,
    /// The type of what it takes, as GraphQL writes it.
    takes: String,
    pub value: Value,
}

/// A scan as it is asked for.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Of persons, else of households.
    pub of_persons: bool,
    pub division: String,
    pub condition: Option<Condition>,
    pub among: Option<Vec<String>>,
    pub undetermined: bool,
    pub first: Option<usize>,
}

/// Households of other villages, and divisions of none.
const ELSEWHERE: [&str; 5] = ["331122101347", "330109102001", "999999000000", "331122101999", "34"];
const WIDE: [&str; 5] = ["331122101", "331122101000", "331122000000", "33", ""];
const FIRST: [Option<usize>; 6] = [None, Some(1), Some(3), Some(50), Some(100), Some(200)];
/// Fields that one condition compares at most, leaving out those it repeats.
pub const FIELDS_MAX: usize = 3;

/// Chance, out of one number.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn one_of(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }

    fn pick<'s, T>(&mut self, from: &'s [T]) -> Option<&'s T> {
        if from.is_empty() { None } else { Some(&from[self.one_of(from.len())]) }
    }
}

/// What conditions are drawn from.
pub struct Drawing<'d> {
    pub contract: &'d Contract,
    pub chance: Chance,
    /// Of some households, all that is held: values to compare with.
    pub portraits: &'d [Value],
    /// Of some persons.
    pub persons: &'d [String],
}

impl Scan {
    pub fn draw(case: &Case, leaves: &[Vec<Field>], drawing: &mut Drawing<'_>) -> Self {
        let parts: Vec<Condition> = leaves.iter().map(|leaf| drawing.of(leaf)).collect();
        let condition = match parts.len() {
            0 => None,
            1 => parts.into_iter().next(),
            _ => Some(match drawing.chance.one_of(4) {
                0 => Condition::Any(parts),
                1 => Condition::Not(Box::new(Condition::Any(parts))),
                _ => Condition::All(parts),
            }),
        };
        let chance = &mut drawing.chance;
        // Who answers for a whole county would be answered for a long time.
        let division = match chance.one_of(8) {
            0 | 1 => ELSEWHERE[chance.one_of(ELSEWHERE.len())],
            2 | 3 if !case.aliases => WIDE[chance.one_of(WIDE.len())],
            _ => VILLAGE,
        };
        let among = (chance.one_of(5) == 0).then(|| {
            let all: Vec<&str> = match case.root {
                Root::PersonScan => drawing.persons.iter().map(String::as_str).collect(),
                _ => HOUSEHOLDS.into_iter().chain(["331122101348000008", "331122101347000009"]).collect(),
            };
            let mut among: Vec<String> =
                (0..1 + chance.one_of(6)).map(|_| all[chance.one_of(all.len())].to_owned()).collect();
            among.push(if case.root == Root::PersonScan { NOBODY } else { ABSENT }.to_owned());
            among
        });
        let undetermined = chance.one_of(5) == 0;
        let first = FIRST[chance.one_of(FIRST.len())];
        let of_persons = case.root == Root::PersonScan;
        Self { of_persons, division: division.to_owned(), condition, among, undetermined, first }
    }

    /// The arguments beside the division, and what stands beside the nodes.
    pub fn write(&self, writer: &mut Writer<'_>) -> (String, &'static str) {
        let mut arguments = String::new();
        match &self.condition {
            Some(condition) if writer.one_of(3) == 1 => {
                let declared = if self.of_persons { "$where: PersonFilter" } else { "$where: HouseholdFilter" };
                writer.variable("where", declared, condition.json());
                arguments.push_str(", where: $where");
            }
            Some(condition) => arguments.push_str(&format!(", where: {}", condition.literal(writer))),
            None => {}
        }
        if let Some(among) = &self.among {
            match writer.one_of(2) {
                1 => {
                    writer.variable("among", "$among: [ID!]", json!(among));
                    arguments.push_str(", among: $among");
                }
                _ => arguments.push_str(&format!(", among: {}", json!(among))),
            }
        }
        if self.undetermined {
            arguments.push_str(", verdict: UNDETERMINED");
        }
        if let Some(first) = self.first {
            arguments.push_str(&format!(", first: {first}"));
        }
        let told = "edges { cursor missing { source state code fields } } pageInfo { hasNextPage endCursor } \
                    coverage { candidates evaluated matched undetermined whole ended \
                    missing { source state code count fields } }";
        (arguments, told)
    }
}

impl Condition {
    fn member(&self) -> (String, Value) {
        let list = |parts: &[Condition]| parts.iter().map(Condition::json).collect();
        match self {
            Self::All(parts) => ("and".to_owned(), list(parts)),
            Self::Any(parts) => ("or".to_owned(), list(parts)),
            Self::Not(part) => ("not".to_owned(), part.json()),
            Self::At(field, part) => (name(field), part.json()),
            Self::Of(which, part) => ((*which).to_owned(), part.json()),
            Self::Count(part) => ("count".to_owned(), part.json()),
            Self::Is(operator) => (operator.name.to_owned(), operator.value.clone()),
        }
    }

    /// As a value of the filter type.
    pub fn json(&self) -> Value {
        match self {
            // In one object, where their names differ: that says the same.
            Self::All(parts) => {
                let members: Map<String, Value> = parts.iter().map(Self::member).collect();
                if members.len() == parts.len() { Value::Object(members) } else { self.wrapped() }
            }
            _ => self.wrapped(),
        }
    }

    fn wrapped(&self) -> Value {
        Value::Object(Map::from_iter([self.member()]))
    }

    /// As a literal, in which some values are variables.
    fn literal(&self, writer: &mut Writer<'_>) -> String {
        let of = |name: &str, value: String| format!("{{{name}: {value}}}");
        let mut list = |parts: &[Condition]| {
            let parts: Vec<String> = parts.iter().map(|part| part.literal(writer)).collect();
            format!("[{}]", parts.join(", "))
        };
        match self {
            Self::All(parts) => of("and", list(parts)),
            Self::Any(parts) => of("or", list(parts)),
            Self::Not(part) => of("not", part.literal(writer)),
            Self::At(field, part) => of(&name(field), part.literal(writer)),
            Self::Of(which, part) => of(which, part.literal(writer)),
            Self::Count(part) => of("count", part.literal(writer)),
            Self::Is(operator) => of(operator.name, operator.literal(writer)),
        }
    }
}

impl Operator {
    fn literal(&self, writer: &mut Writer<'_>) -> String {
        if writer.one_of(3) == 1 {
            let (value, takes) = (&self.value, &self.takes);
            // The same value again is the same variable.
            let digest =
                format!("{takes}{value}").bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
            let variable = format!("v{digest}");
            writer.variable(&variable, &format!("${variable}: {takes}"), value.clone());
            return format!("${variable}");
        }
        let is_name = !["String", "ID", "IdNumber", "Decimal", "Date"].iter().any(|text| self.takes.contains(text));
        literal(&self.value, is_name)
    }
}

fn literal(value: &Value, is_name: bool) -> String {
    match value {
        Value::String(text) if is_name => text.clone(),
        Value::Array(list) => {
            let list: Vec<String> = list.iter().map(|one| literal(one, is_name)).collect();
            format!("[{}]", list.join(", "))
        }
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}: {}", literal(value, is_name))).collect();
            format!("{{{}}}", members.join(", "))
        }
        value => value.to_string(),
    }
}

/// The operators of values of a type, but for `exists` and `itemState`; none: a type of enumerated values.
fn operators(type_name: &str) -> &'static [&'static str] {
    match type_name {
        "Boolean" => &["eq"],
        "String" => &["eq", "ne", "in", "startsWith"],
        "Int" | "Decimal" => &["eq", "ne", "in", "lt", "lte", "gt", "gte"],
        "Date" | "DateTime" => &["eq", "ne", "in", "lt", "lte", "gt", "gte", "ltDaysAgo", "gteDaysAgo"],
        _ => &["eq", "ne", "in"],
    }
}

impl Drawing<'_> {
    /// A condition on the last of these fields, or on something on the way to it.
    fn of(&mut self, leaf: &[Field]) -> Condition {
        let mut chain: Vec<Field> = Vec::new();
        for field in leaf {
            chain.extend(self.contract.above(field).cloned());
            chain.push(field.clone());
        }
        let mut condition = self.at(&chain, 0);
        if self.chance.one_of(6) == 0 {
            condition = Condition::Not(Box::new(condition));
        }
        condition
    }

    fn at(&mut self, chain: &[Field], at: usize) -> Condition {
        let field = &chain[at];
        let inside = self.inside(chain, at);
        Condition::At(field.clone(), Box::new(inside))
    }

    fn inside(&mut self, chain: &[Field], at: usize) -> Condition {
        let field = &chain[at];
        let is_entity = ["Person", "Household"].contains(&field.type_name.as_str());
        if field.item.is_some() && self.chance.one_of(10) == 0 {
            return self.state();
        }
        if field.list && self.chance.one_of(6) == 0 {
            let count = self.chance.one_of(4);
            let name = ["eq", "ne", "lt", "lte", "gt", "gte"][self.chance.one_of(6)];
            let of = Operator { name, takes: "Int".to_owned(), value: json!(count) };
            return Condition::Count(Box::new(Condition::Is(of)));
        }
        // How a section with lists in it exists is not said here.
        let below =
            |other: &&Field| other.entity == field.entity && other.path.starts_with(&format!("{}.", field.path));
        let has_lists = field.class.is_none() && self.contract.fields.values().filter(below).any(|other| other.list);
        if !field.leaf && !field.list && !is_entity && !has_lists && self.chance.one_of(12) == 0 {
            return self.exists();
        }
        let one = |drawing: &mut Self| match chain.get(at + 1) {
            Some(_) => drawing.at(chain, at + 1),
            None => drawing.value(chain),
        };
        // What values are asked of are no objects: nothing is joined there.
        let inside = match (self.chance.one_of(9), chain.len() > at + 1) {
            (0, true) => Condition::Not(Box::new(one(self))),
            (1, true) => Condition::Any(vec![one(self), one(self)]),
            (2, true) => Condition::All(vec![one(self), Condition::Not(Box::new(one(self)))]),
            _ => one(self),
        };
        match field.list {
            true => Condition::Of(["some", "some", "every", "none"][self.chance.one_of(4)], Box::new(inside)),
            false => inside,
        }
    }

    fn exists(&mut self) -> Condition {
        let value = json!(self.chance.one_of(2) == 0);
        Condition::Is(Operator { name: "exists", takes: "Boolean".to_owned(), value })
    }

    fn state(&mut self) -> Condition {
        let states = [&["ANSWERED"][..], &["NO_RECORD"], &["CONFLICT"], &["NO_RECORD", "CONFLICT"]];
        let value = json!({ "in": states[self.chance.one_of(4)] });
        Condition::Is(Operator { name: "itemState", takes: "ScanStateFilter".to_owned(), value })
    }

    fn value(&mut self, chain: &[Field]) -> Condition {
        let field = &chain[chain.len() - 1];
        let held = self.held(chain);
        if self.chance.one_of(8) == 0 || held.is_empty() {
            return self.exists();
        }
        let of_type = match field.type_name.as_str() {
            "DateTime" => "Date",
            name => name,
        };
        let name = operators(&field.type_name)[self.chance.one_of(operators(&field.type_name).len())];
        let mut one = || self.chance.pick(&held).cloned().unwrap_or_default();
        let (takes, value) = match name {
            "in" => (format!("[{of_type}!]"), json!([one(), one(), one()])),
            "ltDaysAgo" | "gteDaysAgo" => {
                let days = [0, 90, 365, 2_000, 20_000][self.chance.one_of(5)];
                ("Int".to_owned(), json!(days))
            }
            "startsWith" => {
                let text = one();
                let start: String = text.as_str().unwrap_or_default().chars().take(1 + self.chance.one_of(4)).collect();
                (of_type.to_owned(), json!(start))
            }
            _ => (of_type.to_owned(), one()),
        };
        Condition::Is(Operator { name, takes, value })
    }

    /// Values that some households have there, each once; and one that few have.
    fn held(&self, chain: &[Field]) -> Vec<Value> {
        let mut found = BTreeMap::new();
        for portrait in self.portraits {
            values(portrait, &path(chain), &mut found);
        }
        let whole = |value: &Value| value.as_str().is_none_or(|text| text.len() >= 10);
        match chain[chain.len() - 1].type_name.as_str() {
            // What is compared with is a whole day.
            "Date" => found.into_values().filter(whole).collect(),
            "DateTime" => Vec::new(),
            "Decimal" => found.into_values().chain([json!("0"), json!("11952.00")]).collect(),
            "Boolean" => vec![json!(true), json!(false)],
            _ => found.into_values().collect(),
        }
    }
}

/// Names from the household; what stands under the household of a member stands under this one, and a person is a member.
fn path(chain: &[Field]) -> Vec<String> {
    let back = chain.iter().rposition(|field| field.type_name == "Household").map_or(0, |at| at + 1);
    let of_person = back == 0 && chain.first().is_some_and(|field| field.entity == "Person");
    let member: &[&str] = if of_person { &["identity", "members"] } else { &[] };
    member.iter().map(|name| (*name).to_owned()).chain(chain[back..].iter().map(name)).collect()
}

fn values(held: &Value, path: &[String], into: &mut BTreeMap<String, Value>) {
    match (held, path) {
        (Value::Array(list), _) => list.iter().for_each(|one| values(one, path, into)),
        (Value::Null, _) => {}
        (value, []) => {
            into.insert(value.to_string(), value.clone());
        }
        (value, [first, rest @ ..]) => values(&value[first], rest, into),
    }
}
