//! What a scan or a statistic must come to: all households of the division one after the other, by what is known of each.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use departments::world::Date;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::condition::{Against, reads};
use crate::facts::{Fact, Files};
use crate::kleene::{Reason, Reasons, Truth};
use crate::sources::{LISTED_BY, Sources};

/// What is gone over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Households,
    /// Household by household.
    Persons,
}

impl Of {
    pub fn type_name(self) -> &'static str {
        if self == Self::Households { "Household" } else { "Person" }
    }

    /// Where they stand in a household.
    pub fn path(self) -> &'static str {
        if self == Self::Households { "" } else { "identity.members" }
    }

    /// The path from a household, of one from them.
    pub fn within_household(self, path: &str) -> String {
        match (self, path.strip_prefix("household.")) {
            (Self::Persons, Some(of_household)) => of_household.to_owned(),
            (Self::Persons, None) => format!("{}.{path}", self.path()),
            (Self::Households, _) => path.to_owned(),
        }
    }
}

/// A scan: who of a division meets a condition.
#[derive(Debug, Clone)]
pub struct Scan {
    pub of: Of,
    pub division: String,
    /// As `where`; none: everybody.
    pub condition: Option<Value>,
    pub order: Option<Order>,
    pub first: usize,
}

/// By a single value, the least first.
#[derive(Debug, Clone)]
pub struct Order {
    pub path: String,
    pub descending: bool,
}

/// What a scan comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// In the order that is asked for, else by key; all of them.
    pub matched: Vec<String>,
    pub undetermined: BTreeMap<String, Reasons>,
    pub candidates: usize,
    /// All that were gone over, in the order of the listing.
    pub listed: Vec<String>,
}

impl Found {
    /// Those that could not be decided, in the order of the listing.
    pub fn open(&self) -> Vec<String> {
        self.listed.iter().filter(|key| self.undetermined.contains_key(*key)).cloned().collect()
    }
}

/// The listing's own source is silent: there is nothing to go over, which is never the same as nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused;

/// Of one household.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Matched,
    Not,
    Undetermined(Reasons),
}

impl Files {
    /// The verdict on one household.
    pub fn verdict(&self, household: &str, condition: Option<&Value>, silent: &Sources) -> Verdict {
        self.verdict_of(Of::Households, household, condition, silent)
    }

    /// The verdict on one of those that are gone over.
    pub fn verdict_of(&self, of: Of, key: &str, condition: Option<&Value>, silent: &Sources) -> Verdict {
        self.judged(of, key, condition, &[], silent).0
    }

    /// The sources that are not asked for what a condition reads of one, whether or not it decides anything.
    pub fn not_asked(&self, of: Of, key: &str, condition: Option<&Value>, silent: &Sources) -> Sources {
        let (_, facts) = self.judged(of, key, condition, &[], silent);
        let source = |reason: &Reason| if let Reason::NotAsked(source) = reason { Some(source.clone()) } else { None };
        facts.reasons().iter().filter_map(source).collect()
    }

    /// With what is known of it, at these paths beside those of the condition.
    fn judged(&self, of: Of, key: &str, condition: Option<&Value>, also: &[&str], silent: &Sources) -> (Verdict, Fact) {
        let mut reads = condition.map(|condition| reads(&self.contract, condition, of)).unwrap_or_default();
        reads.extend(also.iter().map(|path| of.within_household(path)));
        let household = match of {
            Of::Households => key.to_owned(),
            Of::Persons => {
                reads.insert(of.within_household("idNumber"));
                self.world.person(key).unwrap().0.id
            }
        };
        let home = self.facts(&household, silent, &reads);
        let against = Against { files: self, household: &home, silent, today: self.world.today() };
        let facts = if of == Of::Persons { member(&home, key) } else { home.clone() };
        let verdict = match condition.map_or(Truth::True, |condition| against.meets(condition, of, &facts)) {
            Truth::True => Verdict::Matched,
            Truth::False => Verdict::Not,
            Truth::Unknown(reasons) => Verdict::Undetermined(reasons),
        };
        (verdict, facts)
    }

    pub fn candidates(&self, of: Of, division: &str, silent: &Sources) -> Result<Vec<String>, Refused> {
        if silent.contains(LISTED_BY) {
            return Err(Refused);
        }
        let households = self.world.village_household_ids(division);
        if of == Of::Households {
            return Ok(households.collect());
        }
        let members = households.flat_map(|id| self.world.household(&id).unwrap().members);
        Ok(members.map(|member| member.id_number).collect())
    }

    pub fn scan(&self, scan: &Scan, silent: &Sources) -> Result<Found, Refused> {
        let candidates = self.candidates(scan.of, &scan.division, silent)?;
        let by: Vec<&str> = scan.order.iter().map(|order| order.path.as_str()).collect();
        let mut matched: Vec<(Option<Ordered>, String)> = Vec::new();
        let mut undetermined = BTreeMap::new();
        for household in &candidates {
            let (verdict, facts) = self.judged(scan.of, household, scan.condition.as_ref(), &by, silent);
            let value = scan.order.as_ref().map(|order| ordered(&facts.at(&order.path), &order.path)).transpose();
            match (verdict, value) {
                (Verdict::Not, _) => {}
                (Verdict::Matched, Ok(value)) => matched.push((value.flatten(), household.clone())),
                // Where it would stand is not known.
                (Verdict::Matched, Err(reasons)) | (Verdict::Undetermined(reasons), _) => {
                    undetermined.insert(household.clone(), reasons);
                }
            }
        }
        // Of equal ones by key, and those that have nothing last either way.
        if let Some(order) = &scan.order {
            matched.sort_by(|(a, a_key), (b, b_key)| {
                let by_value = match (a, b) {
                    (Some(a), Some(b)) if order.descending => b.cmp(a),
                    (Some(a), Some(b)) => a.cmp(b),
                    (a, b) => a.is_none().cmp(&b.is_none()),
                };
                by_value.then(a_key.cmp(b_key))
            });
        }
        let matched = matched.into_iter().map(|(_, household)| household).collect();
        Ok(Found { matched, undetermined, candidates: candidates.len(), listed: candidates })
    }
}

/// A member of a household, with the household.
fn member(home: &Fact, id_number: &str) -> Fact {
    let members = match home.at(Of::Persons.path()) {
        Fact::List(members) => members,
        Fact::Unknown(reasons) => return Fact::Unknown(reasons),
        other => panic!("who is listed has a household with members, and not {other:?}"),
    };
    let is_it = |fact: &&Fact| fact.at("idNumber") == Fact::Leaf(Value::from(id_number));
    let Some(Fact::Object(mut fields)) = members.iter().find(is_it).cloned() else {
        panic!("{id_number} is no member")
    };
    fields.insert("household".to_owned(), home.clone());
    Fact::Object(fields)
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Ordered {
    Number(Decimal),
    Day(i64),
}

/// None: there is nothing.
fn ordered(fact: &Fact, path: &str) -> Result<Option<Ordered>, Reasons> {
    match fact {
        Fact::Unknown(reasons) | Fact::OneOf(_, reasons) => Err(reasons.clone()),
        Fact::Leaf(Value::String(text)) if text.contains('-') && !text.starts_with('-') => match Date::parse(text) {
            Some(day) => Ok(Some(Ordered::Day(day.days()))),
            None => Err(Reasons::from([Reason::Partial(path.to_owned())])),
        },
        Fact::Leaf(value) => Ok(Some(Ordered::Number(number(value)))),
        _ => Ok(None),
    }
}

fn number(value: &Value) -> Decimal {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Decimal::from_str(&text).unwrap_or_else(|_| panic!("{value} is no number"))
}

/// A statistic over those of a division who meet a condition.
#[derive(Debug, Clone)]
pub struct Statistic {
    pub of: Of,
    pub division: String,
    pub condition: Option<Value>,
    pub groups: Vec<Group>,
    pub measures: Vec<Measure>,
}

#[derive(Debug, Clone)]
pub struct Group {
    pub path: String,
    /// Of a division's code.
    pub digits: Option<usize>,
    /// Of a date: 4 characters of it are the year, 7 the month.
    pub period: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    Count,
    Sum(String),
    Min(String),
    Max(String),
}

impl Measure {
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Count => None,
            Self::Sum(path) | Self::Min(path) | Self::Max(path) => Some(path),
        }
    }
}

/// Between these; an end that is none is not bounded, or there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    pub lower: Option<Decimal>,
    pub upper: Option<Decimal>,
}

/// What the groups have in common → the measures in order. A part of a key is none where there is nothing.
pub type Key = Vec<Option<String>>;
pub type Reckoned = BTreeMap<Key, Vec<Bounds>>;

/// What is counted of one group.
#[derive(Debug, Default)]
struct Tally {
    matched: usize,
    /// In the group, and not known whether they meet the condition.
    open: usize,
    /// The values of those that meet it, by measure; none: not known.
    values: Vec<Vec<Option<Decimal>>>,
}

impl Files {
    pub fn statistic(&self, statistic: &Statistic, silent: &Sources) -> Result<Reckoned, Refused> {
        let mut tallies: BTreeMap<Key, Tally> = BTreeMap::new();
        let measured = statistic.measures.iter().filter_map(Measure::path);
        let by: Vec<&str> = statistic.groups.iter().map(|group| group.path.as_str()).chain(measured).collect();
        // Those who may be in any group.
        let mut anywhere = 0;
        if statistic.groups.is_empty() {
            tallies.insert(Key::new(), self.tally(statistic));
        }
        for key in self.candidates(statistic.of, &statistic.division, silent)? {
            let (verdict, facts) = self.judged(statistic.of, &key, statistic.condition.as_ref(), &by, silent);
            if verdict == Verdict::Not {
                continue;
            }
            let Some(keys) = keys(&facts, &statistic.groups) else {
                anywhere += 1;
                continue;
            };
            for key in keys {
                let tally = tallies.entry(key).or_insert_with(|| self.tally(statistic));
                if matches!(verdict, Verdict::Undetermined(_)) {
                    tally.open += 1;
                    continue;
                }
                tally.matched += 1;
                for (measure, values) in statistic.measures.iter().zip(&mut tally.values) {
                    match measure.path().map(|path| facts.at(path)) {
                        Some(Fact::Leaf(value)) => values.push(Some(number(&value))),
                        Some(Fact::Unknown(_)) => values.push(None),
                        _ => {}
                    }
                }
            }
        }
        let reckoned = tallies.into_iter().map(|(key, tally)| {
            let of =
                |(measure, values): (&Measure, &Vec<_>)| self.bounds(measure, values, &tally, tally.open + anywhere);
            (key, statistic.measures.iter().zip(&tally.values).map(of).collect())
        });
        Ok(reckoned.collect())
    }

    fn tally(&self, statistic: &Statistic) -> Tally {
        Tally { values: vec![Vec::new(); statistic.measures.len()], ..Tally::default() }
    }

    /// `open`: those who may be in the group, and may meet the condition.
    fn bounds(&self, measure: &Measure, values: &[Option<Decimal>], tally: &Tally, open: usize) -> Bounds {
        let known: Vec<Decimal> = values.iter().flatten().copied().collect();
        let missing = values.len() - known.len();
        let range = measure.path().and_then(|path| self.contract.at(path).range);
        let (least, most) = (range.map(|(least, _)| least), range.and_then(|(_, most)| most));
        let whole = missing + open == 0;
        let times = |value: Decimal, n: usize| value * Decimal::from(n);
        match measure {
            Measure::Count => {
                let count = |n: usize| Some(Decimal::from(n));
                Bounds { lower: count(tally.matched), upper: count(tally.matched + open) }
            }
            Measure::Sum(_) => {
                let sum: Decimal = known.iter().sum();
                // Those who may not be in it add nothing, or what is the least if that takes away.
                let lower = least.map(|least| sum + times(least, missing) + times(least.min(Decimal::ZERO), open));
                let upper = most.map(|most| sum + times(most, missing) + times(most.max(Decimal::ZERO), open));
                if whole { Bounds { lower: Some(sum), upper: Some(sum) } } else { Bounds { lower, upper } }
            }
            Measure::Min(_) => {
                let found = known.iter().min().copied();
                Bounds { lower: if whole { found } else { least }, upper: found }
            }
            Measure::Max(_) => {
                let found = known.iter().max().copied();
                Bounds { lower: found, upper: if whole { found } else { most } }
            }
        }
    }
}

/// The groups that a household is in, each once: one for each value of a list. None: that is not known.
fn keys(facts: &Fact, groups: &[Group]) -> Option<BTreeSet<Key>> {
    let mut keys = BTreeSet::from([Key::new()]);
    for group in groups {
        let text = |fact: &Fact| match fact {
            Fact::Leaf(value) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let kept = group.digits.or(group.period).unwrap_or(text.len());
                Some(text.get(..kept).map_or(text.clone(), str::to_owned))
            }
            _ => None,
        };
        let parts: Vec<Option<String>> = match facts.at(&group.path) {
            Fact::Unknown(_) | Fact::OneOf(..) => return None,
            Fact::List(elements) if elements.is_empty() => vec![None],
            Fact::List(elements) => elements.iter().map(text).collect(),
            fact => vec![text(&fact)],
        };
        let with = |key: &Key| parts.iter().map(|part| [key.clone(), vec![part.clone()]].concat()).collect::<Vec<_>>();
        keys = keys.iter().flat_map(with).collect();
    }
    Some(keys)
}
