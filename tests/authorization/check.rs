//! What an answer may hold, and what may be asked for it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use departments::Logged;
use departments::expected::at;
use serde_json::Value;

use crate::access_oracle::{self, Access, Caller, Endpoint, Field, Grant, Roles, Standing};
use crate::bench::Bench;
use crate::case::{Case, Root};
use crate::document::Selected;
use crate::scan::Scan;

/// One request with what is known of its caller, to hold the answer and the calls against.
pub struct Asked<'b> {
    pub bench: &'b Bench,
    pub caller: &'b Caller,
    /// The caller's grants that count.
    pub grants: Vec<&'b Grant>,
    /// How the caller stands to households and persons, as far as it was asked.
    pub standings: RefCell<BTreeMap<String, Rc<Standing>>>,
    pub case: &'b Case,
    pub selected: &'b [Selected],
    pub items: &'b [&'b Field],
    pub person: &'b str,
    /// Of a scan: what it compares, with everything above and inside it.
    pub compared: &'b [Field],
    /// Whether an emergency gives the caller anything.
    pub for_emergencies: bool,
}

/// An entity of the answer: how the caller stands to it, and what the generator says of it.
struct Entity {
    relations: Rc<Standing>,
    expected: Rc<Value>,
    household: Rc<Value>,
}

type Verdict = Result<(), String>;

impl Asked<'_> {
    /// How the caller stands to a household that is.
    pub fn standing(&self, id: &str) -> Rc<Standing> {
        let make = || {
            let portrait = self.bench.portrait(id).expect("a household that is");
            Rc::new(self.bench.stage.facts.standing(self.caller, &portrait))
        };
        self.standings.borrow_mut().entry(id.to_owned()).or_insert_with(make).clone()
    }

    pub fn access(&self, relations: &Standing, field: &Field) -> Access {
        Roles::of_some_by(&self.grants, &self.bench.stage.contract, relations, field)
    }

    /// Of some of those it tells of, and not of all.
    pub fn in_part(&self, relations: &Standing, field: &Field) -> bool {
        let whole = Roles::access_by(&self.grants, &self.bench.stage.contract, relations, field);
        whole == Access::No && self.access(relations, field) != Access::No
    }

    fn of_person(&self, relations: &Standing, person: &str, field: &Field) -> Access {
        Roles::of_person(&self.grants, relations, person, field)
    }

    /// Whether all is known, so that what is given must also be there.
    pub fn exact(&self, relations: &Standing) -> bool {
        relations.unknown.is_empty() && self.bench.stage.facts.learned().is_none()
    }

    /// Whether a relation of some grant of the caller's may hold or not: what it rests on is not known.
    pub fn unsure(&self) -> bool {
        let standings = self.standings.borrow();
        standings.values().any(|standing| self.grants.iter().any(|grant| standing.unknown.contains(&grant.relation)))
    }

    /// Whether any grant that counts gives it under any relation.
    fn could(&self, field: &Field) -> bool {
        self.grants.iter().any(|grant| grant.gives(field) != Access::No)
    }

    /// Whether the caller stands in a relation under which any of its grants gives anything that is asked.
    pub fn related(&self, relations: &Standing) -> bool {
        self.grants.iter().any(|grant| {
            let relation = &grant.relation;
            relations.own.contains(relation) || relations.persons.values().any(|own| own.contains(relation))
        })
    }

    pub fn answer(&self, answer: &Value, whole: &str, target: &str, scan: Option<&Scan>) -> Verdict {
        let root = &answer["data"]["root"];
        if !access_oracle::is_declared_rightly(self.caller, &self.bench.purposes) {
            let refused = answer.get("data").is_none() && answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST";
            return if refused {
                Ok(())
            } else {
                Err("what was declared is not as it must be, and was taken".to_owned())
            };
        }
        if self.caller.emergency && !self.for_emergencies {
            let refused = answer.get("data").is_none() && answer["errors"][0]["extensions"]["code"] == "FORBIDDEN";
            let taken = "an emergency was declared by whom it gives nothing, and was taken".to_owned();
            return if refused { Ok(()) } else { Err(taken) };
        }
        if let Some(scan) = scan {
            return self.scanned(answer, whole, scan);
        }
        if answer.get("data").is_none() {
            return Err("the request was not executed".to_owned());
        }
        if self.case.root == Root::Listing {
            return self.listed(answer, whole).map(|_| ());
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
            let (household, at) = self.bench.stage.facts.person(self.person).ok_or("a person that is not")?;
            let household_portrait = self.bench.portrait(&household.id).unwrap();
            let mut relations = Standing::clone(&self.standing(&household.id));
            relations.own.extend(relations.persons.get(self.person).into_iter().flatten().cloned().collect::<Vec<_>>());
            let relations = Rc::new(relations);
            let expected = household.members[at].person.clone();
            let entity = Entity { relations, expected: Rc::new(expected), household: household_portrait };
            self.found_by("Person", "idNumber", &entity.relations)?;
            self.object(root, self.selected, &entity, true)?;
            self.secrets(whole, &[&household.id])?;
            return self.refusals(answer, root, &["root"], &entity);
        }
        self.household(root, target, true)?;
        let relations = self.standing(target);
        let by = if self.case.root == Root::ByCode { "registry.agriCode" } else { "id" };
        self.found_by("Household", by, &relations)?;
        self.item_states(root, &relations, target)?;
        self.secrets(whole, &[target])?;
        self.refusals(answer, root, &["root"], &self.known(target))
    }

    /// The households of a page, by their ids.
    pub fn listed<'v>(&self, answer: &'v Value, whole: &str) -> Result<Vec<&'v str>, String> {
        let mut listed = Vec::new();
        for node in answer["data"]["root"]["nodes"].as_array().into_iter().flatten() {
            let id = self.selected.iter().find(|one| one.field.path == "id").map(|one| &node[&one.key]);
            let id = id.and_then(Value::as_str).ok_or("a listed household without its id")?;
            self.household(node, id, false)?;
            self.found_by("Household", "registry.division.code", &self.standing(id))?;
            listed.push(id);
            let entity = self.known(id);
            self.refusals(answer, node, &["root", "nodes", ""], &entity)?;
        }
        self.secrets(whole, &listed)?;
        Ok(listed)
    }

    /// The persons of a page, by their numbers.
    pub fn listed_persons<'v>(&self, answer: &'v Value, whole: &str) -> Result<Vec<&'v str>, String> {
        let (mut listed, mut households) = (Vec::new(), BTreeSet::new());
        for node in answer["data"]["root"]["nodes"].as_array().into_iter().flatten() {
            let id = self.selected.iter().find(|one| one.field.path == "idNumber").map(|one| &node[&one.key]);
            let id = id.and_then(Value::as_str).ok_or("a listed person without a number")?;
            let (home, at) = self.bench.stage.facts.person(id).ok_or_else(|| format!("{id} is answered and is not"))?;
            let relations = self.standing(&home.id);
            if !self.related(&relations) {
                return Err(format!("{id} is answered to a caller in no relation to the household"));
            }
            self.found_by("Person", "idNumber", &relations)?;
            self.found_by("Person", "household", &relations)?;
            self.found_by("Household", "registry.division.code", &relations)?;
            let household = self.bench.portrait(&home.id).expect("a household that is");
            let expected = Rc::new(home.members[at].person.clone());
            let entity = Entity { relations, expected, household };
            self.object(node, self.selected, &entity, false)?;
            self.refusals(answer, node, &["root", "nodes", ""], &entity)?;
            listed.push(id);
            households.insert(home.id);
        }
        self.secrets(whole, &households.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(listed)
    }

    /// A household that is.
    fn known(&self, id: &str) -> Entity {
        let portrait = self.bench.portrait(id).expect("a household that is");
        Entity { relations: self.standing(id), expected: portrait.clone(), household: portrait }
    }

    /// What is found by a value is found only by who may read the value in full.
    fn found_by(&self, entity: &str, path: &str, relations: &Standing) -> Verdict {
        match self.access(relations, self.bench.stage.contract.field(entity, path)) {
            Access::Plain => Ok(()),
            access => Err(format!("found by {path}, which is {access:?}")),
        }
    }

    fn household(&self, value: &Value, id: &str, compare: bool) -> Verdict {
        let portrait = self.bench.portrait(id).ok_or_else(|| format!("{id} is answered and is not"))?;
        let relations = self.standing(id);
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
            let path = &one.field.path;
            let access = self.access(&entity.relations, &one.field);
            if value.is_null() {
                let held = match at(&entity.expected, path) {
                    Value::Null => false,
                    Value::Array(list) => !list.is_empty(),
                    _ => one.field.leaf,
                };
                if compare && access == Access::Plain && held && self.exact(&entity.relations) {
                    self.bench.missing.borrow_mut().push(path.clone());
                }
                // An object that has nothing of what is selected is null as a whole.
                let entity_below = ["Person", "Household"].contains(&one.field.type_name.as_str());
                if !one.field.leaf && !one.field.list && !entity_below {
                    self.object(value, &one.children, entity, compare && !path.starts_with("risk"))?;
                }
                self.bench.tally.borrow_mut().refused += usize::from(access == Access::No);
                continue;
            }
            match one.field.type_name.as_str() {
                "Person" if access == Access::No => return Err(format!("{path} is refused and there")),
                "Person" => {
                    let household = self.bench.household(at(&entity.household, "id").as_str().unwrap()).unwrap();
                    let elements = value.as_array().map_or(&[][..], Vec::as_slice);
                    // Elements stand in the order of the members; one more would be held against nobody.
                    if household.known && elements.len() > household.members.len() {
                        return Err(format!("{path} has more persons than the household"));
                    }
                    for (at, element) in elements.iter().enumerate() {
                        let mut relations = Standing::clone(&entity.relations);
                        match household.members.get(at).filter(|_| household.known) {
                            Some(member) => relations.own.extend(relations.persons[&member.id_number].clone()),
                            None => {
                                let any = self.bench.stage.facts.learned().map(|learned| learned.to_a_stranger());
                                relations.unknown.extend(any.clone().unwrap_or_default());
                                relations.own.extend(any.unwrap_or_default());
                            }
                        }
                        let person = Entity {
                            relations: Rc::new(relations),
                            expected: Rc::new(Value::Null),
                            household: entity.household.clone(),
                        };
                        self.object(element, &one.children, &person, false)?;
                    }
                }
                "Household" if access == Access::No => return Err(format!("{path} is refused and there")),
                "Household" => {
                    let relations = self.standing(at(&entity.household, "id").as_str().unwrap());
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

    fn leaf(&self, value: &Value, one: &Selected, access: Access, entity: &Entity, compare: bool) -> Verdict {
        let path = &one.field.path;
        self.bench.tally.borrow_mut().saw(access);
        let expected = at(&entity.expected, path);
        match access {
            Access::No => Err(format!("{path} is refused and there: {value}")),
            Access::Masked if compare && value == expected => Err(format!("{path} is there unmasked: {value}")),
            Access::Masked => Ok(()),
            Access::Plain
                if compare
                    && self.exact(&entity.relations)
                    && !expected.is_null()
                    && !one.field.list
                    && !same(value, expected) =>
            {
                Err(format!("{path} is {value}, not {expected}"))
            }
            Access::Plain => Ok(()),
        }
    }

    /// The states of items agree, and claims tell nothing that is masked or refused.
    fn item_states(&self, root: &Value, relations: &Standing, household: &str) -> Verdict {
        for info in root["items"].as_array().into_iter().flatten() {
            let item = self.items.iter().find(|field| field.item.as_deref() == info["no"].as_str());
            let Some(field) = item else { return Err(format!("an item that was not asked for: {info}")) };
            let access = self.access(relations, field);
            let state = info["state"].as_str().unwrap();
            // An object's state is that of the parts of it that were selected.
            let open = access != Access::No || self.has_part(relations, field);
            if state != "REFUSED" && !open || state == "REFUSED" && open && field.leaf && self.exact(relations) {
                return Err(format!("item {} is {state}, and {access:?}", field.path));
            }
            let told =
                info["claims"].as_array().is_some_and(|claims| claims.iter().any(|claim| !claim["value"].is_null()));
            if told && access != Access::Plain {
                return Err(format!("claims tell {}", field.path));
            }
            self.list_claims(info, field, relations, household)?;
        }
        Ok(())
    }

    /// A part of a refused item is given by its own path.
    fn has_part(&self, relations: &Standing, field: &Field) -> bool {
        let below = format!("{}.", field.path);
        let parts = self.bench.stage.contract.fields.values().filter(|part| part.entity == field.entity);
        parts.filter(|part| part.path.starts_with(&below)).any(|part| self.access(relations, part) != Access::No)
    }

    /// No value of these households that the caller may nowhere have unmasked stands anywhere in the answer.
    fn secrets(&self, whole: &str, of: &[&str]) -> Verdict {
        let (mut open, mut secret, mut named) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for id in of {
            let portrait = self.bench.portrait(id).expect("a household that is");
            self.secrets_of(&self.standing(id), &portrait, (&mut open, &mut secret, &mut named));
        }
        self.bench.tally.borrow_mut().secrets += secret.len() + named.len();
        // Short texts (dates, codes, states) stand in the answer for other reasons; names of two characters too.
        let telling = |text: &&String| text.len() >= 11 && !text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let long = |name: &&String| name.chars().count() >= 3;
        for text in secret.difference(&self.bench.titles).filter(telling).chain(named.iter().filter(long)) {
            if whole.contains(text.as_str()) && !open.iter().any(|open: &String| open.contains(text.as_str())) {
                return Err(format!("a value that is refused or masked is in the answer: {text}"));
            }
        }
        Ok(())
    }

    fn secrets_of(
        &self,
        relations: &Standing,
        portrait: &Value,
        (open, secret, named): (&mut BTreeSet<String>, &mut BTreeSet<String>, &mut BTreeSet<String>),
    ) {
        let mut left = portrait.clone();
        for withheld in &self.bench.withheld {
            for element in withheld.take(relations, &mut left) {
                element.as_object().unwrap().values().for_each(|value| texts(value, &[], secret));
            }
        }
        for field in self.bench.stage.contract.fields.values().filter(|field| field.leaf && field.entity == "Household")
        {
            if self.in_part(relations, field) {
                self.secrets_in_part(relations, &left, field, (&mut *open, &mut *secret));
                continue;
            }
            // Rules, thresholds and sources are the gateway's own; only what was compared is the household's.
            if self.bench.check_line(field).is_some_and(|inside| inside != "inputs.value") {
                if self.access(relations, field) == Access::Plain {
                    open.extend(self.bench.told_by_checklists.iter().cloned());
                }
                continue;
            }
            let plain = self.access(relations, field) == Access::Plain;
            let (of, into) = if plain { (&left, &mut *open) } else { (portrait, &mut *secret) };
            texts(of, &field.path.split('.').collect::<Vec<_>>(), into);
        }
        let household = self.bench.household(at(portrait, "id").as_str().unwrap()).unwrap();
        for member in &household.members {
            let person = &member.person;
            for name in ["idNumber", "name"] {
                let Some(held) = person[name].as_str() else { continue };
                let field = self.bench.stage.contract.field("Person", name);
                let plain = self.of_person(relations, &member.id_number, field) == Access::Plain;
                let hidden = if name == "name" { &mut *named } else { &mut *secret };
                let into = if plain { &mut *open } else { hidden };
                into.insert(held.to_owned());
            }
        }
    }

    /// As [`Self::secrets`], for a field of a list each of whose elements tells of one person.
    fn secrets_in_part(
        &self,
        relations: &Standing,
        portrait: &Value,
        field: &Field,
        (open, secret): (&mut BTreeSet<String>, &mut BTreeSet<String>),
    ) {
        let (list, inside) = field.path.rsplit_once('.').unwrap();
        for element in at(portrait, list).as_array().into_iter().flatten() {
            let access = element["idNumber"].as_str().map(|person| self.of_person(relations, person, field));
            // Whose an element without an id number is cannot be told here.
            let into = if access.is_none_or(|access| access == Access::Plain) { &mut *open } else { &mut *secret };
            texts(element, &[inside], into);
        }
    }

    /// Every refused field of an entity that is there has an error that names the missing grant.
    fn refusals(&self, answer: &Value, value: &Value, at: &[&str], entity: &Entity) -> Verdict {
        let mut refused = Vec::new();
        let mut path = at.iter().map(|key| (*key).to_owned()).collect();
        self.refused(value, self.selected, &entity.relations, &mut path, &mut refused);
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
        value: &Value,
        selected: &[Selected],
        relations: &Standing,
        path: &mut Vec<String>,
        into: &mut Vec<Vec<String>>,
    ) {
        for one in selected {
            path.push(one.key.clone());
            let section = one.field.class.is_none();
            let given = self.access(relations, &one.field) != Access::No || self.has_part(relations, &one.field);
            if !section && (!given || self.in_part(relations, &one.field)) {
                into.push(path.clone());
            } else if !one.field.list && !one.field.leaf && one.field.type_name != "Household" {
                // Of an object that the caller may know is not there, nothing is refused.
                let inside = &value[&one.key];
                if section || !inside.is_null() {
                    self.refused(inside, &one.children, relations, path, into);
                }
            }
            path.pop();
        }
    }

    /// Every call, every key in it and every field named in it has its reason.
    pub fn calls(&self, scope: &[String], calls: &[(String, Logged)]) -> Verdict {
        let households: Vec<(String, Rc<Standing>)> = scope.iter().map(|id| (id.clone(), self.standing(id))).collect();
        let wanted = self.wanted(&households);
        let key = &self.bench.key;
        let related: BTreeSet<String> = households
            .iter()
            .filter(|(id, relations)| {
                self.related(relations) || self.bench.portrait(id).is_some_and(|_| self.own_person(relations))
            })
            .map(|(id, _)| self.bench.household(id).unwrap())
            .flat_map(|home| {
                let members = home.members.iter().map(|member| member.id_number.clone());
                members.chain([home.id.clone()]).collect::<Vec<_>>()
            })
            .collect();
        for (source, call) in calls {
            {
                let Some(endpoint) = self.endpoint(source, call) else { continue };
                let name = format!("{}.{}", endpoint.source, endpoint.name);
                self.bench.tally.borrow_mut().called(&name);
                let gate = wanted.gates.contains(&name);
                let due = endpoint.fields.keys().chain(endpoint.also.keys()).any(|field| {
                    wanted.fields.contains(&access_oracle::id(&endpoint.entity, field))
                        && (self.claims_asked()
                            || wanted.read.contains(&access_oracle::id(&endpoint.entity, field))
                            || !endpoint.also.contains_key(field)
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
                if !gate && endpoint.by_persons {
                    self.persons(endpoint, call, &wanted)?;
                }
                self.named_fields(endpoint, call, &wanted)?;
            }
        }
        Ok(())
    }

    /// A department is asked only of those persons of whom something of it may be given.
    fn persons(&self, endpoint: &Endpoint, call: &Logged, wanted: &Wanted) -> Verdict {
        let text = format!("{} {} {}", call.path, call.query, call.body);
        let may = |person: &str| {
            let slots = endpoint.fields.keys().chain(endpoint.also.keys());
            slots
                .map(|field| access_oracle::id(&endpoint.entity, field))
                .any(|slot| wanted.of.contains(&(slot, person.to_owned())))
        };
        match self.bench.key.find_iter(&text).find(|found| !may(found.as_str())) {
            Some(other) => Err(format!(
                "{}.{} was told {}, of whom nothing of it may be given",
                endpoint.source,
                endpoint.name,
                other.as_str()
            )),
            None => Ok(()),
        }
    }

    fn claims_asked(&self) -> bool {
        self.case.claims && !self.items.is_empty()
    }

    /// A person root reaches its person without any relation to the household.
    fn own_person(&self, _household: &Standing) -> bool {
        self.case.root == Root::Person && !self.bench.stage.facts.to_person(self.caller, self.person).is_empty()
    }

    fn wanted(&self, households: &[(String, Rc<Standing>)]) -> Wanted {
        let mut wanted = Wanted::default();
        let mut asked = Vec::new();
        flat(self.selected, &mut asked);
        // What conditions read is asked of everybody who holds it.
        asked.extend(self.compared.iter().cloned());
        wanted.read.extend(self.compared.iter().map(|field| access_oracle::id(field.entity, &field.path)));
        asked.extend(self.items.iter().copied().cloned());
        for item in self.items {
            let below = format!("{}.", item.path);
            let parts = self.bench.stage.contract.fields.values();
            asked.extend(parts.filter(|part| part.entity == "Household" && part.path.starts_with(&below)).cloned());
        }
        // An object that is given for a part of it is there, whichever part is asked for.
        let could = |field: &Field| {
            let inside = format!("{}.", field.path);
            let mut parts = self.bench.stage.contract.fields.values();
            self.could(field)
                || parts.any(|part| part.entity == field.entity && part.path.starts_with(&inside) && self.could(part))
        };
        let person = self.bench.stage.facts.to_person(self.caller, self.person);
        if asked.iter().any(could) {
            wanted.gates.extend(["agriculture.household", "agriculture.person"].map(str::to_owned));
            let gates = [
                ("paired", "help.help", "help.cadre"),
                ("delegated", "help.help", "help.delegations"),
                ("same-household", "police.residence", "identity.registered"),
                ("self-person", "police.register", ""),
                ("guardian", "civil-affairs.guardianships", ""),
                ("consented-health", "civil-affairs.consents", ""),
                ("consented-disability", "civil-affairs.consents", ""),
                ("consented-finance", "civil-affairs.consents", ""),
            ];
            for (relation, endpoint, read) in gates {
                if self.grants.iter().any(|grant| grant.written["relation"] == relation) {
                    wanted.gates.insert(endpoint.to_owned());
                    if !read.is_empty() {
                        wanted.read.insert(access_oracle::id("Household", read));
                    }
                }
            }
        }
        for (_, relations) in households {
            let mut relations = Standing::clone(relations);
            if self.case.root == Root::Person {
                relations.own.extend(person.iter().cloned());
            }
            // An object that is given for a part of it may be asked for, to tell whether it is there.
            let given = |field: &&Field| {
                self.access(&relations, field) != Access::No || !field.leaf && self.has_part(&relations, field)
            };
            let members: Vec<&String> = relations.persons.keys().collect();
            for field in asked.iter().filter(given) {
                wanted.fields.insert(access_oracle::id(field.entity, &field.path));
                let of = |person: &&&String| {
                    !self.in_part(&relations, field) || self.of_person(&relations, person, field) != Access::No
                };
                let slot = access_oracle::id(field.entity, &field.path);
                wanted.of.extend(members.iter().filter(of).map(|person| (slot.clone(), (*person).clone())));
                if field.entity == "Person" {
                    wanted.fields.insert(access_oracle::id("Household", &format!("identity.members.{}", field.path)));
                }
                let rests = |rule: &str| field.path == rule || field.path.starts_with(&format!("{rule}."));
                let rules = self.bench.derived.iter().filter(|(rule, _)| rests(rule));
                for input in rules.flat_map(|(_, inputs)| inputs) {
                    let slot = access_oracle::id("Household", input);
                    wanted.of.extend(members.iter().map(|person| (slot.clone(), (*person).clone())));
                    wanted.fields.insert(slot.clone());
                    wanted.read.insert(slot);
                    if let Some(path) = input.strip_prefix("identity.members.") {
                        wanted.fields.insert(access_oracle::id("Person", path));
                    }
                    if input.starts_with("assets.deposits") {
                        wanted.gates.insert("civil-affairs.mandate".to_owned());
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
                .find(|endpoint| call.body.split(|c: char| !c.is_alphanumeric()).any(|word| word == endpoint.name)),
            "help" | "projects" => all.into_iter().next(),
            "medical-insurance" => {
                let from = call.body.find("HX").unwrap();
                let number = call.body[from..].split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
                all.into_iter().find(|endpoint| endpoint.body.contains(number))
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
            let slots: Vec<&String> = endpoint
                .fields
                .iter()
                .chain(&endpoint.also)
                .filter(|(_, at)| **at == pointer)
                .map(|(slot, _)| slot)
                .collect();
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
    /// Fields, and the persons of whom they may be given or rules read them.
    of: BTreeSet<(String, String)>,
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
