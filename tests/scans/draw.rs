//! Scans, statistics and silent sources by chance: the same number draws the same case.

use std::collections::BTreeMap;

use departments::registry::BANKS;
use serde_json::{Map, Value, json};

use crate::condition::reads;
use crate::contract::{Field, Kind};
use crate::facts::{Files, is_entity_above};
use crate::reference::{Group, Measure, Of, Order, Scan, Statistic};
use crate::sources::{LISTED_BY, Sources};

/// What is asked, and who is silent meanwhile.
#[derive(Debug, Clone)]
pub struct Case {
    pub number: u64,
    pub asked: Asked,
    pub silent: Sources,
}

#[derive(Debug, Clone)]
pub enum Asked {
    Scan(Scan),
    Statistic(Statistic),
}

impl Asked {
    pub fn of(&self) -> Of {
        match self {
            Self::Scan(scan) => scan.of,
            Self::Statistic(statistic) => statistic.of,
        }
    }

    pub fn condition(&self) -> Option<&Value> {
        match self {
            Self::Scan(scan) => scan.condition.as_ref(),
            Self::Statistic(statistic) => statistic.condition.as_ref(),
        }
    }
}

/// How deep conditions stand in one another.
const DEPTH: usize = 3;
const DIVISIONS: [&str; 4] = ["331122101348", "331122101347", "331122101348000", "331122101347000"];
/// Those that rules fill: what they may be.
const DERIVED: [(&str, &[&str]); 4] = [
    ("risk.warning.level", &["RED", "YELLOW", "GREEN"]),
    ("assets.overDepositLine", &["true", "false"]),
    ("assets.ownsCar", &["true", "false"]),
    ("income.belowLine", &["true", "false"]),
];
/// Not drawn: what the gateway says of banks' answers, a constant, how the warning came about, and what rules check.
const LEFT_OUT: [&str; 4] = ["assets.deposits.banks.", "assets.deposits.total", "risk.warning.", "recognition.check"];

/// What values fields have in the world, by path: conditions are drawn from these, so that they tell some from others.
pub struct Drawing<'a> {
    files: &'a Files,
    values: BTreeMap<String, Vec<Value>>,
}

impl<'a> Drawing<'a> {
    pub fn over(files: &'a Files) -> Self {
        let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for household in files.world.village_household_ids(DIVISIONS[0]) {
            collect(&files.portrait(&household), "", &mut values);
        }
        values.retain(|path, _| {
            let field = files.contract.find(path);
            let compared =
                field.is_some_and(|field| !matches!(field.kind, Kind::Other | Kind::Object(_)) && !field.hidden);
            compared && !LEFT_OUT.iter().any(|out| path.starts_with(out))
        });
        for (path, of) in DERIVED {
            let of = of.iter().map(|text| text.parse::<bool>().map_or_else(|_| json!(text), Value::from));
            values.insert(path.to_owned(), of.collect());
        }
        Self { files, values }
    }

    pub fn case(&self, seed: u64, number: u64) -> Case {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number.wrapping_mul(0xD134_2543_DE82_EF95));
        // The first ones are much alike otherwise.
        for _ in 0..4 {
            dice.next();
        }
        let division = dice.one_of(&DIVISIONS).to_string();
        let of = if dice.chance(25) { Of::Persons } else { Of::Households };
        let above = of.within_household("");
        let condition = (!dice.chance(5)).then(|| self.object(&mut dice, of.type_name(), &above, DEPTH, true));
        let asked = if dice.chance(30) {
            let mut groups: Vec<Group> = (0..dice.below(3)).map(|_| self.group(&mut dice, of)).collect();
            // The same twice is refused.
            groups.dedup_by(|one, other| one.path == other.path);
            let measures = (0..1 + dice.below(3)).map(|_| self.measure(&mut dice, of)).collect();
            Asked::Statistic(Statistic { of, division, condition, groups, measures })
        } else {
            let sortable = |field: &Field| matches!(field.kind, Kind::Int | Kind::Decimal | Kind::Date);
            let order = dice.chance(25).then(|| {
                let path = self.single(&mut dice, of, sortable);
                Order { path, descending: dice.chance(50) }
            });
            Asked::Scan(Scan { of, division, condition, order, first: [1, 3, 10, 200][dice.below(4)] })
        };
        let silent = self.silent(&mut dice, asked.condition(), of);
        Case { number, asked, silent }
    }

    /// Mostly of those that the condition reads. One case in twelve asks while the listing's own source is silent.
    fn silent(&self, dice: &mut Dice, condition: Option<&Value>, of: Of) -> Sources {
        let sources: Vec<String> =
            self.files.bindings.sources().into_iter().filter(|source| source != LISTED_BY).collect();
        let reads = condition.map(|condition| reads(&self.files.contract, condition, of)).unwrap_or_default();
        let read: Vec<&str> = reads.iter().filter_map(|path| self.files.bindings.source_of(path)).collect();
        let read: Vec<String> = read.into_iter().filter(|source| *source != LISTED_BY).map(str::to_owned).collect();
        let mut silent: Sources = (0..[0, 0, 1, 1, 2, 4][dice.below(6)])
            .map(|_| {
                let of = if read.is_empty() || dice.chance(30) { &sources } else { &read };
                dice.one_of(of).clone()
            })
            .collect();
        // Some banks of many, those most where people have accounts.
        if read.iter().any(|source| source == "banks") && !silent.contains("banks") && dice.chance(60) {
            for _ in 0..1 + dice.below(4) {
                let most = [8, BANKS][dice.below(2)];
                silent.insert(format!("banks/{:02}", 1 + dice.below(most)));
            }
        }
        if dice.below(12) == 0 {
            silent.insert(LISTED_BY.to_owned());
        }
        silent
    }

    fn object(&self, dice: &mut Dice, type_name: &str, prefix: &str, depth: usize, through: bool) -> Value {
        if depth > 0 && dice.chance(35) {
            let mut part = || self.object(dice, type_name, prefix, depth - 1, through);
            let (one, other) = (part(), part());
            return match dice.below(3) {
                0 => json!({"and": [one, other]}),
                1 => json!({"or": [one, other]}),
                _ => json!({"not": one}),
            };
        }
        let fields: Vec<&Field> = self.drawable(type_name, prefix, through).collect();
        let mut made = Map::new();
        for _ in 0..1 + usize::from(dice.chance(20)) {
            let field = fields[dice.below(fields.len())];
            made.insert(
                field.name.clone(),
                self.field(dice, field, &format!("{prefix}{}", field.name), depth, through),
            );
        }
        Value::Object(made)
    }

    /// The fields that have a value in some household; through members at most once.
    fn drawable(&self, type_name: &str, prefix: &str, through: bool) -> impl Iterator<Item = &Field> {
        let has_values = move |field: &&Field| {
            let path = format!("{prefix}{}", field.name);
            let below = format!("{path}.");
            let inside = self.values.range(below.clone()..).next().is_some_and(|(next, _)| next.starts_with(&below));
            field.kind != Kind::Other && (self.values.contains_key(&path) || inside)
        };
        let of_type = self.files.contract.fields(type_name).iter().filter(|field| !field.hidden);
        of_type.filter(move |field| if is_entity_above(field) { through } else { has_values(field) })
    }

    fn field(&self, dice: &mut Dice, field: &Field, path: &str, depth: usize, through: bool) -> Value {
        if is_entity_above(field) {
            return self.object(dice, "Household", "", depth.saturating_sub(1), false);
        }
        let fills = self.files.bindings.fills(path);
        // Two departments tell of members, each of its own fields: they have no state of their own.
        if fills && field.is_item && path != "identity.members" && dice.chance(10) {
            let states = ["ANSWERED", "NO_RECORD", "CONFLICT"];
            let wanted: Vec<&str> = states.into_iter().filter(|_| dice.chance(40)).collect();
            return json!({"itemState": {"in": if wanted.is_empty() { vec!["CONFLICT"] } else { wanted }}});
        }
        if field.list {
            if dice.chance(20) {
                let operator = dice.one_of(&["eq", "gt", "lte"]).to_string();
                return json!({"count": {operator: dice.below(4)}});
            }
            let quantifier = dice.one_of(&["some", "every", "none"]).to_string();
            let element = match &field.kind {
                Kind::Object(of) => self.object(dice, of, &format!("{path}."), depth.saturating_sub(1), through),
                kind => self.leaf(dice, kind, path),
            };
            return json!({quantifier: element});
        }
        match &field.kind {
            Kind::Object(of) if (fills || self.is_plain(of, path)) && dice.chance(15) => {
                json!({"exists": dice.chance(50)})
            }
            Kind::Object(of) => self.object(dice, of, &format!("{path}."), depth.saturating_sub(1), through),
            kind => self.leaf(dice, kind, path),
        }
    }

    /// A section of nothing but what departments fill and conditions compare.
    fn is_plain(&self, type_name: &str, path: &str) -> bool {
        let special = DERIVED.iter().map(|(path, _)| *path).chain(LEFT_OUT);
        let below = format!("{path}.");
        !special.into_iter().any(|special| special.starts_with(&below))
            && self.files.contract.fields(type_name).iter().all(|field| field.kind != Kind::Other)
    }

    fn leaf(&self, dice: &mut Dice, kind: &Kind, path: &str) -> Value {
        let operators: &[&str] = match kind {
            Kind::Boolean => &["eq", "eq", "exists"],
            Kind::Enum(_) | Kind::Id => &["eq", "ne", "in", "exists"],
            Kind::Text => &["eq", "ne", "in", "startsWith", "exists"],
            Kind::Date => &["lt", "gte", "eq", "ne", "ltDaysAgo", "gteDaysAgo", "exists"],
            _ => &["eq", "ne", "lt", "lte", "gt", "gte", "in", "exists"],
        };
        let operator = dice.one_of(operators).to_string();
        let value = |dice: &mut Dice| {
            let values = &self.values[path];
            values[dice.below(values.len())].clone()
        };
        let asked = match operator.as_str() {
            "exists" => json!(dice.chance(50)),
            "in" => Value::Array((0..1 + dice.below(3)).map(|_| value(dice)).collect()),
            "startsWith" => json!(value(dice).as_str().unwrap().chars().take(1 + dice.below(3)).collect::<String>()),
            "ltDaysAgo" | "gteDaysAgo" => json!(dice.below(1500)),
            // Whole days alone are written as dates.
            _ if *kind == Kind::Date => {
                let text = value(dice).as_str().unwrap().to_owned();
                json!(format!("{text}-01-01").get(..10).unwrap())
            }
            _ => value(dice),
        };
        json!({operator: asked})
    }

    /// A single value of the household itself, or of the person.
    fn single(&self, dice: &mut Dice, of: Of, fits: impl Fn(&Field) -> bool) -> String {
        let is_single = |path: &&str| match of {
            Of::Households => self.is_single(path, &fits),
            Of::Persons => !path.contains('.') && self.is_fitting(&of.within_household(path), &fits),
        };
        let above = of.within_household("");
        let paths = self.values.keys().filter_map(|path| path.strip_prefix(&above));
        let paths: Vec<&str> = paths.filter(is_single).collect();
        dice.one_of(&paths).to_string()
    }

    fn is_fitting(&self, path: &str, fits: &impl Fn(&Field) -> bool) -> bool {
        let field = self.files.contract.at(path);
        fits(field) && !field.list
    }

    fn is_single(&self, path: &str, fits: &impl Fn(&Field) -> bool) -> bool {
        let above = path.match_indices('.').map(|(at, _)| &path[..at]);
        above.map(|above| self.files.contract.at(above)).all(|field| !field.list && field.kind != Kind::Other)
            && fits(self.files.contract.at(path))
    }

    fn group(&self, dice: &mut Dice, of: Of) -> Group {
        if dice.chance(30) {
            let above = if of == Of::Persons { "household." } else { "" };
            let path = format!("{above}registry.division.code");
            return Group { path, digits: Some([6, 9, 12][dice.below(3)]), period: None };
        }
        if dice.chance(20) {
            let path = self.single(dice, of, |field| field.kind == Kind::Date);
            return Group { path, digits: None, period: Some([4, 7][dice.below(2)]) };
        }
        let path = self.single(dice, of, |field| {
            matches!(field.kind, Kind::Enum(_)) || field.kind == Kind::Boolean && !field.list
        });
        Group { path, digits: None, period: None }
    }

    fn measure(&self, dice: &mut Dice, of: Of) -> Measure {
        // Nothing that departments hold of a person is a number.
        if of == Of::Persons {
            return Measure::Count;
        }
        let path = self.single(dice, of, |field| matches!(field.kind, Kind::Int | Kind::Decimal) && !field.list);
        match dice.below(5) {
            0 | 1 => Measure::Count,
            2 => Measure::Sum(path),
            3 => Measure::Min(path),
            _ => Measure::Max(path),
        }
    }

    /// How many fields conditions are drawn from.
    pub fn fields(&self) -> usize {
        self.values.len()
    }
}

/// The values of all leaves, each once; of lists those of all elements.
fn collect(value: &Value, path: &str, into: &mut BTreeMap<String, Vec<Value>>) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(value, &path, into);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, path, into)),
        leaf => {
            let known = into.entry(path.to_owned()).or_default();
            if known.len() < 60 && !known.contains(leaf) {
                known.push(leaf.clone());
            }
        }
    }
}

/// splitmix64: a number after the other.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one_of<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }
}
