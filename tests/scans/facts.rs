//! What may be known of a household: what the generator says, less what departments withhold, what silent ones would have
//! said, and what two of them disagree about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use departments::registry::BANKS;
use departments::world::{Date, Household};
use departments::{World, agriculture, banks, civil_affairs, expected, help, housing, police};
use serde_json::{Value, json};

use crate::condition::{self, Against};
use crate::contract::{Contract, Field, Kind};
use crate::derived;
use crate::kleene::{Reason, Reasons};
use crate::reference::Of;
use crate::sources::{Bindings, Sources};

/// The world, and the files that say who tells of it.
pub struct Files {
    pub world: World,
    pub contract: Contract,
    pub bindings: Bindings,
    /// Portraits that were made before, by household.
    portraits: Mutex<BTreeMap<String, Arc<Value>>>,
}

/// What is known of a field, or of all below it.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A department's "nothing".
    Null,
    Leaf(Value),
    Object(BTreeMap<String, Fact>),
    List(Vec<Fact>),
    /// One of these values, by what is not known of what it is derived from.
    OneOf(Vec<Value>, Reasons),
    Unknown(Reasons),
}

/// Paths that a condition reads, in their longest form, with `.#` for how many elements there are: lists that two departments
/// hold are compared over these.
pub type Reads = BTreeSet<String>;

/// What two departments hold of the payments, and what both bindings read of their elements.
const PAYMENTS: &str = "funds.disbursements";

impl Files {
    pub fn read(world: World) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (contract, bindings) = (Contract::read(root), Bindings::read(root));
        Self { world, contract, bindings, portraits: Mutex::default() }
    }

    /// As somebody reads the household who is given everything, but for what departments withhold.
    pub fn portrait(&self, household: &str) -> Arc<Value> {
        if let Some(known) = self.portraits.lock().unwrap().get(household) {
            return Arc::clone(known);
        }
        let mut portrait = expected::portrait(&self.world, household).unwrap();
        self.bindings.withhold(&mut portrait);
        let portrait = Arc::new(portrait);
        self.portraits.lock().unwrap().insert(household.to_owned(), Arc::clone(&portrait));
        portrait
    }

    /// The facts of a household that a condition with these reads goes by; what is not read is left out.
    pub fn facts(&self, household: &str, silent: &Sources, reads: &Reads) -> Fact {
        let portrait = self.portrait(household);
        let household = self.world.household(household).unwrap();
        let derived: Vec<_> =
            derived::all().into_iter().filter(|(path, _)| reads.iter().any(|read| read == path)).collect();
        let mut read = reads.clone();
        for rule in derived.iter().flat_map(|(_, rules)| rules) {
            read.extend(condition::reads(&self.contract, rule, Of::Households));
        }
        let building = Building { files: self, portrait: &portrait, household: &household, silent, reads: &read };
        let mut fact = Fact::Object(building.object("Household", &portrait, ""));
        let today = household.today;
        let filled: Vec<(&str, Fact)> = {
            let against = Against { files: self, household: &fact, silent, today };
            derived.iter().map(|(path, _)| (*path, derived::fact(path, &against))).collect()
        };
        for (path, value) in filled {
            fact.set(path, value);
        }
        fact
    }
}

struct Building<'a> {
    files: &'a Files,
    portrait: &'a Value,
    household: &'a Household,
    silent: &'a Sources,
    reads: &'a Reads,
}

impl Building<'_> {
    fn object(&self, type_name: &str, value: &Value, prefix: &str) -> BTreeMap<String, Fact> {
        let fields = self.files.contract.fields(type_name).iter().filter(|field| !field.hidden);
        let fields = fields.filter(|field| field.kind != Kind::Other && !is_entity_above(field));
        let path = |field: &Field| format!("{prefix}{}", field.name);
        let fields = fields.filter(|field| self.is_read(&path(field)));
        fields.map(|field| (field.name.clone(), self.field(field, value, &format!("{prefix}{}", field.name)))).collect()
    }

    fn field(&self, field: &Field, within: &Value, path: &str) -> Fact {
        let value = within.get(&field.name).unwrap_or(&Value::Null);
        let bindings = &self.files.bindings;
        if !bindings.fills(path) {
            // A section, or an object that is nothing but its fields: it is always there.
            return match &field.kind {
                Kind::Object(of) if !field.list => Fact::Object(self.object(of, value, &format!("{path}."))),
                _ => leaf(value),
            };
        }
        let mut reasons: Reasons = bindings.blamed(path, self.silent).into_iter().map(Reason::Silent).collect();
        if reasons.is_empty() && bindings.required(path).is_some_and(|day| self.is_over(day)) {
            reasons.insert(Reason::NotAsked(bindings.source_of(path).unwrap_or_default().to_owned()));
        }
        if reasons.is_empty() && !value.is_null() && self.disagree(path, value) {
            reasons.insert(Reason::Conflict(path.to_owned()));
        }
        if !reasons.is_empty() {
            return Fact::Unknown(reasons);
        }
        if let Some(combined) = self.of_some_banks(path) {
            return combined;
        }
        match (&field.kind, value) {
            (_, Value::Null) => Fact::Null,
            (_, Value::Array(none)) if none.is_empty() && !bindings.answers_none(path, self.portrait) => Fact::Null,
            (Kind::Object(of), Value::Array(elements)) => {
                let below = format!("{path}.");
                Fact::List(elements.iter().map(|element| Fact::Object(self.object(of, element, &below))).collect())
            }
            (Kind::Object(of), _) => Fact::Object(self.object(of, value, &format!("{path}."))),
            (_, Value::Array(elements)) => Fact::List(elements.iter().map(leaf).collect()),
            _ => leaf(value),
        }
    }

    /// Of what all banks together say, while some of them are silent: one that says yes is enough.
    fn of_some_banks(&self, path: &str) -> Option<Fact> {
        let of: fn((bool, bool)) -> bool = match path {
            "assets.deposits.hasAccount" => |(has_account, _)| has_account,
            "assets.deposits.overThreshold" => |(_, over)| over,
            _ => return None,
        };
        let silent: Reasons =
            self.silent.iter().filter(|one| one.starts_with("banks/")).cloned().map(Reason::Silent).collect();
        let says = |instance: &usize| {
            self.household.members.iter().any(|member| of(banks::account(self.household, member, *instance)))
        };
        let heard = |instance: &usize| self.is_heard(&format!("banks/{instance:02}"));
        let is_so = (1..=BANKS).filter(heard).any(|instance| says(&instance));
        (!silent.is_empty()).then(|| if is_so { Fact::Leaf(json!(true)) } else { Fact::Unknown(silent) })
    }

    /// Whether it is read, something in it, or something it is in.
    fn is_read(&self, path: &str) -> bool {
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.reads.iter().any(|read| within(read, path) || within(path, read))
    }

    fn is_over(&self, path: &str) -> bool {
        let day = expected::at(self.portrait, path).as_str().and_then(Date::parse);
        day.is_none_or(|day| day < self.household.today)
    }

    /// Whether a second department that answers holds something else. One that is silent, or has nothing, says nothing.
    fn disagree(&self, path: &str, value: &Value) -> bool {
        let second = match path {
            "registry.category" | "income.perCapita" | "housing.safetyGrade" => self.heard("civil-affairs", path),
            "assistance.dibaoStatus" | "assistance.marginal" => self.heard("agriculture", path),
            "registry.headName" | "registry.address" | "registry.memberCount" => self.heard("police", path),
            "health.familyDoctor.name" | "health.familyDoctor.organisation" | "health.familyDoctor.phone" => {
                self.heard("help", path)
            }
            PAYMENTS => return self.is_heard("civil-affairs") && self.payments_differ(value),
            _ => None,
        };
        second.is_some_and(|second| !second.is_null() && second != *value)
    }

    fn is_heard(&self, source: &str) -> bool {
        !self.silent.contains(source)
    }

    /// What the second holder of a field says.
    fn heard(&self, source: &str, path: &str) -> Option<Value> {
        if !self.is_heard(source) {
            return None;
        }
        let household = self.household;
        let class = civil_affairs::class(household);
        let facts = agriculture::facts(household);
        let doctor = help::family_doctor(household);
        Some(match path {
            "registry.category" => json!(class.map(|class| match class {
                civil_affairs::Class::Dibao => "DIBAO",
                civil_affairs::Class::Marginal => "MARGINAL",
                civil_affairs::Class::ExtremePoverty => "EXTREME_POVERTY",
            })),
            "income.perCapita" => json!(civil_affairs::income_fen(household).map(departments::world::yuan)),
            "housing.safetyGrade" => {
                // Civil affairs hold it with the record of the head, where the household has a class and a house.
                class?;
                let grade = housing::house(household)?.grade;
                json!(["A", "B", "C", "D"][grade.parse::<usize>().unwrap() - 1])
            }
            "assistance.dibaoStatus" => json!(match facts.dibao_status {
                "01" => "RECEIVING",
                "02" => "PENDING",
                "03" => "SUSPENDED",
                "04" => "STOPPED",
                _ => "NONE",
            }),
            "assistance.marginal" => json!(facts.marginal),
            // Police name the head as the register does.
            "registry.headName" => json!(household.head().police_name),
            "registry.address" => json!(police::residence(household).place),
            "registry.memberCount" => json!(police::residence(household).count),
            "health.familyDoctor.name" => json!(doctor?.name),
            "health.familyDoctor.organisation" => json!(doctor?.organisation),
            "health.familyDoctor.phone" => json!(doctor?.phone),
            other => panic!("who else holds {other}?"),
        })
    }

    /// Two lists agree where each element of one is found as often in the other, over what both hold and the condition reads:
    /// where it reads nothing of them, where there are as many.
    fn payments_differ(&self, paid: &Value) -> bool {
        let both = ["programme", "amount", "entitledBy", "paidOn"];
        let whole = self.reads.contains(PAYMENTS);
        let compared: Vec<&str> =
            both.into_iter().filter(|name| whole || self.reads.contains(&format!("{PAYMENTS}.{name}"))).collect();
        let of_elements = format!("{PAYMENTS}.");
        let mut inside = self.reads.iter().filter_map(|read| read.strip_prefix(&of_elements));
        let reads_others = inside.any(|name| name != "#");
        if compared.is_empty() && reads_others {
            // What finance alone holds decides, whatever the other list is.
            return false;
        }
        let found: Vec<Value> = self
            .household
            .members
            .iter()
            .flat_map(|member| civil_affairs::entitlements(self.household, member))
            .map(|one| {
                json!({
                    "programme": one.programme, "amount": departments::world::yuan(one.amount_fen),
                    "entitledBy": one.found_by, "paidOn": one.due_on.to_string(),
                })
            })
            .collect();
        if found.is_empty() {
            return false;
        }
        let told = |list: &[Value]| {
            let mut told: Vec<String> =
                list.iter().map(|one| compared.iter().map(|name| one[*name].to_string()).collect()).collect();
            told.sort();
            told
        };
        told(&found) != told(paid.as_array().unwrap())
    }
}

/// Others than the household itself.
pub fn is_entity(field: &Field) -> bool {
    field.kind == Kind::Object("Person".to_owned()) || is_entity_above(field)
}

/// Of a member the household again: whoever looks through it looks at the household.
pub fn is_entity_above(field: &Field) -> bool {
    field.kind == Kind::Object("Household".to_owned())
}

fn leaf(value: &Value) -> Fact {
    if value.is_null() { Fact::Null } else { Fact::Leaf(value.clone()) }
}

impl Fact {
    fn set(&mut self, path: &str, value: Fact) {
        let mut at = self;
        for name in path.split('.') {
            let Fact::Object(fields) = at else { panic!("nothing stands above {path}") };
            at = fields.entry(name.to_owned()).or_insert(Fact::Null);
        }
        *at = value;
    }

    /// Why anything of it is not known.
    pub fn reasons(&self) -> Reasons {
        match self {
            Self::Null | Self::Leaf(_) => Reasons::new(),
            Self::Object(fields) => fields.values().flat_map(Self::reasons).collect(),
            Self::List(elements) => elements.iter().flat_map(Self::reasons).collect(),
            Self::OneOf(_, reasons) | Self::Unknown(reasons) => reasons.clone(),
        }
    }

    /// The fact at a dotted path, where no list lies between; what is below nothing is nothing.
    pub fn at(&self, path: &str) -> Fact {
        path.split('.').fold(self.clone(), |fact, name| match fact {
            Fact::Object(mut fields) => fields.remove(name).unwrap_or(Fact::Null),
            Fact::Unknown(reasons) => Fact::Unknown(reasons),
            Fact::Null => Fact::Null,
            other => panic!("{path}: {other:?} has no {name}"),
        })
    }
}
