//! Who may scan by what, and what a condition comes to, said again from the files and the generator: in three values, of
//! what this caller could read in full.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use departments::expected;
use regex::Regex;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::access_oracle::{self, Access, Caller, Contract, Field, Grant, Roles, Standing, WithheldCodes, yaml};
use crate::scan::{Condition, Operator};

/// The relations that `config/rules/relations.yaml` marks for scans.
pub struct Marked(BTreeMap<String, Mark>);

struct Mark {
    /// The claim whose divisions scans stay inside.
    within: Option<String>,
    /// The department that the token must name.
    department: Option<String>,
}

impl Marked {
    pub fn read(root: &Path) -> Self {
        let department = Regex::new(r"principal\.department == '([^']+)'").unwrap();
        let file = yaml(&root.join("config/rules/relations.yaml"));
        let marked = file["relations"].as_object().unwrap().iter().filter(|(_, one)| one["scans"].is_object());
        let mark = |(name, one): (&String, &Value)| {
            let of = department.captures(one["when"].as_str().unwrap()).map(|found| found[1].to_owned());
            (name.clone(), Mark { within: one["scans"]["within"].as_str().map(str::to_owned), department: of })
        };
        Self(marked.map(mark).collect())
    }

    /// Whether scans go by a grant, as it is written, of a role that scans: it is by a marked relation, and neither with a
    /// second person's approval nor in an emergency.
    pub fn goes_by(&self, grant: &Value) -> bool {
        let is_marked = grant["relation"].as_str().is_some_and(|relation| self.0.contains_key(relation));
        is_marked && grant["approval"].is_null() && grant["break_glass"].is_null()
    }

    /// The caller's grants that scans go by.
    pub fn grants<'r>(&self, roles: &'r Roles, caller: &Caller) -> Vec<&'r Grant> {
        let scan = caller.roles.iter().collect::<BTreeSet<_>>().into_iter();
        let of_role = |role: &String| roles.grants(&Caller { roles: vec![role.clone()], ..caller.clone() });
        let all = scan.filter(|role| roles.role(role)["scans"].is_object()).flat_map(of_role);
        let department = caller.claims.get("department").and_then(Value::as_str);
        let counts = |grant: &&Grant| {
            let by = self.0.get(&grant.relation);
            let possible = by.is_some_and(|mark| mark.department.is_none() || mark.department.as_deref() == department);
            possible && self.goes_by(&grant.written)
        };
        all.filter(counts).collect()
    }

    /// The prefixes of codes that a scan by these grants stays inside.
    pub fn divisions(&self, grants: &[&Grant], caller: &Caller) -> Vec<String> {
        let of = |grant: &&Grant| match self.0.get(&grant.relation).and_then(|mark| mark.within.as_ref()) {
            Some(claim) => caller.claims.get(claim).and_then(Value::as_array).cloned().unwrap_or_default(),
            None => vec![json!("")],
        };
        grants.iter().flat_map(of).filter_map(|code| code.as_str().map(str::to_owned)).collect()
    }
}

/// What a code stands for: zeros at its end are those of whole levels.
pub fn significant(code: &str) -> &str {
    let mut end = code.len();
    for (longer, shorter) in [(12, 9), (9, 6), (6, 4), (4, 2)] {
        if end == longer && code[shorter..end].bytes().all(|digit| digit == b'0') {
            end = shorter;
        }
    }
    &code[..end]
}

/// What these grants give of a field in full, under any relation.
pub fn gives(grants: &[&Grant], field: &Field) -> bool {
    grants.iter().any(|grant| grant.gives(field) == Access::Plain)
}

/// Everything that a condition compares, with what it stands in.
pub fn compared(contract: &Contract, condition: &Condition) -> Vec<Field> {
    let mut found = BTreeMap::new();
    enter(contract, condition, &mut Vec::new(), &mut found);
    found.into_values().collect()
}

fn enter<'c>(
    contract: &'c Contract,
    condition: &'c Condition,
    at: &mut Vec<&'c Field>,
    into: &mut BTreeMap<usize, Field>,
) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| enter(contract, part, at, into)),
        Condition::Not(part) | Condition::Of(_, part) | Condition::Count(part) => enter(contract, part, at, into),
        Condition::At(field, part) => {
            at.push(field);
            enter(contract, part, at, into);
            at.pop();
        }
        Condition::Is(operator) => {
            let mut all: Vec<Field> = at.iter().map(|field| (*field).clone()).collect();
            // What is asked of a thing as a whole is asked of all that is in it.
            if let Some(last) = at.last().filter(|_| ["exists", "itemState"].contains(&operator.name)) {
                let below = format!("{}.", last.path);
                let inside = contract.fields.values().filter(|field| field.entity == last.entity && !field.hidden);
                all.extend(inside.filter(|field| field.path.starts_with(&below)).cloned());
            }
            into.extend(all.into_iter().map(|field| (field.at, field)));
        }
    }
}

/// What may come of a condition: more than one, where it is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truths(u8);

impl Truths {
    pub const TRUE: Self = Self(1);
    pub const FALSE: Self = Self(2);
    pub const UNKNOWN: Self = Self(4);
    const ANY: Self = Self(7);

    pub fn may_be(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn of(holds: bool) -> Self {
        if holds { Self::TRUE } else { Self::FALSE }
    }

    fn not(self) -> Self {
        Self(self.0 & 4 | (self.0 & 1) << 1 | (self.0 & 2) >> 1)
    }

    /// All of these hold, each of its own.
    fn all(parts: impl Iterator<Item = Self>) -> Self {
        parts.fold(Self::TRUE, |all, part| {
            let mut found = Self(0);
            for (a, b) in [1, 2, 4].into_iter().flat_map(|a| [1, 2, 4].map(|b| (a, b))) {
                if all.0 & a != 0 && part.0 & b != 0 {
                    found = found.or(if a == 2 || b == 2 { Self::FALSE } else { Self(a | b).greatest() });
                }
            }
            found
        })
    }

    /// Of true and unknown, unknown.
    fn greatest(self) -> Self {
        if self.0 & 4 != 0 { Self::UNKNOWN } else { self }
    }

    fn any(parts: impl Iterator<Item = Self>) -> Self {
        Self::all(parts.map(Self::not)).not()
    }
}

/// A household as its caller reads it.
pub struct Read {
    held: Value,
    /// Fields that several departments hold, where they may disagree about this household.
    doubtful: Vec<String>,
    today: String,
}

impl Read {
    /// `also`: what a second department holds.
    pub fn new(
        world: &departments::World,
        portrait: &Value,
        (grants, standing): (&[&Grant], &Standing),
        (contract, withheld): (&Contract, &[WithheldCodes]),
        also: &BTreeSet<String>,
    ) -> Self {
        let mut held = portrait.clone();
        for codes in withheld {
            let list = contract.field("Household", &codes.list);
            let giving = |relation: &&String| {
                grants.iter().any(|grant| grant.relation == **relation && grant.gives(list) != Access::No)
            };
            let own = standing.own.iter().filter(giving).cloned().collect();
            codes.take(&Standing { own, ..Standing::default() }, &mut held);
        }
        let household = world.household(held["id"].as_str().unwrap()).unwrap();
        held["risk"]["warning"] = expected::warning(&held, household.today);
        let kinds = expected::at(&held, "assets.vehicles").as_array().cloned().unwrap_or_default();
        held["assets"]["ownsCar"] = json!(kinds.iter().any(|one| one["kind"] == "CAR" || one["kind"] == "BUS"));
        let income = expected::at(&held, "income.perCapita").as_str().and_then(|text| text.parse::<Decimal>().ok());
        held["income"]["belowLine"] = json!(income.map(|income| income < Decimal::from(11_952)));
        // Without a mandate that holds no bank is asked: what they hold is not known to anybody.
        let over = expected::at(&held, "assets.deposits.overThreshold").clone();
        let assets = held["assets"].as_object_mut().unwrap();
        if over.is_boolean() {
            assets.insert("overDepositLine".to_owned(), over);
        } else {
            assets.remove("deposits");
        }
        let doubtful = household.exception.map_or_else(Vec::new, |_| also.iter().cloned().collect());
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8)));
        Self { held, doubtful, today: today.strftime("%Y-%m-%d").to_string() }
    }

    /// What a condition on the household may come to, or on one of its members.
    pub fn decides(&self, condition: &Condition, member: Option<usize>) -> Truths {
        let of = member.map_or(&self.held, |at| &expected::at(&self.held, "identity.members")[at]);
        self.at(condition, Some(of), None)
    }

    fn at(&self, condition: &Condition, value: Option<&Value>, field: Option<&Field>) -> Truths {
        match condition {
            Condition::All(parts) => Truths::all(parts.iter().map(|part| self.at(part, value, field))),
            Condition::Any(parts) => Truths::any(parts.iter().map(|part| self.at(part, value, field))),
            Condition::Not(part) => self.at(part, value, field).not(),
            Condition::At(field, part) => {
                let inside = match value {
                    _ if field.entity == "Person" && field.path == "household" => Some(&self.held),
                    Some(Value::Null) => Some(&Value::Null),
                    Some(value) => value.get(field.path.rsplit('.').next().unwrap_or_default()),
                    None => None,
                };
                let found = self.at(part, inside, Some(field));
                if self.is_doubtful(field) { found.or(Truths::UNKNOWN) } else { found }
            }
            Condition::Of(which, part) => {
                let Some(value) = value else { return Truths::ANY };
                let elements = || value.as_array().into_iter().flatten();
                match *which {
                    "some" => Truths::any(elements().map(|one| self.at(part, Some(one), field))),
                    "none" => Truths::any(elements().map(|one| self.at(part, Some(one), field))).not(),
                    _ => Truths::all(elements().map(|one| self.at(part, Some(one), field))),
                }
            }
            Condition::Count(part) => match (value, &**part) {
                (Some(value), Condition::Is(operator)) => {
                    let count = json!(value.as_array().map_or(0, Vec::len));
                    Truths::of(compare(operator.name, "Int", &count, &operator.value))
                }
                _ => Truths::ANY,
            },
            Condition::Is(operator) => self.is(operator, value, field),
        }
    }

    /// Whether departments may disagree about it: then it is not known. A warning rests on much of that.
    fn is_doubtful(&self, field: &Field) -> bool {
        let within = |path: &str, of: &str| path == of || path.starts_with(&format!("{of}."));
        let doubtful = self.doubtful.iter().any(|also| within(&field.path, also) || within(also, &field.path));
        let rests = !self.doubtful.is_empty() && within(&field.path, "risk.warning");
        // A section is nothing of its own.
        field.entity == "Household" && (doubtful && field.class.is_some() || rests)
    }

    fn is(&self, operator: &Operator, value: Option<&Value>, field: Option<&Field>) -> Truths {
        let (Some(value), Some(field)) = (value, field) else { return Truths::ANY };
        let is_object = !field.leaf && !field.list;
        match operator.name {
            "exists" if is_object && field.class.is_none() => {
                let wanted = operator.value == true;
                let there =
                    Truths::any(value.as_object().into_iter().flatten().map(|(_, one)| Truths::of(!one.is_null())));
                let there = if self.is_doubtful(field) { Truths::ANY } else { there };
                if wanted { there } else { there.not() }
            }
            "exists" => {
                // Whether an object is there of which nothing is held is not said here.
                let hollow = value.as_object().is_some_and(|members| members.values().all(Value::is_null));
                if hollow { Truths::ANY } else { Truths::of(value.is_null() != (operator.value == true)) }
            }
            "itemState" if self.is_doubtful(field) => Truths::ANY,
            "itemState" => {
                // An empty list is one that somebody answered, or no record: portraits tell them apart for nobody.
                let hollow = value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(|members| members.values().all(Value::is_null));
                let state = if value.is_null() { "NO_RECORD" } else { "ANSWERED" };
                let known = Truths::of(operator.value["in"].as_array().unwrap().iter().any(|one| one == state));
                if hollow { Truths::ANY } else { known }
            }
            // No comparison with nothing holds, but that it is something else.
            _ if value.is_null() => Truths::of(operator.name == "ne"),
            name => {
                let is_date = ["Date", "DateTime"].contains(&field.type_name.as_str());
                // Of a date that is known in part, not everything is known.
                if is_date && value.as_str().is_none_or(|text| text.len() != 10) {
                    return Truths::ANY;
                }
                match name {
                    "in" => {
                        let mut values = operator.value.as_array().unwrap().iter();
                        Truths::of(values.any(|one| compare("eq", &field.type_name, value, one)))
                    }
                    "startsWith" => {
                        let (value, start) = (value.as_str().unwrap(), operator.value.as_str().unwrap());
                        Truths::of(value.starts_with(start))
                    }
                    "ltDaysAgo" | "gteDaysAgo" => {
                        let days = operator.value.as_i64().unwrap();
                        let day: jiff::civil::Date = self.today.parse().unwrap();
                        let line = day.checked_sub(jiff::Span::new().days(days)).unwrap().to_string();
                        Truths::of((value.as_str().unwrap() > line.as_str()) == (name == "ltDaysAgo"))
                    }
                    _ => Truths::of(compare(name, &field.type_name, value, &operator.value)),
                }
            }
        }
    }
}

/// Of two values that are there.
fn compare(operator: &str, type_name: &str, value: &Value, with: &Value) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let order = match type_name {
        "Decimal" | "Int" => {
            let number = |value: &Value| text(value).parse::<Decimal>().unwrap();
            number(value).cmp(&number(with))
        }
        // Days follow one another as their texts do.
        _ => text(value).cmp(&text(with)),
    };
    match operator {
        "eq" => order == Equal,
        "ne" => order != Equal,
        "lt" => order == Less,
        "lte" => order != Greater,
        "gt" => order == Greater,
        "gte" => order != Less,
        other => panic!("no operator {other}"),
    }
}

/// What second departments hold of a household, by the bindings.
pub fn also(endpoints: &[access_oracle::Endpoint]) -> BTreeSet<String> {
    let of_household = endpoints.iter().filter(|endpoint| endpoint.entity == "Household");
    of_household.flat_map(|endpoint| endpoint.also.keys().cloned()).collect()
}
