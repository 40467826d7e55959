//! Who may have what, said again from the files alone: `schema/`, `config/roles.yaml`, `resolvers/` and the generator.
//! Shares nothing with the gateway, so that the two can disagree.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use apollo_compiler::Schema;
use apollo_compiler::schema::ExtendedType;
use departments::world::{Household, Member};
use departments::{World, standing};
use regex::Regex;
use serde_json::{Map, Value};

/// A field of the contract: `Household:registry.headName`.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its number among all fields.
    pub at: usize,
    pub entity: &'static str,
    pub path: String,
    pub class: Option<String>,
    pub type_name: String,
    pub list: bool,
    pub leaf: bool,
    pub item: Option<String>,
    pub hidden: bool,
    /// Takes `first`.
    pub first: bool,
}

pub struct Contract {
    pub fields: BTreeMap<String, Field>,
    /// The fields without arguments of each type that entities are made of, with their types as written.
    pub types: BTreeMap<String, BTreeSet<(String, String)>>,
    /// Interfaces and unions that a type belongs to, with the fields that an interface has.
    pub abstracts: BTreeMap<String, Vec<(String, BTreeSet<String>)>>,
    /// Fields of Household that departments answer by the id numbers of its members, and those of them that are lists of
    /// objects, with what is inside.
    told_of_persons: BTreeSet<String>,
    one_by_one: BTreeSet<String>,
    /// What each relation is to.
    on: BTreeMap<String, String>,
}

pub const ENTITIES: [&str; 2] = ["Household", "Person"];

pub fn id(entity: &str, path: &str) -> String {
    format!("{entity}:{path}")
}

pub fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl Contract {
    pub fn read() -> Self {
        Self::read_from(&folder(""))
    }

    pub fn read_from(root: &Path) -> Self {
        let mut text = String::new();
        for file in std::fs::read_dir(root.join("schema")).unwrap() {
            text.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
        }
        let schema = Schema::parse(text, "schema").unwrap();
        let on = yaml(&root.join("config/rules/relations.yaml"));
        let on = on["relations"].as_object().unwrap().iter();
        let mut contract = Self {
            fields: BTreeMap::new(),
            types: BTreeMap::new(),
            abstracts: BTreeMap::new(),
            told_of_persons: BTreeSet::new(),
            one_by_one: BTreeSet::new(),
            on: on.map(|(name, relation)| (name.clone(), relation["on"].as_str().unwrap().to_owned())).collect(),
        };
        for entity in ENTITIES {
            contract.enter(&schema, entity, entity, "", (None, false));
        }
        for endpoint in endpoints(root).into_iter().filter(|endpoint| endpoint.by_persons) {
            contract.told_of_persons.extend(endpoint.fields.into_keys());
            for list in endpoint.lists {
                let inside = contract.fields.values().filter(|field| field.entity == "Household");
                let inside: Vec<String> =
                    inside.filter(|field| within(&field.path, &list)).map(|field| field.path.clone()).collect();
                contract.one_by_one.extend(inside);
            }
        }
        // An object is told of persons where all that is in it is.
        let of_household = || contract.fields.values().filter(|field| field.entity == "Household");
        let otherwise = |leaf: &&Field| leaf.leaf && !contract.told_of_persons.contains(&leaf.path);
        let otherwise: Vec<&Field> = of_household().filter(otherwise).collect();
        let objects = of_household().filter(|field| !field.leaf).map(|object| object.path.clone());
        let objects: Vec<String> =
            objects.filter(|object| !otherwise.iter().any(|leaf| within(&leaf.path, object))).collect();
        contract.told_of_persons.extend(objects);
        for definition in schema.types.values() {
            let (name, types, fields): (_, Vec<_>, BTreeSet<String>) = match definition {
                ExtendedType::Interface(it) => {
                    let of = |(name, object): (&apollo_compiler::Name, &ExtendedType)| {
                        let object = object.as_object()?;
                        object.implements_interfaces.iter().any(|other| other.name == it.name).then(|| name.to_string())
                    };
                    (
                        &it.name,
                        schema.types.iter().filter_map(of).collect(),
                        it.fields.keys().map(ToString::to_string).collect(),
                    )
                }
                ExtendedType::Union(it) => {
                    (&it.name, it.members.iter().map(|member| member.name.to_string()).collect(), BTreeSet::new())
                }
                _ => continue,
            };
            for of in types {
                contract.abstracts.entry(of).or_default().push((name.to_string(), fields.clone()));
            }
        }
        contract
    }

    /// Whether departments answer all there is of a field of Household by the id numbers of its members.
    pub fn told_of_persons(&self, field: &Field) -> bool {
        field.entity == "Household" && self.told_of_persons.contains(&field.path)
    }

    /// Whether a field is, or lies in, a list each of whose elements tells of one member.
    pub fn one_by_one(&self, field: &Field) -> bool {
        field.entity == "Household" && self.one_by_one.contains(&field.path)
    }

    fn enter(
        &mut self,
        schema: &Schema,
        entity: &'static str,
        type_name: &str,
        prefix: &str,
        (above, in_hidden): (Option<&str>, bool),
    ) {
        let Some(ExtendedType::Object(object)) = schema.types.get(type_name) else { return };
        let text = |value: &apollo_compiler::ast::Value| value.as_str().map(str::to_owned);
        let of_type = object.directives.get("class").and_then(|class| text(class.specified_argument_by_name("name")?));
        let alike =
            object.fields.iter().filter(|(_, field)| field.arguments.is_empty() && !field.directives.has("hidden"));
        let alike = alike.map(|(name, field)| (name.to_string(), field.ty.to_string())).collect();
        self.types.insert(type_name.to_owned(), alike);
        for (name, field) in &object.fields {
            let own = field.directives.get("class").and_then(|class| text(class.specified_argument_by_name("name")?));
            let class = own.or_else(|| of_type.clone()).or_else(|| above.map(str::to_owned));
            let item = field.directives.get("item").and_then(|item| text(item.specified_argument_by_name("no")?));
            let inner = field.ty.inner_named_type().to_string();
            let hidden = in_hidden || field.directives.has("hidden");
            let path = format!("{prefix}{name}");
            let object = matches!(schema.types.get(inner.as_str()), Some(ExtendedType::Object(_)));
            let inside = object && !ENTITIES.contains(&inner.as_str()) && inner != "ItemInfo";
            self.fields.insert(
                id(entity, &path),
                Field {
                    at: self.fields.len(),
                    entity,
                    path: path.clone(),
                    class: class.clone(),
                    type_name: inner.clone(),
                    list: field.ty.is_list(),
                    leaf: !object,
                    item,
                    hidden,
                    first: field.arguments.iter().any(|argument| argument.name == "first"),
                },
            );
            if inside {
                self.enter(schema, entity, &inner, &format!("{path}."), (class.as_deref(), hidden));
            }
        }
    }

    pub fn field(&self, entity: &str, path: &str) -> &Field {
        self.fields.get(&id(entity, path)).unwrap_or_else(|| panic!("no field {entity}:{path}"))
    }

    /// The fields above, from the top.
    pub fn above<'c>(&'c self, field: &'c Field) -> impl Iterator<Item = &'c Field> {
        field.path.match_indices('.').map(|(at, _)| self.field(field.entity, &field.path[..at]))
    }
}

/// How a caller comes.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    pub id: String,
    pub roles: Vec<String>,
    pub networks: Vec<String>,
    pub purpose: Option<String>,
    pub case: Option<String>,
    pub claims: Map<String, Value>,
    /// What the client certificate of the connection says, where there is one: `subject`, `issuer`, `san`.
    pub certificate: Option<Value>,
    pub issuer: String,
    /// `year-month-day hour:minute`, and the day of the week; `None`: the moment of the test.
    pub now: Option<(String, String)>,
    /// An emergency was declared.
    pub emergency: bool,
    /// What a second person approved: for which household, as which role, and as which role that person did.
    pub approved: Option<(String, String, String)>,
}

/// Date and time at +08:00 as texts that compare as they follow one another, and the day of the week.
fn moment() -> (String, String) {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8)));
    (now.strftime("%Y-%m-%d %H:%M").to_string(), now.strftime("%a").to_string().to_lowercase())
}

/// What a request may declare as its purpose.
pub fn purposes(root: &Path) -> BTreeSet<String> {
    let file = yaml(&root.join("config/gateway.yaml"));
    file["purposes"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// Purpose and case are of one line, and the purpose is one of those there are.
pub fn is_declared_rightly(caller: &Caller, purposes: &BTreeSet<String>) -> bool {
    let plain = |text: &Option<String>| text.as_ref().is_none_or(|text| !text.chars().any(char::is_control));
    plain(&caller.purpose) && plain(&caller.case) && caller.purpose.as_ref().is_none_or(|name| purposes.contains(name))
}

/// The issuer whose tokens the gateway takes.
pub fn issuer(root: &Path) -> String {
    yaml(&root.join("config/gateway.yaml"))["issuers"][0]["issuer"].as_str().unwrap().to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    No,
    Masked,
    Plain,
}

pub struct Roles {
    written: Value,
    grants: BTreeMap<String, Vec<Grant>>,
}

/// One grant, and what it gives of each field, by the field's number.
pub struct Grant {
    pub written: Value,
    /// The relation under which it counts: one that needs an approval only for what was approved.
    pub relation: String,
    case: Option<Regex>,
    gives: Vec<Access>,
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

fn within(path: &str, of: &str) -> bool {
    path == of || path.strip_prefix(of).is_some_and(|rest| rest.starts_with('.'))
}

/// Whether a path of roles.yaml covers a field: bare paths are Household's where Household has them.
fn covers(field: &Field, written: &str) -> bool {
    let written = written.strip_prefix("Household.").unwrap_or(written);
    match written.strip_prefix("Person.") {
        Some(path) => field.entity == "Person" && within(&field.path, path),
        None if ENTITIES.contains(&written) => field.entity == written,
        None => field.entity == "Household" && within(&field.path, written),
    }
}

/// `certificate` of a role: `required`, or a mapping each of whose keys the certificate shown must meet.
fn certified(asked: &Value, shown: Option<&Value>) -> bool {
    match (asked, shown) {
        (Value::Null, _) => true,
        (_, None) => false,
        (Value::Object(asked), Some(shown)) => asked.iter().all(|(key, value)| match key.as_str() {
            "san" => names(value).iter().any(|name| names(&shown["san"]).iter().any(|shown| wild(name, shown))),
            key => shown[key] == *value,
        }),
        (asked, Some(_)) => asked == "required",
    }
}

fn wild(asked: &str, shown: &str) -> bool {
    let pattern = regex::escape(asked).replace("dns:\\*\\.", "dns:[^.]+\\.");
    Regex::new(&format!("\\A{pattern}\\z")).unwrap().is_match(shown)
}

impl Grant {
    fn read(contract: &Contract, written: &Value) -> Self {
        let relation = written["relation"].as_str().unwrap();
        let mut gives = vec![Access::No; contract.fields.len()];
        for field in contract.fields.values() {
            gives[field.at] = Self::giving(contract, written, field);
        }
        Self {
            relation: if written["approval"].is_null() { relation.to_owned() } else { format!("{relation}:approved") },
            case: written["case"].as_str().map(|pattern| Regex::new(&format!("\\A(?:{pattern})\\z")).unwrap()),
            gives,
            written: written.clone(),
        }
    }

    pub fn gives(&self, field: &Field) -> Access {
        self.gives[field.at]
    }

    /// What one grant gives of one field.
    fn giving(contract: &Contract, grant: &Value, field: &Field) -> Access {
        let classes = names(&grant["classes"]);
        let except = names(&grant["except"]);
        let by_class = |field: &Field| {
            field.class.as_deref().is_some_and(|class| classes.contains(&class))
                && !except.iter().any(|written| covers(field, written))
        };
        let class = field.class.is_some()
            && by_class(field)
            && contract.above(field).all(|above| above.class.is_none() || by_class(above));
        let named = names(&grant["fields"]).iter().any(|written| {
            let of = written.strip_prefix(&format!("{}.", field.entity)).unwrap_or(written);
            covers(field, written)
                && (ENTITIES.contains(written) || {
                    let whole = contract.field(field.entity, of);
                    whole.class.is_none() || whole.class == field.class
                })
        });
        // A relation to a person gives of a household only what is told of persons.
        let to_person = contract.on[grant["relation"].as_str().unwrap()] == "Person";
        let out_of_reach = to_person && field.entity == "Household" && !contract.told_of_persons(field);
        if field.hidden || out_of_reach || !(class || named) {
            return Access::No;
        }
        let masked = grant["mask"].as_object().is_some_and(|masks| {
            masks.keys().any(|what| {
                *what == field.path && field.entity == "Household"
                    || *what == format!("{}.{}", field.entity, field.path)
            })
        });
        if masked { Access::Masked } else { Access::Plain }
    }
}

impl Roles {
    pub fn read(contract: &Contract) -> Self {
        Self::read_from(&folder(""), contract)
    }

    pub fn read_from(root: &Path, contract: &Contract) -> Self {
        let written = yaml(&root.join("config/roles.yaml"));
        let grants = written["roles"].as_object().unwrap().iter().map(|(name, role)| {
            let grants = role["grants"].as_array().into_iter().flatten();
            (name.clone(), grants.map(|grant| Grant::read(contract, grant)).collect())
        });
        Self { grants: grants.collect(), written }
    }

    /// A role as it is written.
    pub fn role(&self, name: &str) -> &Value {
        &self.written["roles"][name]
    }

    pub fn all(&self) -> Vec<String> {
        self.grants.keys().cloned().collect()
    }

    /// Whether any grant of any role masks the field.
    pub fn masks(&self, field: &Field) -> bool {
        let grants = self.grants.values().flatten();
        let mut masked = grants.filter_map(|grant| grant.written["mask"].as_object()).flat_map(Map::keys);
        masked.any(|what| covers(field, what) || Some(what) == field.class.as_ref())
    }

    /// The grants that count from here, for this purpose and case.
    pub fn grants(&self, caller: &Caller) -> Vec<&Grant> {
        let mut found = Vec::new();
        for role_name in &caller.roles {
            let Some(role) = self.written["roles"].get(role_name) else { continue };
            if !names(&role["networks"]).iter().any(|name| caller.networks.iter().any(|here| here == name)) {
                continue;
            }
            if !certified(&role["certificate"], caller.certificate.as_ref()) {
                continue;
            }
            // The suite writes its own documents: none of them is a trusted one.
            if role["documents"] == "trusted" {
                continue;
            }
            for grant in &self.grants[role_name] {
                let purposes = names(&grant.written["purposes"]);
                let purpose = purposes.is_empty() || caller.purpose.as_deref().is_some_and(|p| purposes.contains(&p));
                let matches = |whole: &Regex| caller.case.as_deref().is_some_and(|case| whole.is_match(case));
                let case = grant.case.as_ref().is_none_or(matches);
                if purpose && case && Self::conditions(caller, role, role_name, &grant.written) {
                    found.push(grant);
                }
            }
        }
        found
    }

    /// What a grant requires beside network, purpose and case.
    fn conditions(caller: &Caller, role: &Value, role_name: &str, grant: &Value) -> bool {
        let (now, day) = caller.now.clone().unwrap_or_else(moment);
        let (date, time) = now.split_once(' ').unwrap();
        let unless_written =
            |list: &Value, holds: &dyn Fn(&[Value]) -> bool| list.as_array().is_none_or(|list| holds(list));
        let issuer = unless_written(&role["issuers"], &|list| list.iter().any(|one| *one == *caller.issuer));
        let network = unless_written(&grant["networks"], &|list| {
            list.iter().any(|one| caller.networks.iter().any(|here| *one == **here))
        });
        let person = unless_written(&grant["people"], &|list| {
            list.iter()
                .any(|one| one["id"] == *caller.id && (one["issuer"].is_null() || one["issuer"] == *caller.issuer))
        });
        let from = grant["from"].as_str().is_none_or(|from| from <= date);
        let until = grant["until"].as_str().is_none_or(|until| date <= until);
        let hours = unless_written(&grant["hours"], &|list| {
            list.iter().filter_map(|one| one.as_str()?.split_once('-')).any(|(from, to)| from <= time && time < to)
        });
        let days = unless_written(&grant["days"], &|list| list.iter().any(|one| *one == *day));
        let emergency = grant["break_glass"].is_null() || caller.emergency;
        let approved = grant["approval"].is_null()
            || caller.approved.as_ref().is_some_and(|(_, role, by)| {
                role == role_name && names(&grant["approval"]["by"]).contains(&by.as_str())
            });
        issuer && network && person && from && until && hours && days && emergency && approved
    }

    /// What grants give of a field to who stands in these relations.
    fn under(grants: &[&Grant], stands: impl Fn(&str) -> bool, field: &Field) -> Access {
        let counting = grants.iter().filter(|grant| stands(&grant.relation));
        counting.map(|grant| grant.gives(field)).max().unwrap_or(Access::No)
    }

    /// What these grants give of a field, as far as it tells of one person.
    pub fn of_person(grants: &[&Grant], to: &Standing, person: &str, field: &Field) -> Access {
        let own = to.persons.get(person);
        Self::under(grants, |name| to.own.contains(name) || own.is_some_and(|own| own.contains(name)), field)
    }

    /// What these grants give of a field as a whole: under a relation to persons, where they give it of all of them.
    pub fn access_by(grants: &[&Grant], contract: &Contract, to: &Standing, field: &Field) -> Access {
        let whole = Self::under(grants, |name| to.own.contains(name), field);
        if whole == Access::Plain || !contract.told_of_persons(field) {
            return whole;
        }
        let each = to.persons.keys().map(|person| Self::of_person(grants, to, person, field));
        whole.max(each.min().unwrap_or(Access::No))
    }

    /// What these grants give of a field, of some of those it tells of.
    pub fn of_some_by(grants: &[&Grant], contract: &Contract, to: &Standing, field: &Field) -> Access {
        let whole = Self::access_by(grants, contract, to, field);
        if !contract.one_by_one(field) {
            return whole;
        }
        let each = to.persons.keys().map(|person| Self::of_person(grants, to, person, field));
        whole.max(each.max().unwrap_or(Access::No))
    }

    /// As [`Self::of_some_by`], of all the caller's grants.
    pub fn of_some(&self, contract: &Contract, caller: &Caller, to: &Standing, field: &Field) -> Access {
        Self::of_some_by(&self.grants(caller), contract, to, field)
    }

    /// Whether any grant that counts gives it under any relation.
    pub fn could(&self, caller: &Caller, field: &Field) -> bool {
        self.grants(caller).into_iter().any(|grant| grant.gives(field) != Access::No)
    }
}

/// How a caller stands to an entity, and to the persons that it tells of.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    pub own: BTreeSet<String>,
    pub persons: BTreeMap<String, BTreeSet<String>>,
    /// Of all these, the relations that may hold or not: what they rest on is not known.
    pub unknown: BTreeSet<String>,
}

/// How the caller stands to a household and its members, as the generator knows it.
pub fn relations(world: &World, caller: &Caller, portrait: &Value) -> Standing {
    let household = world.household(departments::expected::at(portrait, "id").as_str().unwrap()).unwrap();
    let persons =
        household.members.iter().map(|member| (member.id_number.clone(), to_member(caller, &household, member)));
    let persons = persons.collect();
    let claim = |name: &str| caller.claims.get(name);
    let at = |path: &str| departments::expected::at(portrait, path).as_str();
    let code = at("registry.division.code").unwrap();
    let mut found = BTreeSet::from(["any".to_owned()]);
    let own = claim("person").and_then(Value::as_str);
    let lives_there = household.members.iter().find(|member| Some(member.id_number.as_str()) == own);
    let lives_there = lives_there.is_some_and(|member| member.alive && member.moved_on.is_none());
    if claim("household").and_then(Value::as_str) == at("id") && lives_there {
        found.insert("same-household".to_owned());
    }
    if at("help.cadre.id") == Some(caller.id.as_str()) && standing::pairing(&household).1.is_none() {
        found.insert("paired".to_owned());
    }
    let delegated = |one: &standing::Delegation| one.cadre_id == caller.id && one.scope != "2";
    if standing::delegation_stage(&household) == standing::Stage::InForce
        && standing::delegations(&household).iter().any(delegated)
    {
        found.insert("delegated".to_owned());
    }
    if claim("grids").is_some_and(|grids| names(grids).iter().any(|grid| Some(*grid) == at("registry.grid"))) {
        found.insert("grid".to_owned());
    }
    if claim("divisions").is_some_and(|divisions| names(divisions).iter().any(|prefix| code.starts_with(prefix))) {
        found.insert("jurisdiction".to_owned());
        if let Some(department) = claim("department").and_then(Value::as_str) {
            found.insert(format!("of-{department}"));
        }
    }
    if caller.approved.as_ref().is_some_and(|(household, ..)| Some(household.as_str()) == at("id")) {
        let approved: Vec<String> = found.iter().map(|name| format!("{name}:approved")).collect();
        found.extend(approved);
    }
    Standing { own: found, persons, unknown: BTreeSet::new() }
}

/// How the caller stands to a person, beside how it stands to the person's household.
pub fn person_relations(world: &World, caller: &Caller, id_number: &str) -> BTreeSet<String> {
    match world.person(id_number) {
        Some((household, at)) => to_member(caller, &household, &household.members[at]),
        None => BTreeSet::new(),
    }
}

fn to_member(caller: &Caller, household: &Household, member: &Member) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Some(own) = caller.claims.get("person").and_then(Value::as_str) else { return found };
    // Police say nothing of the number under another name, neither that it lives.
    if own == member.id_number && (member.alive || member.police_name != member.name) {
        found.insert("self-person".to_owned());
    }
    let holds = |one: &standing::Guardianship| {
        one.guardian == own
            && one.until.is_none_or(|until| until >= household.today)
            && (one.kind == "2" || member.age() < 18)
    };
    if standing::guardianships(household, member).iter().any(holds) {
        found.insert("guardian".to_owned());
    }
    if standing::consent_stage(household) == standing::Stage::InForce && member.age() >= 18 {
        for consent in standing::consents(household, member).iter().filter(|consent| consent.to == own) {
            for (code, class) in [("1", "health"), ("2", "disability"), ("3", "finance")] {
                if consent.classes.contains(code) {
                    found.insert(format!("consented-{class}"));
                }
            }
        }
    }
    found
}

/// One endpoint of a binding: which fields it fills, by the pointer each is read from.
#[derive(Debug)]
pub struct Endpoint {
    pub source: String,
    pub name: String,
    pub paths: Vec<String>,
    pub body: String,
    pub entity: String,
    /// Contract field → pointer; `also` fields apart.
    pub fields: BTreeMap<String, String>,
    pub also: BTreeMap<String, String>,
    /// It is asked by the id numbers of a household's members.
    pub by_persons: bool,
    /// The fields that are lists of its records, or of what is in them.
    pub lists: BTreeSet<String>,
}

/// A list of a household that two departments hold.
#[derive(Debug)]
pub struct HeldTwice {
    pub list: String,
    /// The source that answers for it.
    pub answers: String,
    /// By source: the fields of the elements that its binding reads.
    pub fields: BTreeMap<String, BTreeSet<String>>,
}

/// What stands under `also` with fields of its own.
pub fn held_twice(endpoints: &[Endpoint]) -> Vec<HeldTwice> {
    let of_household = || endpoints.iter().filter(|endpoint| endpoint.entity == "Household");
    let inside = |list: &str, all: &BTreeMap<String, String>| -> BTreeSet<String> {
        let below = format!("{list}.");
        all.keys().filter_map(|path| path.strip_prefix(&below)).map(str::to_owned).collect()
    };
    let lists: BTreeSet<&String> = of_household()
        .flat_map(|endpoint| endpoint.also.keys().filter(|path| !inside(path, &endpoint.also).is_empty()))
        .collect();
    let held = |list: &String| {
        let answers =
            of_household().find(|endpoint| endpoint.fields.contains_key(list)).expect("a source answers for it");
        let mut fields = BTreeMap::from([(answers.source.clone(), inside(list, &answers.fields))]);
        fields.extend(of_household().filter_map(|endpoint| {
            endpoint.also.get(list)?;
            Some((endpoint.source.clone(), inside(list, &endpoint.also)))
        }));
        HeldTwice { list: list.clone(), answers: answers.source.clone(), fields }
    };
    lists.into_iter().map(held).collect()
}

/// The departments' names, which are no secret.
pub fn titles(root: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(root.join("resolvers")).unwrap().map(|file| file.unwrap().path());
    let bindings = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    bindings.filter_map(|path| yaml(&path)["title"].as_str().map(str::to_owned)).collect()
}

pub fn endpoints(root: &Path) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(root.join("resolvers")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let source = yaml(&path);
        for (name, endpoint) in source["endpoints"].as_object().unwrap() {
            let mut fields = BTreeMap::new();
            flatten(&endpoint["fields"], "", "", &mut fields);
            let mut also = BTreeMap::new();
            flatten(&endpoint["also"], "", "", &mut also);
            let asks = [&endpoint["one"], &endpoint["many"]];
            let text = |ask: &Value| ["get", "post"].iter().find_map(|method| ask[*method].as_str().map(str::to_owned));
            found.push(Endpoint {
                source: source["source"].as_str().unwrap().to_owned(),
                name: name.clone(),
                paths: asks.iter().filter_map(|ask| text(ask)).map(|path| path.replace("{key}", "")).collect(),
                body: asks.iter().map(|ask| ask.to_string()).collect(),
                entity: endpoint["entity"].as_str().unwrap().to_owned(),
                fields,
                also,
                by_persons: endpoint["key"] == "registry.personIds",
                lists: endpoint["fields"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(_, read)| read["list"].as_str().is_some_and(|list| list != "instances"))
                    .filter(|(_, read)| read["fields"].is_object())
                    .map(|(name, _)| name.clone())
                    .collect(),
            });
        }
    }
    found
}

fn flatten(fields: &Value, prefix: &str, at: &str, into: &mut BTreeMap<String, String>) {
    for (name, read) in fields.as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        let own = read.as_str().or_else(|| read["at"].as_str()).or_else(|| read["list"].as_str()).unwrap_or("");
        let own = if own.starts_with('/') { own } else { "" };
        let pointer = format!("{at}{own}");
        flatten(&read["fields"], &format!("{path}."), &pointer, into);
        into.insert(path, pointer);
    }
}

/// Elements of lists that departments withhold by their code: `withhold` with `codes` in the bindings.
#[derive(Debug)]
pub struct WithheldCodes {
    pub list: String,
    code: String,
    patterns: Vec<String>,
    except_relations: Vec<String>,
}

pub fn withheld_codes(root: &Path) -> Vec<WithheldCodes> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(root.join("resolvers")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let source = yaml(&path);
        assert!(source.get("switched_off_for").is_none(), "the oracle does not know of roles that are switched off");
        for entry in source["withhold"].as_array().into_iter().flatten() {
            let whole = names(&entry["roles"]) == ["*"] && entry.get("except_roles").is_none();
            let by_code = entry.get("classes").is_none() && entry.get("fields").is_none();
            assert!(whole && by_code, "the oracle knows only of codes withheld from all roles: {entry}");
            for (path, patterns) in entry["codes"].as_object().unwrap() {
                let (list, code) = path.rsplit_once('.').unwrap();
                found.push(WithheldCodes {
                    list: list.to_owned(),
                    code: code.to_owned(),
                    patterns: names(patterns).into_iter().map(str::to_owned).collect(),
                    except_relations: names(&entry["except_relations"]).into_iter().map(str::to_owned).collect(),
                });
            }
        }
    }
    found
}

impl WithheldCodes {
    /// Whether nothing gives such elements to who stands in these relations.
    fn applies(&self, relations: &BTreeSet<String>) -> bool {
        !self.except_relations.iter().any(|relation| relations.contains(relation))
    }

    fn covers(&self, element: &Value) -> bool {
        let code = element[&self.code].as_str().unwrap_or("");
        self.patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => code.starts_with(start),
            None => code == pattern,
        })
    }

    /// Takes the elements out of a portrait and hands them over.
    pub fn take(&self, to: &Standing, portrait: &mut Value) -> Vec<Value> {
        // The relations to whom an element tells of count too.
        let applies = |element: &Value| {
            let own = element["idNumber"].as_str().and_then(|person| to.persons.get(person));
            self.applies(&to.own.iter().chain(own.into_iter().flatten()).cloned().collect())
        };
        let list = match portrait.get_mut(&self.list) {
            Some(list) => Some(list),
            None => portrait.pointer_mut(&format!("/{}", self.list.replace('.', "/"))),
        };
        let Some(Value::Array(list)) = list else { return Vec::new() };
        let (taken, left) =
            std::mem::take(list).into_iter().partition(|element| self.covers(element) && applies(element));
        *list = left;
        taken
    }
}

/// Fields that rules fill, and what each reads: a value, the rules of a ladder, those of a checklist.
pub fn derived_inputs(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let path = Regex::new(r"household\.([a-zA-Z0-9.]+)").unwrap();
    let over = Regex::new(r"household\.([a-zA-Z0-9.]+)\.(?:exists|all|exists_one)\((\w+),").unwrap();
    let mut found = BTreeMap::new();
    for (name, derived) in derived(root) {
        let rules = ["rules", "checklist"].into_iter().flat_map(|list| derived[list].as_array().into_iter().flatten());
        let texts = rules.map(|rule| &rule["when"]).chain([&derived["value"]]).filter_map(Value::as_str);
        let mut inputs = BTreeSet::new();
        for text in texts {
            inputs.extend(path.captures_iter(text).map(|found| {
                let path = found[1].to_owned();
                let list = [".exists", ".all", ".exists_one"].into_iter().find_map(|call| path.strip_suffix(call));
                list.map_or(path.clone(), str::to_owned)
            }));
            for over in over.captures_iter(text) {
                let of = Regex::new(&format!(r"\b{}\.(\w+)", &over[2])).unwrap();
                inputs.extend(of.captures_iter(text).map(|field| format!("{}.{}", &over[1], &field[1])));
            }
        }
        found.insert(name, inputs);
    }
    found
}

/// Fields that are checklists.
pub fn checklists(root: &Path) -> BTreeSet<String> {
    derived(root).into_iter().filter(|(_, derived)| derived["checklist"].is_array()).map(|(name, _)| name).collect()
}

/// What the lines of checklists tell that is no household's: rules as they are written, and the names of instances.
pub fn told_by_checklists(root: &Path) -> BTreeSet<String> {
    let rules = derived(root).into_iter().flat_map(|(_, derived)| derived["checklist"].as_array().cloned());
    let own = |rule: Value| ["when", "zh", "en"].map(|key| rule[key].as_str().map(str::to_owned));
    let mut told: BTreeSet<String> = rules.flatten().flat_map(own).flatten().collect();
    for file in std::fs::read_dir(root.join("resolvers")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            let text = std::fs::read_to_string(path).unwrap();
            told.extend(text.lines().skip(1).filter_map(|line| line.split(',').nth(1)).map(str::to_owned));
        }
    }
    told
}

fn derived(root: &Path) -> Vec<(String, Value)> {
    let files = std::fs::read_dir(root.join("config/rules")).unwrap();
    let of = |file: std::io::Result<std::fs::DirEntry>| yaml(&file.unwrap().path())["derived"].as_object().cloned();
    files.filter_map(of).flatten().collect()
}
