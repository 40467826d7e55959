//! What records hold: fields with their types and where they are read. Types of one form are one type.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::name;

/// Bytes of the longest code. YAML has a limit for what stands before a colon, and nobody's code is so long.
const CODE_MAX: usize = 200;

/// A field, as it is read and as the contract has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub name: String,
    /// Where it is in the record (or the element).
    pub pointer: String,
    pub shape: Shape,
    pub description: Option<String>,
    /// What is to be decided about it.
    pub decide: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A scalar or an enumeration, and how it is converted.
    Leaf { kind: String, list: bool, options: Vec<(&'static str, Value)> },
    /// A value object; pointers inside start at the record, as this one's does.
    Object { kind: String, inside: Vec<Member> },
    /// Value objects; pointers inside start at the element.
    List { kind: String, inside: Vec<Member> },
    /// The entity that records of this name are, by its key; of a list, each record has one.
    Entity { record: String, list: bool },
}

impl Member {
    /// As SDL has it, without name and description.
    pub fn type_text(&self) -> String {
        self.type_written(&|name| name.to_owned())
    }

    /// As [`Self::type_text`], with the names that types are written with.
    pub fn type_written(&self, written: &dyn Fn(&str) -> String) -> String {
        match &self.shape {
            Shape::Leaf { kind, list: false, .. } => written(kind),
            Shape::Object { kind, .. } => format!("{}!", written(kind)),
            Shape::Leaf { kind, list: true, .. } | Shape::List { kind, .. } => format!("[{}!]", written(kind)),
            Shape::Entity { record, list: false } => written(&entity_of(record)),
            Shape::Entity { record, list: true } => format!("[{}!]", written(&entity_of(record))),
        }
    }
}

/// What stands for the entity of these records until its name is known; no type has such a name.
fn entity_of(record: &str) -> String {
    format!("entity {record}")
}

#[derive(Debug)]
pub enum Definition {
    Object { name: String, fields: Vec<Member> },
    Enum { name: String, values: Vec<String> },
}

/// The types of a draft beside its entities.
#[derive(Debug, Default)]
pub struct Types {
    pub definitions: Vec<Definition>,
    by_form: HashMap<String, String>,
    pub taken: HashSet<String>,
    entities: HashSet<String>,
    /// Value objects whose name an entity took.
    renamed: HashMap<String, String>,
}

impl Types {
    /// The name of a type of these fields: one that is there already, or a new one, named as wished if that is free.
    pub fn object(&mut self, wish: &str, fields: &[Member]) -> String {
        let mut form = String::from("{");
        for field in fields {
            form.push_str(&format!("{}:{};", field.name, field.type_text()));
        }
        self.defined(form, wish, |name| Definition::Object { name, fields: fields.to_vec() })
    }

    pub fn enumeration(&mut self, wish: &str, values: &[String]) -> String {
        let form = format!("enum {}", values.join(" "));
        self.defined(form, wish, |name| Definition::Enum { name, values: values.to_vec() })
    }

    /// A value that is one of these texts: an enumeration, and which of its values each text is. Texts too long to be codes
    /// are texts.
    pub fn codes(&mut self, wish: &str, texts: &[&str], list: bool) -> Shape {
        if texts.iter().any(|text| text.len() > CODE_MAX) {
            return Shape::Leaf { kind: "String".to_owned(), list, options: Vec::new() };
        }
        let mut taken = HashSet::from(["UNRECOGNIZED".to_owned(), "TRUE".to_owned(), "FALSE".to_owned()]);
        let (mut map, mut values) = (Map::new(), Vec::new());
        for (number, text) in texts.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            if map.contains_key(*text) {
                continue;
            }
            let wished = name::upper(text).unwrap_or_else(|| format!("VALUE_{}", number + 1));
            let value = name::unique(wished, &mut taken);
            map.insert((*text).to_owned(), json!(value));
            values.push(value);
        }
        values.push("UNRECOGNIZED".to_owned());
        let kind = self.enumeration(wish, &values);
        Shape::Leaf { kind, list, options: vec![("map", Value::Object(map))] }
    }

    fn defined(&mut self, form: String, wish: &str, definition: impl FnOnce(String) -> Definition) -> String {
        if let Some(known) = self.by_form.get(&form) {
            return known.clone();
        }
        let name = name::unique(name::pascal(wish).unwrap_or_else(|| "Value".to_owned()), &mut self.taken);
        self.definitions.push(definition(name.clone()));
        self.by_form.insert(form, name.clone());
        name
    }
}

impl Member {
    /// Its record begins at `prefix` of what is read.
    pub fn begin_at(&mut self, prefix: &str) {
        self.pointer.insert_str(0, prefix);
        if let Shape::Object { inside, .. } = &mut self.shape {
            inside.iter_mut().for_each(|member| member.begin_at(prefix));
        }
    }
}

impl Types {
    /// The name of an entity: as wished, unless another entity has it. A value object of that name makes room.
    pub fn entity(&mut self, wish: &str) -> String {
        let wished = name::pascal(wish).unwrap_or_else(|| "Entity".to_owned());
        if !self.entities.contains(&wished) && !self.renamed.contains_key(&wished) && self.is_defined(&wished) {
            let other = name::unique(format!("{wished}Value"), &mut self.taken);
            self.renamed.insert(wished.clone(), other);
            self.entities.insert(wished.clone());
            return wished;
        }
        let name = name::unique(wished, &mut self.taken);
        self.entities.insert(name.clone());
        name
    }

    /// The entity that records of this name are.
    pub fn is_entity(&mut self, record: &str, entity: String) {
        self.renamed.insert(entity_of(record), entity);
    }

    fn is_defined(&self, wished: &str) -> bool {
        self.definitions.iter().any(|definition| definition.name() == wished)
    }

    /// The name that a type is written with.
    pub fn written<'a>(&'a self, name: &'a str) -> &'a str {
        self.renamed.get(name).map_or(name, String::as_str)
    }
}

impl Definition {
    pub fn name(&self) -> &str {
        match self {
            Self::Object { name, .. } | Self::Enum { name, .. } => name,
        }
    }
}
