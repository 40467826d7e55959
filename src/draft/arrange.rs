//! Operations → entities with their endpoints, and root queries.
//!
//! An operation that is asked by one key (or many) fills a part of the entity that the key is of: where its path is the
//! thing itself, the entity's own fields; else a section or a list, named as the operation. What is asked by nothing, or
//! by several parameters, is a root query whose records hold the entity's fields.

mod refer;
mod single;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::name;
use super::operation::{Asked, Envelope, Found, Key, Operation};
use super::types::{Member, Shape, Types};
use super::{Bound, FIELDS_MAX, Wanted};
use crate::model::contract::Contract;

pub struct Arranged {
    pub about: Vec<String>,
    pub protocol: Option<&'static str>,
    pub headers: Vec<(String, String)>,
    pub sign: Map<String, Value>,
    pub decide: Vec<String>,
    pub envelope: Option<Envelope>,
    pub entities: Vec<Entity>,
    pub queries: Vec<Query>,
    pub types: Types,
    pub bound: Vec<Bound>,
    pub left_out: Vec<(String, String)>,
}

pub struct Entity {
    pub name: String,
    /// The contract has it already.
    pub existing: bool,
    pub key: String,
    /// The fields beside the key.
    pub fields: Vec<Member>,
    pub endpoints: Vec<Endpoint>,
    names: HashSet<String>,
}

pub struct Endpoint {
    pub name: String,
    pub label: String,
    pub summary: Option<String>,
    pub key: Option<String>,
    pub establishes: bool,
    pub one: Option<Map<String, Value>>,
    pub many: Option<Map<String, Value>>,
    pub fields: Vec<Member>,
    pub decide: Vec<String>,
}

pub struct Query {
    pub name: String,
    pub label: String,
    pub entity: String,
    pub list: bool,
    /// Name, type and the field it finds by, where that is another.
    pub arguments: Vec<(String, &'static str, Option<String>)>,
    pub request: Map<String, Value>,
    pub key: KeyOf,
    pub fields: Vec<Member>,
    pub decide: Vec<String>,
}

/// Which key an answer's record has.
pub enum KeyOf {
    /// Where the record holds it.
    At(String),
    /// A text of the query itself: its record holds none.
    Text(String),
}

struct Arranging<'a> {
    wanted: &'a Wanted,
    contract: Option<&'a Contract>,
    entities: Vec<Entity>,
    by_group: HashMap<String, usize>,
    by_record: HashMap<String, usize>,
    queries: Vec<Query>,
    query_names: HashSet<String>,
    types: Types,
}

pub fn arrange(found: Found, wanted: &Wanted, contract: Option<&Contract>) -> Arranged {
    let Found { about, protocol, headers, sign, decide, envelope, operations, mut left_out, types, is_cut: _ } = found;
    let query_names = contract.into_iter().flat_map(|contract| &contract.queries).map(|query| query.name.to_string());
    let mut arranging = Arranging {
        wanted,
        contract,
        entities: Vec::new(),
        by_group: HashMap::new(),
        by_record: HashMap::new(),
        queries: Vec::new(),
        query_names: query_names.collect(),
        types,
    };
    let mut bound = Vec::new();
    let mut fields = 0;
    // What is the thing itself comes first: it names the entity and its key.
    let itself = |operation: &Operation| matches!(&operation.asked, Asked::One(key) if key.last && !operation.record.list && wanted.entity.is_none());
    let (first, rest): (Vec<Operation>, Vec<Operation>) = operations.into_iter().partition(itself);
    let (keyed, asked): (Vec<Operation>, Vec<Operation>) =
        rest.into_iter().partition(|operation| !matches!(operation.asked, Asked::With(_)));
    for operation in first.into_iter().chain(keyed).chain(asked) {
        let label = operation.label.clone();
        let count = operation.record.count();
        let done = if fields + count > FIELDS_MAX {
            Err(format!("the draft has {FIELDS_MAX} fields already; draft a part of the document with --only PATH"))
        } else {
            arranging.operation(operation)
        };
        match done {
            Ok(place) => {
                fields += count;
                bound.push(Bound { operation: label, place });
            }
            Err(why) => left_out.push((label, why)),
        }
    }
    let Arranging { mut entities, mut queries, mut types, by_record, .. } = arranging;
    refer::resolve(&mut entities, &mut queries, &mut types, &by_record);
    entities.retain(|entity| !entity.endpoints.is_empty() || queries.iter().any(|query| query.entity == entity.name));
    Arranged { about, protocol, headers, sign, decide, envelope, entities, queries, types, bound, left_out }
}

impl Arranging<'_> {
    /// Where it stands in the binding.
    fn operation(&mut self, operation: Operation) -> Result<String, String> {
        match operation.asked.clone() {
            Asked::One(key) => self.keyed(operation, &key, false),
            Asked::Many(key) => self.keyed(operation, &key, true),
            Asked::With(arguments) => self.query(operation, arguments),
        }
    }

    fn keyed(&mut self, mut operation: Operation, key: &Key, many: bool) -> Result<String, String> {
        // `_entities` answers in the order of the keys, and rows are told apart by the key's column.
        let rows = operation.request.contains_key("view");
        if many && !rows && !operation.request.contains_key("entities") {
            let members = &operation.record.members;
            let at = self.key_member(members, key).or_else(|| if key.generic { plain_id(members) } else { None });
            let at = match at {
                Some(at) => at,
                None if self.wanted.entity.is_none() && !operation.request.contains_key("body") => {
                    let arguments = single::without_keys(&mut operation, key);
                    return self.query(operation, arguments);
                }
                None => return Err("its records do not say which key they are of".to_owned()),
            };
            operation.request.insert("item_key".to_owned(), json!(at.pointer));
            operation.decide.push(format!("item_key: does {} hold the key that was asked with?", at.pointer));
        }
        let group = match &operation.record.name {
            _ if self.wanted.entity.is_some() => String::new(),
            // Records of an entity that is known already, by its own key.
            Some(name) if many && self.is_key_of(name, &operation) => {
                self.group_of(name).unwrap_or(&key.group).to_owned()
            }
            _ => key.group.clone(),
        };
        let itself = self.wanted.entity.is_none() && !operation.record.list && key.last;
        let at = match self.by_group.get(&group) {
            Some(at) => *at,
            None => self.new_entity(group, key, &operation, itself),
        };
        let path = self.wanted.entity.as_ref().and_then(|_| self.told(key)).map(str::to_owned);
        let Operation { name, field, label, summary, request, batch, decide, record, .. } = operation;
        let entity = self.entities.get_mut(at).ok_or("there is no such entity")?;
        let several = many;
        let (one, many) = if many { (None, Some(request)) } else { (Some(request), batch) };
        let mut endpoint = Endpoint {
            name: name.clone(),
            label,
            summary,
            key: path,
            establishes: false,
            one,
            many,
            fields: Vec::new(),
            decide,
        };
        let first = entity.endpoints.is_empty() && !entity.existing;
        if first && itself {
            endpoint.establishes = true;
            endpoint.fields = record.members;
            for member in endpoint.fields.iter().filter(|member| member.name != entity.key) {
                entity.names.insert(member.name.clone());
                entity.fields.push(member.clone());
            }
        } else if let Some(known) = entity.endpoints.iter_mut().find(|known| {
            known.many.is_none() && several && known.key == endpoint.key && known.fields == record.members
        }) {
            known.many = endpoint.many;
            known.label = format!("{}, {}", known.label, endpoint.label);
            known.decide.extend(endpoint.decide);
            return Ok(format!("endpoints.{}.many", known.name));
        } else {
            let own = name::unique(field.unwrap_or_else(|| name.clone()), &mut entity.names);
            // A batch is a list whatever it answers: a record a key, unless it is decided otherwise.
            let section = !record.list || (several && !rows);
            if several && !rows {
                endpoint
                    .decide
                    .push("one record a key? Where there may be several, make the section a list".to_owned());
            }
            let wish = record.name.unwrap_or(name);
            let inside = record.members;
            let mut kind = |inside: &[Member]| self.types.object(&wish, inside);
            let (pointer, shape) = match inside.as_slice() {
                [Member { pointer, shape: Shape::Entity { record, .. }, .. }] if rows => {
                    (pointer.clone(), Shape::Entity { record: record.clone(), list: !section })
                }
                _ if section => (String::new(), Shape::Object { kind: kind(&inside), inside }),
                _ => ("records".to_owned(), Shape::List { kind: kind(&inside), inside }),
            };
            let member = Member { name: own, pointer, shape, description: endpoint.summary.clone(), decide: None };
            entity.fields.push(member.clone());
            endpoint.fields.push(member);
        }
        let place = format!("endpoints.{}.{}", endpoint.name, if several { "many" } else { "one" });
        entity.endpoints.push(endpoint);
        Ok(place)
    }

    /// Which field a parameter was said to hold the value of.
    fn told(&self, key: &Key) -> Option<&str> {
        self.wanted.keys.iter().find(|(name, _)| *name == key.parameter)?.1.as_deref()
    }

    /// The field of a record that is the key it was asked by.
    fn key_member<'m>(&self, members: &'m [Member], key: &Key) -> Option<&'m Member> {
        let told = self.told(key).filter(|_| self.wanted.entity.is_none());
        let of = |field: &str| {
            let is_told = |member: &&Member| member.name == field || member.pointer.strip_prefix('/') == Some(field);
            members.iter().filter(|member| is_text(member)).find(is_told)
        };
        told.and_then(of).or_else(|| key_member(members, key))
    }

    /// The entity whose own records are of this form, where it was said what they are known by.
    fn of_form(&self, members: &[Member]) -> Option<usize> {
        let is_form = |entity: &Entity| entity.endpoints.iter().any(|own| own.establishes && own.fields == members);
        if self.wanted.keys.is_empty() { None } else { self.entities.iter().position(is_form) }
    }

    fn is_key_of(&self, record: &str, operation: &Operation) -> bool {
        let entity = self.by_record.get(record).and_then(|at| self.entities.get(*at));
        let at = operation.request.get("item_key").and_then(Value::as_str);
        entity.is_some_and(|entity| {
            operation
                .record
                .members
                .iter()
                .any(|member| member.name == entity.key && Some(member.pointer.as_str()) == at)
        })
    }

    fn group_of(&self, record: &str) -> Option<&str> {
        let at = self.by_record.get(record)?;
        self.by_group.iter().find(|(_, group)| *group == at).map(|(group, _)| group.as_str())
    }

    fn new_entity(&mut self, group: String, key: &Key, operation: &Operation, itself: bool) -> usize {
        let existing = self.wanted.entity.as_deref().and_then(|name| self.contract?.entity_named(name));
        let record = &operation.record;
        let stem = group.strip_suffix("Id").filter(|stem| !stem.is_empty()).unwrap_or(&group);
        let wish = match (&self.wanted.entity, &record.name) {
            (Some(wanted), _) => wanted.clone(),
            (None, Some(name)) if itself => name.clone(),
            _ => stem.to_owned(),
        };
        let mut names = HashSet::new();
        let (name, own) = match (existing, self.contract) {
            (Some(id), Some(contract)) => {
                let entity = contract.entity(id);
                names.extend(entity.children.iter().map(|child| contract.slot(*child).name.to_string()));
                (wish, contract.slot(entity.key).name.to_string())
            }
            _ => {
                let own = self.key_member(&record.members, key).filter(|_| itself).map(|member| member.name.clone());
                let named = if self.wanted.entity.is_some() { name::camel(&key.parameter) } else { None };
                let own = own.or(named).unwrap_or_else(|| {
                    let taken = itself && record.members.iter().any(|member| member.name == "id");
                    if taken { group.clone() } else { "id".to_owned() }
                });
                (self.types.entity(&wish), own)
            }
        };
        names.insert(own.clone());
        let at = self.entities.len();
        if let (true, Some(record)) = (itself, &record.name) {
            self.by_record.entry(record.clone()).or_insert(at);
        }
        self.by_group.insert(group, at);
        self.entities.push(Entity {
            name,
            existing: existing.is_some(),
            key: own,
            fields: Vec::new(),
            endpoints: Vec::new(),
            names,
        });
        at
    }

    fn query(&mut self, mut operation: Operation, arguments: Vec<(String, &'static str)>) -> Result<String, String> {
        let record = &operation.record;
        let known = record.name.as_ref().and_then(|name| self.by_record.get(name)).copied();
        let known = known.or_else(|| self.of_form(&record.members));
        let known = known.filter(|at| {
            let key = self.entities.get(*at).map(|entity| entity.key.as_str());
            record.members.iter().any(|member| Some(member.name.as_str()) == key && is_text(member))
        });
        let at = match (known, plain_id(&record.members)) {
            (Some(at), _) => at,
            (None, None) => return Ok(self.single(operation, arguments)),
            (None, Some(key)) => {
                let key = key.name.clone();
                let fields: Vec<Member> = record.members.iter().filter(|member| member.name != key).cloned().collect();
                let wish = record.name.clone().unwrap_or_else(|| operation.name.clone());
                let at = self.listed_entity(&wish, key, fields);
                if let Some(record) = &record.name {
                    self.by_record.insert(record.clone(), at);
                }
                at
            }
        };
        let entity = self.entities.get(at).ok_or("there is no such entity")?;
        let key = record.members.iter().find(|member| member.name == entity.key).ok_or("its records have no key")?;
        let key = key.pointer.clone();
        // Of rows, the key is known.
        if !operation.request.contains_key("view") {
            operation.decide.push(format!("key_at: does {key} tell the records of this source apart?"));
        }
        let same = |member: &&Member| {
            entity.fields.iter().any(|own| own.name == member.name && own.type_text() == member.type_text())
        };
        let fields: Vec<Member> = operation.record.members.iter().filter(same).cloned().collect();
        let arguments = single::renamed(&mut operation, arguments, &entity.key);
        let finds = |argument: &str| {
            let own = argument == entity.key || entity.fields.iter().any(|own| own.name == argument && is_text(own));
            (!own).then(|| entity.key.clone())
        };
        let arguments = arguments.into_iter().map(|(name, kind)| (name.clone(), kind, finds(&name))).collect();
        let (entity, list) = (entity.name.clone(), operation.record.list);
        Ok(self.asked(operation, entity, list, arguments, KeyOf::At(key), fields))
    }

    /// An entity that no endpoint fills: all that is known of it stands in the records of a query.
    fn listed_entity(&mut self, wish: &str, key: String, fields: Vec<Member>) -> usize {
        let name = self.types.entity(wish);
        let names = fields.iter().map(|member| member.name.clone()).chain([key.clone()]).collect();
        self.entities.push(Entity { name, existing: false, key, fields, endpoints: Vec::new(), names });
        self.entities.len() - 1
    }

    fn asked(
        &mut self,
        operation: Operation,
        entity: String,
        list: bool,
        arguments: Vec<(String, &'static str, Option<String>)>,
        key: KeyOf,
        fields: Vec<Member>,
    ) -> String {
        let Operation { name, label, request, decide, .. } = operation;
        let name = name::unique(name, &mut self.query_names);
        let place = format!("queries.{name}");
        self.queries.push(Query { name, label, entity, list, arguments, request, key, fields, decide });
        place
    }
}

fn is_text(member: &Member) -> bool {
    matches!(&member.shape, Shape::Leaf { list: false, options, .. } if options.is_empty())
}

/// The field of a record that is the key it was asked by.
fn key_member<'a>(members: &'a [Member], key: &Key) -> Option<&'a Member> {
    let parameter = name::camel(&name::singular(&key.parameter));
    let named = |name: &str| members.iter().find(|member| member.name == name && is_text(member));
    let at = format!("/{}", key.parameter);
    parameter
        .and_then(|parameter| named(&parameter))
        .or_else(|| members.iter().find(|member| member.pointer == at && is_text(member)))
        .or_else(|| named(&key.group))
        .or_else(|| if key.group.ends_with("Id") { named("id") } else { None })
}

fn plain_id(members: &[Member]) -> Option<&Member> {
    let mut texts = members.iter().filter(|member| is_text(member));
    let named = |name: &str| members.iter().find(|member| member.name == name && is_text(member));
    ["id", "uuid", "key", "code", "slug", "name"]
        .iter()
        .find_map(|name| named(name))
        .or_else(|| texts.find(|member| member.name.ends_with("Id") || member.name.ends_with("Code")))
}
