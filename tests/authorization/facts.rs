//! What is known of households: from the generator of the demo's data; or, of a deployment whose data is not known, what a
//! caller who may see it all is shown, and what its owner writes down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use departments::World;
use departments::expected;
use serde_json::{Map, Value, json};

use crate::access_oracle::{self, Caller, Contract, Field, Roles, Standing, yaml};
use crate::case::{Case, Drawn};
use crate::rules::{Holds, Rules};

/// A household, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Home {
    pub id: String,
    pub code: Option<String>,
    /// In the order in which they are answered; none where they are not known.
    pub members: Vec<Member>,
    /// Who its members are is known.
    pub known: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Member {
    pub id_number: String,
    /// What is held of the person.
    pub person: Value,
}

impl Home {
    pub fn has(&self, id_number: &str) -> bool {
        self.members.iter().any(|member| member.id_number == id_number)
    }
}

#[allow(clippy::large_enum_variant, reason = "there is a handful of either")]
pub enum Facts {
    Generated(World),
    Learned(Learned),
}

/// What is known of a deployment: its owner's description (the file `KEYS`), and what was learned.
pub struct Learned {
    pub described: Value,
    rules: Rules,
    roles: Roles,
    /// Claims that principals may have; null where a token does not say.
    claims: Vec<String>,
    /// Households by id, and what a caller who may see all was shown of them.
    households: BTreeMap<String, (Home, Value)>,
    /// Tokens that there are, with what they say; empty where they are signed here.
    pub tokens: Vec<(Caller, String)>,
    /// Id numbers that the description names.
    pub strangers: Vec<String>,
}

/// The texts of a list in a description.
pub fn listed(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

impl Facts {
    pub fn learned(&self) -> Option<&Learned> {
        match self {
            Self::Generated(_) => None,
            Self::Learned(learned) => Some(learned),
        }
    }

    /// The household of a key that is somebody's.
    pub fn home(&self, id: &str) -> Option<Home> {
        match self {
            Self::Generated(world) => {
                let household = world.household(id)?;
                let member = |member: &departments::world::Member| Member {
                    id_number: member.id_number.clone(),
                    person: departments::agriculture::expected_person(&household, member),
                };
                let members = household.members.iter().map(member).collect();
                Some(Home { id: household.id.clone(), code: Some(household.agri_code.clone()), members, known: true })
            }
            Self::Learned(learned) if learned.is_nobodys(id) => None,
            Self::Learned(learned) => {
                let unknown = || Home { id: id.to_owned(), ..Home::default() };
                Some(learned.households.get(id).map_or_else(unknown, |(home, _)| home.clone()))
            }
        }
    }

    /// What is held of a household.
    pub fn portrait(&self, id: &str) -> Option<Value> {
        match self {
            Self::Generated(world) => expected::portrait(world, id),
            Self::Learned(learned) if learned.is_nobodys(id) => None,
            Self::Learned(learned) => {
                Some(learned.households.get(id).map_or_else(|| json!({ "id": id }), |(_, held)| held.clone()))
            }
        }
    }

    pub fn standing(&self, caller: &Caller, portrait: &Value) -> Standing {
        match self {
            Self::Generated(world) => access_oracle::relations(world, caller, portrait),
            Self::Learned(learned) => learned.standing(caller, portrait),
        }
    }

    /// How the caller stands to a person, beside how it stands to the person's household.
    pub fn to_person(&self, caller: &Caller, id_number: &str) -> BTreeSet<String> {
        match self {
            Self::Generated(world) => access_oracle::person_relations(world, caller, id_number),
            Self::Learned(_) => BTreeSet::new(),
        }
    }

    /// A person's household, and which of its members it is.
    pub fn person(&self, id_number: &str) -> Option<(Home, usize)> {
        match self {
            Self::Generated(world) => {
                let (household, at) = world.person(id_number)?;
                Some((self.home(&household.id)?, at))
            }
            Self::Learned(learned) if learned.is_nobodys(id_number) => None,
            Self::Learned(learned) => {
                let mut homes = learned.households.values().map(|(home, _)| home);
                let home = homes.find(|home| home.has(id_number)).cloned().unwrap_or_else(|| Home {
                    // Of no household that is known.
                    id: format!("of {id_number}"),
                    members: vec![Member { id_number: id_number.to_owned(), person: json!({"idNumber": id_number}) }],
                    ..Home::default()
                });
                let at = home.members.iter().position(|member| member.id_number == id_number)?;
                Some((home, at))
            }
        }
    }

    /// Who asks in a case.
    pub fn caller(&self, case: &Case, drawn: &Drawn) -> Caller {
        match self {
            Self::Generated(world) => case.caller(drawn, world),
            Self::Learned(learned) => learned.caller(case, drawn),
        }
    }
}

impl Learned {
    pub fn new(root: &Path, described: Value) -> Self {
        let contract = Contract::read_from(root);
        let config = yaml(&root.join("config/gateway.yaml"));
        let claims = config["principal"]["claims"].as_object().into_iter().flatten();
        let tokens = listed(&described["tokens"]).into_iter().map(|token| (said_by(&token), token)).collect();
        Self {
            rules: Rules::read(root),
            roles: Roles::read_from(root, &contract),
            claims: claims.map(|(name, _)| name.clone()).collect(),
            households: BTreeMap::new(),
            strangers: listed(&described["persons"]),
            described,
            tokens,
        }
    }

    /// The token of a caller, where there is one.
    pub fn token_of(&self, caller: &Caller) -> Option<String> {
        let seeing = self.described["seeing"]["token"].as_str().map(|token| (said_by(token), token.to_owned()));
        let is = |one: &Caller| one.id == caller.id && one.roles == caller.roles && one.claims == caller.claims;
        self.tokens.iter().chain(&seeing).find(|(one, _)| is(one)).map(|(_, token)| token.clone())
    }

    /// One of the tokens that says the same but for roles, and has more of them.
    pub fn beside(&self, caller: &Caller) -> Option<Caller> {
        let same = |claims: &Map<String, Value>| {
            let told = |name: &&String| self.claims.contains(name);
            claims.iter().filter(|(name, _)| told(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        let own: BTreeMap<String, Value> = same(&caller.claims);
        let more = |other: &Caller| {
            other.id == caller.id
                && other.roles.len() > caller.roles.len()
                && caller.roles.iter().all(|role| other.roles.contains(role))
                && same(&other.claims) == own
        };
        let found = self.tokens.iter().map(|(other, _)| other).find(|other| more(other))?;
        let Caller { networks, purpose, case, emergency, .. } = caller.clone();
        Some(Caller { networks, purpose, case, emergency, ..found.clone() })
    }

    fn is_nobodys(&self, key: &str) -> bool {
        let nobody = &self.described["nobody"];
        [&nobody["household"], &nobody["person"]].into_iter().any(|none| none.as_str() == Some(key))
    }

    /// Whoever may see all, where there is somebody.
    pub fn seeing(&self, drawn: &Drawn) -> Option<Caller> {
        let seeing = &self.described["seeing"];
        let text = |name: &str| seeing[name].as_str().map(str::to_owned);
        if let Some(token) = text("token") {
            let caller = said_by(&token);
            return Some(Caller {
                purpose: text("purpose"),
                case: text("case"),
                networks: vec![text("network")?],
                ..caller
            });
        }
        seeing.is_object().then(|| Caller {
            id: text("sub").unwrap_or_else(|| "suite-seeing".to_owned()),
            roles: listed(&seeing["roles"]),
            networks: text("network").into_iter().collect(),
            purpose: text("purpose"),
            case: text("case"),
            claims: seeing["claims"].as_object().cloned().unwrap_or_default(),
            issuer: drawn.issuer.clone(),
            ..Caller::default()
        })
    }

    /// The fields that are asked for to learn of a household, as a selection; of those the caller has in full, if anywhere.
    pub fn everything(&self, contract: &Contract, seeing: &Caller) -> String {
        let grants = self.roles.grants(seeing);
        let plain = |field: &&Field| {
            let given = grants.iter().map(|grant| grant.gives(field)).max();
            given == Some(access_oracle::Access::Plain)
        };
        let leaves = |entity: &str| -> Vec<String> {
            let of = contract.fields.values().filter(|field| field.entity == entity && field.leaf && !field.hidden);
            of.filter(plain)
                .filter(|field| !field.path.starts_with("accessLog"))
                .map(|field| field.path.clone())
                .collect()
        };
        let mut tree = json!({});
        let mut paths = leaves("Household");
        let to_persons =
            contract.fields.values().filter(|field| field.entity == "Household" && field.type_name == "Person");
        for list in to_persons.filter(plain) {
            paths.extend(leaves("Person").into_iter().map(|leaf| format!("{}.{leaf}", list.path)));
        }
        for path in paths {
            let mut at = &mut tree;
            for name in path.split('.') {
                at = &mut at[name];
            }
            *at = json!({});
        }
        selection(&tree)
    }

    /// Takes in what a caller who may see all was answered for a household.
    pub fn take_in(&mut self, id: &str, answer: &Value) {
        let mut held = answer["data"]["household"].clone();
        if !held.is_object() {
            return;
        }
        // Null is known to be nothing only where nothing is to blame.
        let mut cut = false;
        for error in answer["errors"].as_array().into_iter().flatten() {
            let paths = error["extensions"]["paths"].as_array().map_or(&[][..], Vec::as_slice);
            cut |= error["extensions"]["count"].as_u64().is_none_or(|count| count > paths.len() as u64);
            for path in paths {
                let names: Vec<&str> =
                    path.as_array().into_iter().flatten().filter_map(Value::as_str).skip(1).collect();
                forget(&mut held, &names);
            }
        }
        if cut {
            without_nulls(&mut held);
        }
        held["id"] = json!(id);
        let persons = held["identity"]["members"].as_array().cloned().unwrap_or_default();
        let member = |person: &Value| {
            let id_number = person["idNumber"].as_str()?.to_owned();
            Some(Member { id_number, person: person.clone() })
        };
        let members: Vec<Member> = persons.iter().filter_map(member).collect();
        let known = !persons.is_empty() && members.len() == persons.len();
        let code = held["registry"]["agriCode"].as_str().map(str::to_owned);
        let home = Home { id: id.to_owned(), code, members: if known { members } else { Vec::new() }, known };
        self.households.insert(id.to_owned(), (home, held));
    }

    /// Values that were learned.
    pub fn values(&self) -> usize {
        fn count(value: &Value) -> usize {
            match value {
                Value::Null => 0,
                Value::Array(list) => list.iter().map(count).sum(),
                Value::Object(members) => members.values().map(count).sum(),
                _ => 1,
            }
        }
        self.households.values().map(|(_, held)| count(held)).sum()
    }

    fn standing(&self, caller: &Caller, portrait: &Value) -> Standing {
        let mut principal = Map::new();
        for name in &self.claims {
            principal.insert(name.clone(), caller.claims.get(name).cloned().unwrap_or(Value::Null));
        }
        principal.insert("id".to_owned(), json!(caller.id));
        let principal = Value::Object(principal);
        let mut standing = Standing::default();
        let mut enter = |relations: Vec<(String, Holds)>, into: &mut BTreeSet<String>| {
            for (name, holds) in relations {
                if holds == Holds::Unknown {
                    standing.unknown.insert(name.clone());
                }
                if holds != Holds::No {
                    into.insert(name);
                }
            }
        };
        let mut own = BTreeSet::new();
        enter(self.rules.holding("Household", &principal, portrait), &mut own);
        let id = portrait["id"].as_str().unwrap_or_default();
        let members = self.households.get(id).map_or_else(Vec::new, |(home, _)| home.members.clone());
        let alone =
            id.strip_prefix("of ").map(|id| Member { id_number: id.to_owned(), person: json!({"idNumber": id}) });
        let mut persons = BTreeMap::new();
        for member in members.iter().chain(&alone) {
            let mut own = BTreeSet::new();
            enter(self.rules.holding("Person", &principal, &member.person), &mut own);
            persons.insert(member.id_number.clone(), own);
        }
        Standing { own, persons, ..standing }
    }

    /// The relations to a person of whom nothing is known.
    pub fn to_a_stranger(&self) -> BTreeSet<String> {
        self.rules.names("Person")
    }

    fn caller(&self, case: &Case, drawn: &Drawn) -> Caller {
        let of = |list: &[String], at: usize| (!list.is_empty()).then(|| list[at % list.len()].clone());
        let roles = &case.roles;
        let token = (!self.tokens.is_empty())
            .then(|| &self.tokens[(case.claims_for + 5 * case.member + case.department) % self.tokens.len()].0);
        let mut caller = match token {
            None => {
                let mut claims = Map::new();
                for (at, (name, values)) in self.described["claims"].as_object().into_iter().flatten().enumerate() {
                    let values = values.as_array().map_or(&[][..], Vec::as_slice);
                    // Mostly those that stand together, at times others.
                    let other = if case.member % 4 == 3 { at * case.member } else { 0 };
                    if !values.is_empty() {
                        claims.insert(name.clone(), values[(case.claims_for + other) % values.len()].clone());
                    }
                }
                let subjects = listed(&self.described["subjects"]);
                Caller {
                    id: of(&subjects, case.claims_for).unwrap_or_else(|| "suite".to_owned()),
                    roles: roles.clone(),
                    claims,
                    issuer: drawn.issuer.clone(),
                    ..Caller::default()
                }
            }
            Some(caller) => caller.clone(),
        };
        // What fits one of the first role's grants.
        let first = caller.roles.first().map_or("", String::as_str);
        let role = self.roles.role(first);
        let grants = role["grants"].as_array().map_or(&[][..], Vec::as_slice);
        let grant = if grants.is_empty() { &Value::Null } else { &grants[case.department % grants.len()] };
        let purposes = listed(&grant["purposes"]);
        let cases = listed(&self.described["cases"]);
        let fits = |number: &&String| {
            let pattern = grant["case"].as_str().map(|pattern| format!("\\A(?:{pattern})\\z"));
            pattern.is_some_and(|pattern| regex::Regex::new(&pattern).is_ok_and(|pattern| pattern.is_match(number)))
        };
        let network = listed(&role["networks"]).first().cloned().unwrap_or_else(|| "elsewhere".to_owned());
        caller.networks = vec![case.network.clone().unwrap_or(network)];
        caller.purpose = case.purpose.clone().unwrap_or_else(|| of(&purposes, case.member));
        caller.case = case.case.map_or_else(|| cases.iter().find(fits).cloned(), |odd| odd.map(str::to_owned));
        let declares = self.described["emergencies"] == true && !grant["break_glass"].is_null();
        caller.emergency = declares && !case.rarely;
        caller
    }
}

/// Whom a token names, without looking at its signature: that is for the gateway to check.
fn said_by(token: &str) -> Caller {
    use base64::Engine as _;
    let payload = token.trim().split('.').nth(1).expect("a token of three parts");
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).expect("a token's claims in base64");
    let claims: Map<String, Value> = serde_json::from_slice(&payload).expect("a token's claims");
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let roles = match claims.get("roles") {
        Some(Value::String(names)) => names.split(' ').map(str::to_owned).collect(),
        Some(list) => listed(list),
        None => Vec::new(),
    };
    Caller { id: text("sub"), roles, issuer: text("iss"), claims: claims.clone(), ..Caller::default() }
}

fn selection(tree: &Value) -> String {
    let fields = tree.as_object().into_iter().flatten().map(|(name, below)| match selection(below) {
        inside if inside.is_empty() => name.clone(),
        inside => format!("{name} {{ {inside} }}"),
    });
    fields.collect::<Vec<_>>().join(" ")
}

/// Takes away what stands at a path, in every element of lists.
fn forget(held: &mut Value, path: &[&str]) {
    match (held, path) {
        (Value::Array(list), _) => list.iter_mut().for_each(|one| forget(one, path)),
        (Value::Object(members), [name]) => {
            members.remove(*name);
        }
        (Value::Object(members), [name, rest @ ..]) => {
            if let Some(below) = members.get_mut(*name) {
                forget(below, rest);
            }
        }
        _ => {}
    }
}

fn without_nulls(held: &mut Value) {
    match held {
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        Value::Object(members) => {
            members.retain(|_, one| !one.is_null());
            members.values_mut().for_each(without_nulls);
        }
        _ => {}
    }
}
