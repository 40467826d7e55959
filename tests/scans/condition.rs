//! Whether a household meets a condition, as frontends write it (`where`), by what is known of it.

use std::str::FromStr;

use departments::world::Date;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use crate::contract::{Contract, Field, Kind};
use crate::facts::{Fact, Files, Reads, is_entity, is_entity_above};
use crate::kleene::{Reason, Reasons, Truth};
use crate::reference::Of;
use crate::sources::Sources;

/// A household that conditions are held against.
pub struct Against<'a> {
    pub files: &'a Files,
    pub household: &'a Fact,
    pub silent: &'a Sources,
    pub today: Date,
}

impl Against<'_> {
    /// Whether the household meets it, or one of its members, of whom this is known.
    pub fn meets(&self, condition: &Value, of: Of, fact: &Fact) -> Truth {
        self.object(members(condition), fact, of.type_name(), of.path())
    }

    /// Whether the household does.
    pub fn household_meets(&self, condition: &Value) -> Truth {
        self.meets(condition, Of::Households, self.household)
    }

    /// Of an object: all that stands in the condition has to be so.
    fn object(&self, condition: &Map<String, Value>, fact: &Fact, type_name: &str, path: &str) -> Truth {
        assert!(!condition.is_empty(), "{path}: a condition without members is refused");
        Truth::all(condition.iter().map(|(key, value)| {
            let of = |part: &Value| self.object(members(part), fact, type_name, path);
            match (key.as_str(), value) {
                ("and", Value::Array(parts)) => Truth::all(parts.iter().map(of)),
                ("or", Value::Array(parts)) => Truth::any(parts.iter().map(of)),
                ("not", part) => of(part).negated(),
                ("exists", Value::Bool(wanted)) => {
                    let there = match path.is_empty() || self.files.bindings.fills(path) {
                        true => is_there(fact),
                        false => self.holds_anything(fact, type_name, path),
                    };
                    if *wanted { there } else { there.negated() }
                }
                ("itemState", states) => self.in_state(fact, states, path),
                (name, part) => self.member(fact, type_name, name, part, path),
            }
        }))
    }

    /// A section, or an object that is nothing but its fields, is there where any of them is; who else is in it does not count.
    fn holds_anything(&self, fact: &Fact, type_name: &str, path: &str) -> Truth {
        let fields = self.files.contract.fields(type_name).iter();
        let own = fields.filter(|field| !field.hidden && field.kind != Kind::Other && !is_entity(field));
        Truth::any(own.map(|field| match (&field.kind, below(fact, &field.name)) {
            (_, Fact::Unknown(reasons)) => Truth::Unknown(reasons),
            (_, Fact::List(elements)) => Truth::from(!elements.is_empty()),
            (Kind::Object(of), inner @ Fact::Object(_)) => {
                let path = format!("{path}.{}", field.name);
                let is_section = !self.files.bindings.fills(&path);
                if is_section { self.holds_anything(&inner, of, &path) } else { Truth::True }
            }
            (_, inner) => Truth::from(inner != Fact::Null),
        }))
    }

    fn member(&self, fact: &Fact, type_name: &str, name: &str, part: &Value, path: &str) -> Truth {
        let field = self.files.contract.field(type_name, name);
        // Of a member, its household is the one that is looked at.
        if is_entity_above(field) {
            return self.household_meets(part);
        }
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        self.field(members(part), &below(fact, name), field, &path)
    }

    fn field(&self, condition: &Map<String, Value>, fact: &Fact, field: &Field, path: &str) -> Truth {
        match &field.kind {
            _ if field.list => self.list(condition, fact, field, path),
            Kind::Object(of) => self.object(condition, fact, of, path),
            kind => self.leaf(condition, fact, kind, path),
        }
    }

    fn list(&self, condition: &Map<String, Value>, fact: &Fact, field: &Field, path: &str) -> Truth {
        let element = Field { list: false, ..field.clone() };
        Truth::all(condition.iter().map(|(key, part)| {
            if key == "itemState" {
                return self.in_state(fact, part, path);
            }
            let elements: &[Fact] = match fact {
                Fact::Unknown(reasons) => return Truth::Unknown(reasons.clone()),
                Fact::List(elements) => elements,
                _ => &[],
            };
            let of = |one: &Fact| self.field(members(part), one, &element, path);
            match key.as_str() {
                "some" => Truth::any(elements.iter().map(of)),
                "every" => Truth::all(elements.iter().map(of)),
                "none" => Truth::any(elements.iter().map(of)).negated(),
                "count" => {
                    let count = Fact::Leaf(Value::from(elements.len()));
                    self.leaf(members(part), &count, &Kind::Int, path)
                }
                other => panic!("{path}: nothing asks `{other}` of a list"),
            }
        }))
    }

    fn leaf(&self, condition: &Map<String, Value>, fact: &Fact, kind: &Kind, path: &str) -> Truth {
        match fact {
            // That two disagree is a state that is known.
            Fact::Unknown(reasons) => {
                return Truth::all(condition.iter().map(|(operator, value)| match operator.as_str() {
                    "itemState" => self.in_state(fact, value, path),
                    _ => Truth::Unknown(reasons.clone()),
                }));
            }
            // What is so of each value that it may have is so.
            Fact::OneOf(values, reasons) => {
                let of = |value: &Value| self.leaf(condition, &Fact::Leaf(value.clone()), kind, path);
                let all: Vec<Truth> = values.iter().map(of).collect();
                let same = all.iter().all(|truth| *truth == all[0]);
                return if same { all[0].clone() } else { Truth::Unknown(reasons.clone()) };
            }
            _ => {}
        }
        Truth::all(condition.iter().map(|(operator, value)| {
            let null = Value::Null;
            let own = if let Fact::Leaf(own) = fact { own } else { &null };
            match operator.as_str() {
                "exists" => Truth::from(own.is_null() != (value == &Value::Bool(true))),
                "itemState" => self.in_state(fact, value, path),
                "ne" => self.compare("eq", own, value, kind, path).negated(),
                "in" => Truth::any(array(value).iter().map(|one| self.compare("eq", own, one, kind, path))),
                operator => self.compare(operator, own, value, kind, path),
            }
        }))
    }

    /// Only what is known to be so: answered, nothing there, or two who disagree. Where a second holder is silent it is not
    /// known whether they would disagree.
    fn in_state(&self, fact: &Fact, states: &Value, path: &str) -> Truth {
        let is = |state: &str| array(&states["in"]).iter().any(|one| one == state);
        match fact {
            Fact::Unknown(reasons) if reasons.iter().all(|reason| matches!(reason, Reason::Conflict(_))) => {
                return Truth::from(is("CONFLICT"));
            }
            Fact::Unknown(reasons) => return Truth::Unknown(reasons.clone()),
            Fact::Null => return Truth::from(is("NO_RECORD")),
            _ => {}
        }
        let unheard = self.files.bindings.second_silent(path, self.silent);
        if !unheard.is_empty() && is("ANSWERED") != is("CONFLICT") {
            return Truth::Unknown(unheard.into_iter().map(Reason::Silent).collect());
        }
        Truth::from(is("ANSWERED"))
    }

    /// Nothing is neither equal to anything, nor less, nor more.
    fn compare(&self, operator: &str, own: &Value, with: &Value, kind: &Kind, path: &str) -> Truth {
        if own.is_null() {
            return Truth::False;
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match kind {
            Kind::Date => {
                let with = match operator {
                    "ltDaysAgo" | "gteDaysAgo" => self.today.days() - with.as_i64().unwrap(),
                    _ => span(&text(with)).0,
                };
                by_date(operator, span(&text(own)), with, path)
            }
            Kind::Int | Kind::Decimal => {
                let number = |value: &Value| Decimal::from_str(&text(value)).unwrap();
                Truth::from(ordered(operator, number(own), number(with)))
            }
            _ if operator == "startsWith" => Truth::from(text(own).starts_with(&text(with))),
            _ => Truth::from(ordered(operator, text(own), text(with))),
        }
    }
}

fn ordered<T: PartialOrd>(operator: &str, own: T, with: T) -> bool {
    match operator {
        "eq" => own == with,
        "lt" => own < with,
        "lte" => own <= with,
        "gt" => own > with,
        "gte" => own >= with,
        other => panic!("there is no operator `{other}`"),
    }
}

/// A date that is told to the month lies somewhere in it: what is so of both ends of its days is so.
fn by_date(operator: &str, (first, last): (i64, i64), with: i64, path: &str) -> Truth {
    let so = |day: i64| match operator {
        // Fewer days ago, so is what is still to come; and as many or more.
        "ltDaysAgo" => day > with,
        "gteDaysAgo" => day <= with,
        operator => ordered(operator, day, with),
    };
    let inside = operator == "eq" && first != last && (first..=last).contains(&with);
    if inside || so(first) != so(last) {
        return Truth::Unknown(Reasons::from([Reason::Partial(path.to_owned())]));
    }
    Truth::from(so(first))
}

/// The first and the last day of what is told of a date: `2021-03` is a month, `2021` a year.
fn span(text: &str) -> (i64, i64) {
    let text = text.get(..10).unwrap_or(text);
    let day = |text: &str| Date::parse(text).map(Date::days);
    match text.len() {
        4 => (day(&format!("{text}-01-01")).unwrap(), day(&format!("{text}-12-31")).unwrap()),
        7 => {
            let first = day(&format!("{text}-01")).unwrap();
            let last = (28..=31).rev().find_map(|last| day(&format!("{text}-{last}")));
            (first, last.unwrap())
        }
        _ => day(text).map(|day| (day, day)).unwrap_or_else(|| panic!("`{text}` is no date")),
    }
}

fn below(fact: &Fact, name: &str) -> Fact {
    match fact {
        Fact::Object(fields) => fields.get(name).cloned().unwrap_or(Fact::Null),
        Fact::Unknown(reasons) => Fact::Unknown(reasons.clone()),
        _ => Fact::Null,
    }
}

fn is_there(fact: &Fact) -> Truth {
    match fact {
        Fact::Unknown(reasons) => Truth::Unknown(reasons.clone()),
        Fact::Null => Truth::False,
        _ => Truth::True,
    }
}

fn members(condition: &Value) -> &Map<String, Value> {
    condition.as_object().unwrap_or_else(|| panic!("{condition} is no condition"))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// What a condition reads, in longest paths; a field whose state is read is read as a whole.
pub fn reads(contract: &Contract, condition: &Value, of: Of) -> Reads {
    let mut found = Reads::new();
    collect(contract, members(condition), of.type_name(), of.path(), &mut found);
    found
}

fn collect(contract: &Contract, condition: &Map<String, Value>, type_name: &str, path: &str, into: &mut Reads) {
    for (key, part) in condition {
        match key.as_str() {
            "and" | "or" => {
                for part in array(part) {
                    collect(contract, members(part), type_name, path, into);
                }
            }
            "not" => collect(contract, members(part), type_name, path, into),
            "exists" | "itemState" => {
                into.insert(path.to_owned());
            }
            name => {
                let field = contract.field(type_name, name);
                let of_household = is_entity_above(field);
                let at = if path.is_empty() || of_household { name.to_owned() } else { format!("{path}.{name}") };
                let Kind::Object(of) = &field.kind else {
                    into.insert(at);
                    continue;
                };
                if of_household {
                    collect(contract, members(part), of, "", into);
                    continue;
                }
                if !field.list {
                    collect(contract, members(part), of, &at, into);
                    continue;
                }
                for (asked, part) in members(part) {
                    into.insert(format!("{at}.#"));
                    match asked.as_str() {
                        "some" | "every" | "none" => collect(contract, members(part), of, &at, into),
                        // How many there are needs nothing of them.
                        "count" => {}
                        _ => {
                            into.insert(at.clone());
                        }
                    }
                }
            }
        }
    }
}
