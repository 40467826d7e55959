//! What is asked, as a document: the same fields plainly, in fragments on types, interfaces and unions, twice under one
//! response key, under directives, with variables; and beside them what directives leave out.

use serde_json::{Map, Value, json};

use crate::access_oracle::{Contract, Field};

/// One field of the query; where it leads to an entity, its fields are that entity's.
#[derive(Debug, Clone)]
pub struct Selected {
    pub field: Field,
    pub key: String,
    pub children: Vec<Selected>,
}

/// The query that the document starts with, by one argument and perhaps more.
pub struct Rooted {
    pub query: &'static str,
    pub declared: &'static str,
    pub argument: &'static str,
    pub value: String,
    pub more: String,
}

/// Response keys that no answer may have begin so.
pub const LEFT_OUT: &str = "zz";

pub struct Writer<'c> {
    contract: &'c Contract,
    state: u64,
    fragments: Vec<String>,
    left_out: usize,
    variables: Map<String, Value>,
    declared: Vec<String>,
}

impl<'c> Writer<'c> {
    pub fn new(contract: &'c Contract, shape: u64) -> Self {
        Self { contract, state: shape, fragments: Vec::new(), left_out: 0, variables: Map::new(), declared: Vec::new() }
    }

    /// Of `n` ways one; the first where the document is to be plain.
    pub fn one_of(&mut self, n: u64) -> u64 {
        if self.state == 0 {
            return 0;
        }
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) | 1;
        (self.state >> 33) % n
    }

    pub fn variable(&mut self, name: &str, declared: &str, value: Value) {
        if !self.variables.contains_key(name) {
            self.declared.push(declared.to_owned());
            self.variables.insert(name.to_owned(), value);
        }
    }

    /// A selection set of a type.
    pub fn set(&mut self, type_name: &str, selected: &[Selected]) -> String {
        let mut parts = Vec::new();
        for one in selected {
            parts.push(self.field(type_name, one));
        }
        if self.one_of(4) == 3 {
            parts.push("__typename".to_owned());
        }
        if self.one_of(3) == 2
            && let Some(one) = selected.first()
        {
            parts.push(self.leave_out(one));
        }
        let whole = parts.join(" ");
        match self.one_of(6) {
            4 => format!("{{ ... on {type_name} {{ {whole} }} }}"),
            5 => format!("{{ ...{} }}", self.fragment(type_name, &whole)),
            _ => format!("{{ {whole} }}"),
        }
    }

    fn field(&mut self, type_name: &str, one: &Selected) -> String {
        let name = name(&one.field);
        let below = if one.children.is_empty() { String::new() } else { self.set(&one.field.type_name, &one.children) };
        let key = if one.key == name { String::new() } else { format!("{}: ", one.key) };
        let arguments = match one.field.first && self.one_of(3) == 2 {
            true => {
                self.variable("first", "$first: Int", json!(1));
                "(first: $first)"
            }
            false => "",
        };
        let plain = format!("{key}{name}{arguments}");
        match self.one_of(9) {
            4 => format!("... on {type_name} {{ {plain} {below} }}"),
            // The same response key again, in a fragment.
            5 => format!("{plain} {below} ...{}", self.fragment(type_name, &format!("{plain} {below}"))),
            6 => {
                self.variable("yes", "$yes: Boolean!", json!(true));
                format!("{plain} @include(if: $yes) {below}")
            }
            7 | 8 => self.through(type_name, &name, &format!("{plain} {below}")),
            _ => format!("{plain} {below}"),
        }
    }

    /// In a fragment on an interface that has the field, inside one on a union that has the type.
    fn through(&mut self, type_name: &str, name: &str, text: &str) -> String {
        let of = self.contract.abstracts.get(type_name).cloned().unwrap_or_default();
        let interface = of.iter().find(|(_, fields)| fields.contains(name));
        let inside = match interface {
            Some((interface, _)) => format!("... on {interface} {{ {text} }}"),
            None => format!("... on {type_name} {{ {text} }}"),
        };
        match of.iter().find(|(_, fields)| fields.is_empty()) {
            Some((union, _)) => format!("...{}", self.fragment(union, &inside)),
            None => inside,
        }
    }

    fn fragment(&mut self, type_name: &str, fields: &str) -> String {
        let name = format!("F{}", self.fragments.len());
        self.fragments.push(format!("fragment {name} on {type_name} {{ {fields} }}"));
        name
    }

    /// A field beside, which a directive takes out.
    fn leave_out(&mut self, beside: &Selected) -> String {
        let above = beside.field.path.rsplit_once('.').map_or("", |(above, _)| above);
        let others: Vec<&Field> = self
            .contract
            .fields
            .values()
            .filter(|field| field.entity == beside.field.entity && field.leaf && !field.hidden)
            .filter(|field| field.path.rsplit_once('.').map_or("", |(above, _)| above) == above)
            .collect();
        let Some(at) = (!others.is_empty()).then(|| self.one_of(others.len() as u64)) else { return String::new() };
        let field = name(others[usize::try_from(at).unwrap_or(0)]);
        self.left_out += 1;
        let key = format!("{LEFT_OUT}{}", self.left_out);
        match self.one_of(3) {
            1 => {
                self.variable("no", "$no: Boolean = false", json!(false));
                format!("{key}: {field} @include(if: $no)")
            }
            2 => format!("... @skip(if: true) {{ {key}: {field} }}"),
            _ => format!("{key}: {field} @skip(if: true)"),
        }
    }

    /// The whole document and its variables.
    pub fn document(mut self, root: &Rooted, body: &str, named: bool) -> (String, Value) {
        let Rooted { query, declared, argument, value, more } = root;
        let root = if self.one_of(2) == 1 {
            self.declared.push((*declared).to_owned());
            self.variables.insert("key".to_owned(), json!(value));
            format!("root: {query}({argument}: $key{more})")
        } else {
            format!("root: {query}({argument}: \"{value}\"{more})")
        };
        let declared = if self.declared.is_empty() { String::new() } else { format!("({})", self.declared.join(", ")) };
        let other = if named {
            "query Other { household(id: \"331122101348000001\") { registry { headName phone } } } "
        } else {
            ""
        };
        let query = if declared.is_empty() && !named { String::new() } else { format!("query Wanted{declared} ") };
        let text = format!("{other}{query}{{ {root} {body} }} {}", self.fragments.join(" "));
        (text, Value::Object(self.variables))
    }
}

pub fn name(field: &Field) -> String {
    field.path.rsplit('.').next().unwrap_or_default().to_owned()
}
