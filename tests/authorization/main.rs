//! Random callers ask random queries: what was refused is neither in the answer nor asked of any department.

mod access_oracle;
#[path = "../support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use access_oracle::{Access, Caller, Contract, Endpoint, Field, Roles};
use departments::Logged;
use departments::expected::{at, portrait};
use huxiang::identify::{Declared, Identity, Principal};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use regex::Regex;
use serde_json::{Value, json};
use support::{HOUSEHOLD, World, ask, world};

/// `CASES=1000 cargo test --test authorization` looks longer.
const CASES: u32 = 48;
const VILLAGE: &str = "331122101348";
/// One of the cadre's, another's, one with almost nothing, one of another village, of another county, and none.
const HOUSEHOLDS: [&str; 6] = [
    HOUSEHOLD,
    "331122101348000003",
    "331122101348000010",
    "331122101347000002",
    "330109102001000001",
    "331122101348000099",
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Root {
    Household,
    ByCode,
    Person,
    Listing,
}

#[derive(Debug, Clone)]
struct Case {
    roles: Vec<String>,
    /// Network, purpose and case that fit the first role, else the odd ones.
    network: Option<&'static str>,
    purpose: Option<Option<&'static str>>,
    case: Option<Option<&'static str>>,
    /// The household that the claims are made for.
    claims_for: usize,
    department: usize,
    root: Root,
    target: usize,
    leaves: Vec<prop::sample::Index>,
    claims: bool,
    items: bool,
    aliases: bool,
    fragments: bool,
}

const DEPARTMENTS: [&str; 9] = [
    "agriculture",
    "police",
    "civil-affairs",
    "health",
    "education",
    "help",
    "projects",
    "finance",
    "medical-insurance",
];

fn cases(roles: Vec<String>) -> impl Strategy<Value = Case> {
    let one = prop::sample::select(roles.clone()).prop_map(|role| vec![role]);
    let two = (prop::sample::select(roles.clone()), prop::sample::select(roles)).prop_map(|(a, b)| vec![a, b]);
    let given = prop::sample::select(vec![
        "household",
        "cadre",
        "grid-worker",
        "town-officer",
        "department-officer",
        "supervisor",
        "verifier",
    ])
    .prop_map(|role: &str| vec![role.to_owned()]);
    let roles = prop_oneof![1 => one, 2 => two, 6 => given];
    let odd = |list: Vec<&'static str>| prop_oneof![6 => Just(None), 1 => prop::sample::select(list).prop_map(Some)];
    let declared =
        |list: Vec<Option<&'static str>>| prop_oneof![6 => Just(None), 1 => prop::sample::select(list).prop_map(Some)];
    let who = (
        roles,
        odd(vec!["gov", "public-proxy", "elsewhere"]),
        declared(vec![None, Some("help"), Some("duty"), Some("supervision"), Some("curiosity")]),
        declared(vec![None, Some("JD-2026-0001"), Some("HD-2026-0001"), Some("xJD-2026-0001"), Some("JD-2026-0001\n")]),
        prop_oneof![5 => Just(0_usize), 1 => 0..5_usize],
        0..DEPARTMENTS.len(),
    );
    let root = prop_oneof![5 => Just(Root::Household), 1 => Just(Root::ByCode), 2 => Just(Root::Person), 1 => Just(Root::Listing)];
    let what = (
        root,
        prop_oneof![5 => Just(0_usize), 3 => 0..HOUSEHOLDS.len()],
        prop::collection::vec(any::<prop::sample::Index>(), 1..24),
        any::<[bool; 4]>(),
    );
    (who, what).prop_map(|((roles, network, purpose, case, claims_for, department), (root, target, leaves, flags))| {
        Case {
            roles,
            network,
            purpose,
            case,
            claims_for,
            department,
            root,
            target,
            leaves,
            items: flags[0],
            claims: flags[1],
            aliases: flags[2],
            fragments: flags[3],
        }
    })
}

/// One field of the query; where it leads to an entity, its fields are that entity's.
#[derive(Debug, Clone)]
struct Selected {
    field: Field,
    key: String,
    children: Vec<Selected>,
}

struct Bench {
    world: World,
    contract: Contract,
    roles: Roles,
    endpoints: Vec<Endpoint>,
    inputs: BTreeSet<String>,
    portraits: RefCell<BTreeMap<String, Option<Rc<Value>>>>,
    seen: RefCell<BTreeMap<Access, usize>>,
    called: RefCell<BTreeSet<String>>,
}

impl Bench {
    fn portrait(&self, id: &str) -> Option<Rc<Value>> {
        let make = || portrait(self.world.departments.world(), id).map(Rc::new);
        self.portraits.borrow_mut().entry(id.to_owned()).or_insert_with(make).clone()
    }

    fn caller(&self, case: &Case) -> Caller {
        let (network, purpose, number) = match case.roles[0].as_str() {
            "household" => ("public-proxy", None, None),
            "cadre" => ("gov", Some("help"), None),
            "grid-worker" => ("gov", Some("grid-watch"), None),
            "supervisor" => ("gov", Some("supervision"), Some("JD-2026-0001")),
            "verifier" => ("gov", Some("recognition"), Some("HD-2026-0001")),
            "enterprise" => ("public-proxy", None, None),
            _ => ("gov", Some("duty"), None),
        };
        let own = HOUSEHOLDS[case.claims_for];
        let household = self.world.departments.world().household(own).unwrap();
        let claims = json!({
            "household": own,
            "person": household.members[0].id_number,
            "wards": [household.members[household.members.len() - 1].id_number],
            "grids": [household.grid],
            "divisions": [&own[..if case.aliases { 6 } else { 12 }]],
            "department": DEPARTMENTS[case.department],
        });
        Caller {
            id: household.cadre_id,
            roles: case.roles.clone(),
            networks: vec![case.network.unwrap_or(network).to_owned()],
            purpose: case.purpose.unwrap_or(purpose).map(str::to_owned),
            case: case.case.unwrap_or(number).map(str::to_owned),
            claims: claims.as_object().unwrap().clone(),
            issuer: "test".to_owned(),
            ..Caller::default()
        }
    }

    /// All leaves that can be asked below a root, by the path of fields from it.
    fn leaves(&self, entity: &str) -> Vec<Vec<Field>> {
        let mut found = Vec::new();
        for field in self.contract.fields.values().filter(|field| field.entity == entity && !field.hidden) {
            if field.leaf {
                found.push(vec![field.clone()]);
            } else if field.type_name == "Person" || (field.type_name == "Household" && entity == "Person") {
                let below = self.contract.fields.values();
                let below = below.filter(|below| below.entity == field.type_name && !below.hidden && below.leaf);
                // Beyond an entity, every third leaf is enough.
                found.extend(
                    below
                        .step_by(if entity == "Person" { 3 } else { 1 })
                        .map(|below| vec![field.clone(), below.clone()]),
                );
            }
        }
        // The federation for the disabled takes ten calls a second: asked, but rarely.
        let rare = |leaf: &Vec<Field>| leaf.iter().any(|field| field.path.starts_with("disability"));
        let mut seen = 0;
        found.retain(|leaf| {
            !rare(leaf) || {
                seen += 1;
                seen % 6 == 1
            }
        });
        found
    }

    fn select(&self, case: &Case, entity: &'static str) -> Vec<Selected> {
        let leaves = self.leaves(entity);
        let mut tree = Vec::new();
        for (at, index) in case.leaves.iter().enumerate() {
            let leaf = &leaves[index.index(leaves.len())];
            let mut level = &mut tree;
            for field in leaf {
                for above in self.contract.above(field) {
                    level = enter(level, above, None);
                }
                level = enter(level, field, case.aliases.then_some(at));
            }
        }
        if entity == "Household" && !tree.iter().any(|one: &Selected| one.key == "id") && case.root == Root::Listing {
            enter(&mut tree, self.contract.field("Household", "id"), None);
        }
        tree
    }

    fn text(&self, case: &Case, selected: &[Selected], type_name: &str) -> String {
        let fields: Vec<String> = selected
            .iter()
            .map(|one| {
                let below = if one.children.is_empty() {
                    String::new()
                } else {
                    self.text(case, &one.children, &one.field.type_name)
                };
                let name = one.field.path.rsplit('.').next().unwrap();
                if one.key == name { format!("{name} {below}") } else { format!("{}: {name} {below}", one.key) }
            })
            .collect();
        let fields = fields.join(" ");
        if case.fragments {
            format!("{{ __typename ... on {type_name} {{ {fields} }} }}")
        } else {
            format!("{{ {fields} }}")
        }
    }

    fn run(&self, case: &Case) -> Result<(), TestCaseError> {
        let caller = self.caller(case);
        let target = HOUSEHOLDS[case.target];
        let known = self.world.departments.world().household(target);
        let entity = if case.root == Root::Person { "Person" } else { "Household" };
        let selected = self.select(case, entity);
        let mut body = self.text(case, &selected, entity);
        let items: Vec<&Field> = if case.items && entity == "Household" { self.items(&selected) } else { Vec::new() };
        if !items.is_empty() {
            let numbers: Vec<&str> = items.iter().map(|field| field.item.as_deref().unwrap()).collect();
            let claims = if case.claims { "claims { source value }" } else { "" };
            let insert = format!(" items(no: {}) {{ no state code message {claims} }} }}", json!(numbers));
            body.truncate(body.rfind('}').unwrap());
            body.push_str(&insert);
        }
        let person = known
            .as_ref()
            .map_or("331122199001011230".to_owned(), |known| known.members[known.members.len() / 2].id_number.clone());
        let code = known.as_ref().map_or("ZN00000000000000000000".to_owned(), |known| known.agri_code.clone());
        let query = match case.root {
            Root::Household => format!("{{ root: household(id: \"{target}\") {body} }}"),
            Root::ByCode => format!("{{ root: householdByCode(code: \"{code}\") {body} }}"),
            Root::Person => format!("{{ root: person(idNumber: \"{person}\") {body} }}"),
            Root::Listing => format!("{{ root: households(division: \"{VILLAGE}\", first: 3) {{ nodes {body} }} }}"),
        };
        self.world.departments.clear_logs();
        let principal = Principal {
            id: caller.id.clone(),
            issuer: "test".to_owned(),
            roles: caller.roles.clone(),
            claims: caller.claims.clone(),
        };
        let declared = Declared { purpose: caller.purpose.clone(), case: caller.case.clone(), ..Declared::default() };
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        let identity = Identity::new(Some(principal), address, caller.networks.clone(), declared);
        let answer = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(ask(&self.world.gateway, &identity, &query, json!({})))
        });
        let told = format!("\ncaller {caller:?}\nquery {query}\nanswer {answer}");
        let scope: Vec<String> = match case.root {
            Root::Listing => self.world.departments.world().village_household_ids(VILLAGE).collect(),
            _ => known.iter().map(|known| known.id.clone()).collect(),
        };
        let asked = Asked { bench: self, caller: &caller, case, selected: &selected, items: &items, person: &person };
        asked.answer(&answer, target).map_err(|what| TestCaseError::fail(format!("{what}{told}")))?;
        asked.calls(&scope).map_err(|what| TestCaseError::fail(format!("{what}{told}")))
    }

    /// Items beside the first leaves: the ones selected, and two that are not.
    fn items(&self, selected: &[Selected]) -> Vec<&Field> {
        let mut found: Vec<&Field> = self.contract.fields.values().filter(|field| field.item.is_some()).collect();
        found.retain(|field| {
            ["3", "11", "14", "54", "61"].contains(&field.item.as_deref().unwrap())
                || selected.iter().any(|one| within(one, &field.path))
        });
        found.retain(|field| !field.path.starts_with("disability"));
        found
    }
}

fn within(one: &Selected, path: &str) -> bool {
    one.field.path == path || one.children.iter().any(|child| within(child, path))
}

fn enter<'s>(level: &'s mut Vec<Selected>, field: &Field, alias: Option<usize>) -> &'s mut Vec<Selected> {
    let name = field.path.rsplit('.').next().unwrap();
    let found = level.iter().position(|one| one.field.entity == field.entity && one.field.path == field.path);
    let at = found.unwrap_or_else(|| {
        let key = alias.map_or(name.to_owned(), |at| format!("a{at}"));
        level.push(Selected { field: field.clone(), key, children: Vec::new() });
        level.len() - 1
    });
    &mut level[at].children
}

struct Asked<'b> {
    bench: &'b Bench,
    caller: &'b Caller,
    case: &'b Case,
    selected: &'b [Selected],
    items: &'b [&'b Field],
    person: &'b str,
}

/// An entity of the answer: how the caller stands to it, and what the generator says of it.
struct Entity {
    relations: BTreeSet<String>,
    expected: Rc<Value>,
    household: Rc<Value>,
}

type Verdict = Result<(), String>;

impl Asked<'_> {
    fn access(&self, relations: &BTreeSet<String>, field: &Field) -> Access {
        self.bench.roles.access(&self.bench.contract, self.caller, relations, field)
    }

    /// Whether the caller stands in a relation under which any of its grants gives anything that is asked.
    fn related(&self, relations: &BTreeSet<String>) -> bool {
        let grants = self.bench.roles.grants(self.caller);
        grants.iter().any(|grant| relations.contains(grant["relation"].as_str().unwrap()))
    }

    fn answer(&self, answer: &Value, target: &str) -> Verdict {
        let root = &answer["data"]["root"];
        let declared = self.caller.purpose.as_ref().is_none_or(|purpose| access_oracle::purposes().contains(purpose));
        if !declared {
            let code = &answer["errors"][0]["extensions"]["code"];
            let refused = answer.get("data").is_none() && *code == "BAD_REQUEST";
            return if refused { Ok(()) } else { Err("a purpose that nobody declared was taken".to_owned()) };
        }
        if answer.get("data").is_none() {
            return Err("the request was not executed".to_owned());
        }
        if self.case.root == Root::Listing {
            for node in root["nodes"].as_array().into_iter().flatten() {
                let id = self.selected.iter().find(|one| one.field.path == "id").map(|one| &node[&one.key]);
                let id = id.and_then(Value::as_str).ok_or("a listed household without its id")?;
                self.household(node, id, false)?;
            }
            return Ok(());
        }
        if root.is_null() {
            let errors = answer["errors"].as_array().ok_or("nothing, without an error")?;
            let codes: BTreeSet<&str> =
                errors.iter().filter_map(|error| error["extensions"]["code"].as_str()).collect();
            return if codes == BTreeSet::from(["FORBIDDEN"]) {
                Ok(())
            } else {
                Err(format!("codes {codes:?} for nothing"))
            };
        }
        if self.case.root == Root::Person {
            let (household, at) =
                self.bench.world.departments.world().person(self.person).ok_or("a person that is not")?;
            let household_portrait = self.bench.portrait(&household.id).unwrap();
            let mut relations = access_oracle::relations(self.caller, &household_portrait);
            relations.extend(access_oracle::person_relations(self.caller, self.person));
            let expected = departments::agriculture::expected_person(&household, &household.members[at]);
            let entity = Entity { relations, expected: Rc::new(expected), household: household_portrait };
            self.object(root, self.selected, &entity, true)?;
            return self.refusals(answer, &entity);
        }
        self.household(root, target, true)?;
        let portrait = self.bench.portrait(target).unwrap();
        let relations = access_oracle::relations(self.caller, &portrait);
        self.item_states(root, &relations)?;
        self.secrets(answer, &relations, &portrait)?;
        self.refusals(answer, &Entity { relations, expected: portrait.clone(), household: portrait })
    }

    fn household(&self, value: &Value, id: &str, compare: bool) -> Verdict {
        let portrait = self.bench.portrait(id).ok_or_else(|| format!("{id} is answered and is not"))?;
        let relations = access_oracle::relations(self.caller, &portrait);
        if !self.related(&relations) {
            return Err(format!("{id} is answered to a caller in no relation to it"));
        }
        self.object(
            value,
            self.selected,
            &Entity { relations, expected: portrait.clone(), household: portrait },
            compare,
        )
    }

    fn object(&self, value: &Value, selected: &[Selected], entity: &Entity, compare: bool) -> Verdict {
        for one in selected {
            let value = &value[&one.key];
            if value.is_null() {
                continue;
            }
            let path = &one.field.path;
            let access = self.access(&entity.relations, &one.field);
            match one.field.type_name.as_str() {
                "Person" if access == Access::No => return Err(format!("{path} is refused and there")),
                "Person" => {
                    let mut relations = entity.relations.clone();
                    for member in self.members(entity) {
                        relations.extend(access_oracle::person_relations(self.caller, &member));
                    }
                    let person =
                        Entity { relations, expected: Rc::new(Value::Null), household: entity.household.clone() };
                    for element in value.as_array().into_iter().flatten() {
                        self.object(element, &one.children, &person, false)?;
                    }
                }
                "Household" if access == Access::No => return Err(format!("{path} is refused and there")),
                "Household" => {
                    let relations = access_oracle::relations(self.caller, &entity.household);
                    if !self.related(&relations) {
                        return Err("a household is reached through a person, without a relation to it".to_owned());
                    }
                    let below =
                        Entity { relations, expected: entity.household.clone(), household: entity.household.clone() };
                    self.object(value, &one.children, &below, true)?;
                }
                _ if one.field.leaf => self.leaf(value, one, access, entity, compare)?,
                _ => {
                    let inner = compare && !one.field.list && !path.starts_with("risk");
                    let elements = value.as_array().map_or_else(|| vec![value], |list| list.iter().collect());
                    for element in elements {
                        self.object(element, &one.children, entity, inner)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn members(&self, entity: &Entity) -> Vec<String> {
        let id = at(&entity.household, "id").as_str().unwrap();
        let household = self.bench.world.departments.world().household(id).unwrap();
        household.members.iter().map(|member| member.id_number.clone()).collect()
    }

    fn leaf(&self, value: &Value, one: &Selected, access: Access, entity: &Entity, compare: bool) -> Verdict {
        let path = &one.field.path;
        *self.bench.seen.borrow_mut().entry(access).or_default() += 1;
        let expected = at(&entity.expected, path);
        match access {
            Access::No => Err(format!("{path} is refused and there: {value}")),
            Access::Masked if compare && value == expected => Err(format!("{path} is there unmasked: {value}")),
            Access::Masked => Ok(()),
            Access::Plain if compare && !expected.is_null() && !one.field.list && !same(value, expected) => {
                Err(format!("{path} is {value}, not {expected}"))
            }
            Access::Plain => Ok(()),
        }
    }

    /// The states of items agree, and claims tell nothing that is masked or refused.
    fn item_states(&self, root: &Value, relations: &BTreeSet<String>) -> Verdict {
        for info in root["items"].as_array().into_iter().flatten() {
            let item = self.items.iter().find(|field| field.item.as_deref() == info["no"].as_str());
            let Some(field) = item else { return Err(format!("an item that was not asked for: {info}")) };
            let access = self.access(relations, field);
            let state = info["state"].as_str().unwrap();
            // An object's state is that of the parts of it that were selected.
            let open = access != Access::No || self.has_part(relations, field);
            if state != "REFUSED" && !open || state == "REFUSED" && open && field.leaf {
                return Err(format!("item {} is {state}, and {access:?}", field.path));
            }
            let told =
                info["claims"].as_array().is_some_and(|claims| claims.iter().any(|claim| !claim["value"].is_null()));
            if told && access != Access::Plain {
                return Err(format!("claims tell {}", field.path));
            }
        }
        Ok(())
    }

    /// A part of a refused item is given by its own path.
    fn has_part(&self, relations: &BTreeSet<String>, field: &Field) -> bool {
        let below = format!("{}.", field.path);
        let parts = self.bench.contract.fields.values().filter(|part| part.entity == field.entity);
        parts.filter(|part| part.path.starts_with(&below)).any(|part| self.access(relations, part) != Access::No)
    }

    /// No value that the caller may nowhere have unmasked stands anywhere in the answer.
    fn secrets(&self, answer: &Value, relations: &BTreeSet<String>, portrait: &Value) -> Verdict {
        let (mut open, mut secret) = (BTreeSet::new(), BTreeSet::new());
        for field in self.bench.contract.fields.values().filter(|field| field.leaf && field.entity == "Household") {
            let into = if self.access(relations, field) == Access::Plain { &mut open } else { &mut secret };
            texts(portrait, &field.path.split('.').collect::<Vec<_>>(), into);
        }
        let household = self.bench.world.departments.world().household(at(portrait, "id").as_str().unwrap()).unwrap();
        for member in &household.members {
            let person = departments::agriculture::expected_person(&household, member);
            let mut relations = relations.clone();
            relations.extend(access_oracle::person_relations(self.caller, &member.id_number));
            for name in ["idNumber", "name"] {
                let field = self.bench.contract.field("Person", name);
                let into = if self.access(&relations, field) == Access::Plain { &mut open } else { &mut secret };
                into.insert(person[name].as_str().unwrap().to_owned());
            }
        }
        let body = answer.to_string();
        for text in &secret {
            let told = open.iter().any(|open| open.contains(text.as_str()));
            // Short texts (dates, codes, states) stand in the answer for other reasons.
            let telling = text.len() >= 11 && !text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            if telling && !told && body.contains(text.as_str()) {
                return Err(format!("a value that is refused or masked is in the answer: {text}"));
            }
        }
        Ok(())
    }

    /// Every refused field of an entity that is there has an error that names the missing grant.
    fn refusals(&self, answer: &Value, entity: &Entity) -> Verdict {
        let mut refused = Vec::new();
        self.refused(self.selected, &entity.relations, &mut vec!["root".to_owned()], &mut refused);
        let errors = answer["errors"].as_array().cloned().unwrap_or_default();
        let forbidden: Vec<&Value> = errors.iter().filter(|error| error["extensions"]["code"] == "FORBIDDEN").collect();
        for path in refused {
            let named = forbidden.iter().any(|error| {
                let extensions = &error["extensions"];
                let paths = extensions["paths"].as_array().unwrap();
                let cut = extensions["count"].as_u64().unwrap() > paths.len() as u64;
                let grant = extensions["grant"].as_str().is_some_and(|grant| !grant.is_empty());
                grant
                    && (cut
                        || paths.iter().any(|named| {
                            path.starts_with(
                                &named.as_array().unwrap()[..]
                                    .iter()
                                    .map(|one| one.as_str().unwrap_or("").to_owned())
                                    .collect::<Vec<_>>(),
                            )
                        }))
            });
            if !named {
                return Err(format!("{path:?} is refused, and no error names the grant"));
            }
        }
        Ok(())
    }

    fn refused(
        &self,
        selected: &[Selected],
        relations: &BTreeSet<String>,
        path: &mut Vec<String>,
        into: &mut Vec<Vec<String>>,
    ) {
        for one in selected {
            path.push(one.key.clone());
            let section = one.field.class.is_none();
            let given = self.access(relations, &one.field) != Access::No || self.has_part(relations, &one.field);
            if !section && !given {
                into.push(path.clone());
            } else if !one.field.list && !one.field.leaf && one.field.type_name != "Household" {
                self.refused(&one.children, relations, path, into);
            }
            path.pop();
        }
    }

    /// Every call, every key in it and every field named in it has its reason.
    fn calls(&self, scope: &[String]) -> Verdict {
        let departments = &self.bench.world.departments;
        let households: Vec<(String, BTreeSet<String>)> = scope
            .iter()
            .map(|id| (id.clone(), access_oracle::relations(self.caller, &self.bench.portrait(id).unwrap())))
            .collect();
        let wanted = self.wanted(&households);
        let key = Regex::new(r"\b[0-9]{17}[0-9Xx]\b").unwrap();
        let related: BTreeSet<String> = households
            .iter()
            .filter(|(id, relations)| {
                self.related(relations) || self.bench.portrait(id).is_some_and(|_| self.own_person(relations))
            })
            .flat_map(|(id, _)| access_oracle::keys(departments.world(), id))
            .collect();
        for source in departments.sources() {
            for call in departments.log(&source) {
                let Some(endpoint) = self.endpoint(&source, &call) else { continue };
                let name = format!("{}.{}", endpoint.source, endpoint.name);
                self.bench.called.borrow_mut().insert(name.clone());
                let gate = wanted.gates.contains(&name);
                let due = endpoint.fields.keys().chain(&endpoint.also).any(|field| {
                    wanted.fields.contains(&access_oracle::id(&endpoint.entity, field))
                        && (self.claims_asked()
                            || !endpoint.also.contains(field)
                            || endpoint.fields.contains_key(field))
                });
                if !gate && !due {
                    return Err(format!("{name} was called, and nothing of it may be given: {call:?}"));
                }
                if !gate {
                    let text = format!("{} {} {}", call.path, call.query, call.body);
                    if let Some(other) = key.find_iter(&text).find(|found| !related.contains(found.as_str())) {
                        return Err(format!(
                            "{name} was told {}, to whom the caller stands in no relation",
                            other.as_str()
                        ));
                    }
                }
                self.named_fields(endpoint, &call, &wanted)?;
            }
        }
        Ok(())
    }

    fn claims_asked(&self) -> bool {
        self.case.claims && !self.items.is_empty()
    }

    /// A person root reaches its person without any relation to the household.
    fn own_person(&self, _household: &BTreeSet<String>) -> bool {
        self.case.root == Root::Person && !access_oracle::person_relations(self.caller, self.person).is_empty()
    }

    fn wanted(&self, households: &[(String, BTreeSet<String>)]) -> Wanted {
        let mut wanted = Wanted::default();
        let mut asked = Vec::new();
        flat(self.selected, &mut asked);
        asked.extend(self.items.iter().copied().cloned());
        for item in self.items {
            let below = format!("{}.", item.path);
            let parts = self.bench.contract.fields.values();
            asked.extend(parts.filter(|part| part.entity == "Household" && part.path.starts_with(&below)).cloned());
        }
        // An object that is given for a part of it is there, whichever part is asked for.
        let could = |field: &Field| {
            let inside = format!("{}.", field.path);
            let mut parts = self.bench.contract.fields.values();
            self.bench.roles.could(&self.bench.contract, self.caller, field)
                || parts.any(|part| {
                    part.entity == field.entity
                        && part.path.starts_with(&inside)
                        && self.bench.roles.could(&self.bench.contract, self.caller, part)
                })
        };
        let person = access_oracle::person_relations(self.caller, self.person);
        if asked.iter().any(could) {
            wanted.gates.extend(["agriculture.household", "agriculture.person"].map(str::to_owned));
            let paired = |grant: &&Value| grant["relation"] == "paired";
            if self.bench.roles.grants(self.caller).iter().any(paired) {
                wanted.gates.insert("help.help".to_owned());
                wanted.read.insert(access_oracle::id("Household", "help.cadre.id"));
            }
        }
        for (_, relations) in households {
            let mut relations = relations.clone();
            if self.case.root == Root::Person {
                relations.extend(person.iter().cloned());
            }
            // An object that is given for a part of it may be asked for, to tell whether it is there.
            let given = |field: &&Field| {
                self.access(&relations, field) != Access::No || !field.leaf && self.has_part(&relations, field)
            };
            for field in asked.iter().filter(given) {
                wanted.fields.insert(access_oracle::id(field.entity, &field.path));
                if field.entity == "Person" {
                    wanted.fields.insert(access_oracle::id("Household", &format!("identity.members.{}", field.path)));
                }
                if field.path.starts_with("risk.warning") {
                    for input in &self.bench.inputs {
                        wanted.fields.insert(access_oracle::id("Household", input));
                        wanted.read.insert(access_oracle::id("Household", input));
                        if let Some(path) = input.strip_prefix("identity.members.") {
                            wanted.fields.insert(access_oracle::id("Person", path));
                        }
                    }
                }
                if field.path.starts_with("assets.deposits") {
                    wanted.gates.insert("civil-affairs.mandate".to_owned());
                }
            }
        }
        wanted
    }

    fn endpoint(&self, source: &str, call: &Logged) -> Option<&Endpoint> {
        let source = source.split('/').next().unwrap();
        let all: Vec<&Endpoint> = self.bench.endpoints.iter().filter(|endpoint| endpoint.source == source).collect();
        let path = |endpoint: &&&Endpoint| endpoint.paths.iter().any(|path| call.path.starts_with(path.as_str()));
        match source {
            "education" => all
                .into_iter()
                .find(|endpoint| Regex::new(&format!(r"\b{}\b", endpoint.name)).unwrap().is_match(&call.body)),
            "help" | "projects" => all.into_iter().next(),
            "medical-insurance" => {
                let number = Regex::new("HX[0-9]+").unwrap();
                let number = number.find(&call.body).unwrap().as_str().to_owned();
                all.into_iter().find(|endpoint| endpoint.body.contains(&number))
            }
            "police" => {
                let name = match (call.body.contains("QueryVehicle"), call.body.contains(":xm>")) {
                    (true, _) => "vehicles",
                    (false, true) => "register",
                    (false, false) => "residence",
                };
                all.into_iter().find(|endpoint| endpoint.name == name)
            }
            _ => all.iter().find(path).copied(),
        }
    }

    /// GraphQL departments are told the fields: each must be given, or read by a gate or a rule.
    fn named_fields(&self, endpoint: &Endpoint, call: &Logged, wanted: &Wanted) -> Verdict {
        if !["education", "help", "projects"].contains(&endpoint.source.as_str()) {
            return Ok(());
        }
        let body: Value = serde_json::from_str(&call.body).unwrap();
        let text = body["query"].as_str().unwrap();
        let document = apollo_compiler::ast::Document::parse(text, "upstream").map_err(|error| error.to_string())?;
        let mut named = BTreeSet::new();
        for definition in &document.definitions {
            if let apollo_compiler::ast::Definition::OperationDefinition(operation) = definition {
                for root in &operation.selection_set {
                    pointers(root, "", true, &mut named);
                }
            }
        }
        for pointer in named {
            if ["/id", "/idNumber"].contains(&pointer.as_str()) {
                continue;
            }
            let slots: Vec<&String> =
                endpoint.fields.iter().filter(|(_, at)| **at == pointer).map(|(slot, _)| slot).collect();
            let reason = slots.iter().any(|slot| {
                let slot = access_oracle::id(&endpoint.entity, slot);
                wanted.fields.contains(&slot) || wanted.read.iter().any(|read| slot.starts_with(read.as_str()))
            });
            if !reason {
                return Err(format!("{} was asked for {pointer} ({slots:?}), which is refused", endpoint.source));
            }
        }
        Ok(())
    }
}

/// Ids of fields that may be given somewhere in the scope, of endpoints that gates need, of fields that they read.
#[derive(Default)]
struct Wanted {
    fields: BTreeSet<String>,
    gates: BTreeSet<String>,
    read: BTreeSet<String>,
}

fn flat(selected: &[Selected], into: &mut Vec<Field>) {
    for one in selected {
        into.push(one.field.clone());
        flat(&one.children, into);
    }
}

/// Decimals are compared as numbers.
fn same(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok());
    a == b || number(a).is_some_and(|a| number(b) == Some(a))
}

/// Leaves of an upstream selection, as pointers from the record.
fn pointers(selection: &apollo_compiler::ast::Selection, at: &str, root: bool, into: &mut BTreeSet<String>) {
    use apollo_compiler::ast::Selection;
    let (at, children) = match selection {
        Selection::Field(field) if field.name == "__typename" => return,
        Selection::Field(field) if root => (at.to_owned(), &field.selection_set),
        Selection::Field(field) => (format!("{at}/{}", field.name), &field.selection_set),
        Selection::InlineFragment(inline) => (at.to_owned(), &inline.selection_set),
        Selection::FragmentSpread(_) => panic!("the gateway spreads no fragments upstream"),
    };
    if children.is_empty() {
        into.insert(at.clone());
    }
    for child in children {
        pointers(child, &at, false, into);
    }
}

/// All texts at a path, through lists.
fn texts(value: &Value, path: &[&str], into: &mut BTreeSet<String>) {
    match (value, path) {
        (Value::Array(list), _) => list.iter().for_each(|one| texts(one, path, into)),
        (Value::String(text), []) => {
            into.insert(text.clone());
        }
        (_, [first, rest @ ..]) => texts(&value[*first], rest, into),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_neither_answered_nor_asked() {
    let bench = Bench {
        world: world().await,
        contract: Contract::read(),
        roles: Roles::read(),
        endpoints: access_oracle::endpoints(),
        inputs: access_oracle::rule_inputs(),
        portraits: RefCell::default(),
        seen: RefCell::default(),
        called: RefCell::default(),
    };
    let cases_wanted = std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let mut runner = TestRunner::new(Config {
        cases: cases_wanted,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    });
    let result = runner.run(&cases(bench.roles.all()), |case| bench.run(&case));
    if let Err(error) = result {
        panic!("{error}");
    }
    let (seen, called) = (bench.seen.borrow(), bench.called.borrow());
    // The property is not held by answering nothing.
    assert!(seen.get(&Access::Plain).is_some_and(|seen| *seen > 50), "{seen:?}");
    assert!(called.len() > 10, "{called:?}");
}
