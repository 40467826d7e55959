//! What a reader hands over: operations that read, and how the source is spoken to.

use serde_json::{Map, Value};

use super::types::{Member, Shape, Types};

/// Everything that was found in a description.
#[derive(Debug, Default)]
pub struct Found {
    /// What the system calls itself, and where it says it is; for comments.
    pub about: Vec<String>,
    /// The binding's `protocol`, if it is not REST.
    pub protocol: Option<&'static str>,
    pub headers: Vec<(String, String)>,
    /// The keys of `sign`.
    pub sign: Map<String, Value>,
    /// What is to be decided about the source as a whole.
    pub decide: Vec<String>,
    pub envelope: Option<Envelope>,
    pub operations: Vec<Operation>,
    pub left_out: Vec<(String, String)>,
    pub types: Types,
    /// It is more than a draft takes, and was not read to its end.
    pub is_cut: bool,
}

/// What all answers are wrapped in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub ok: String,
    pub is: Vec<String>,
    pub data: String,
    pub message: Option<String>,
    /// The values of `ok` are a guess.
    pub guessed: bool,
}

/// How an operation is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// For one key.
    One(Key),
    /// For many keys at once; where each record holds its own.
    Many(Key),
    /// With arguments (name and GraphQL type), perhaps none.
    With(Vec<(String, &'static str)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// As the description calls it.
    pub parameter: String,
    /// What it is the key of: the parameter, with what stands before it where it is but `id`.
    pub group: String,
    /// The key is all that the path ends with: the operation answers the thing itself.
    pub last: bool,
    /// It cannot be asked without.
    pub required: bool,
    /// The parameter says nothing of what it is the key of: `id`, `keys`.
    pub generic: bool,
}

#[derive(Debug, Clone)]
pub struct Operation {
    /// A GraphQL name.
    pub name: String,
    /// The entity's field that it fills, where that is called otherwise.
    pub field: Option<String>,
    /// As people know it: `GET /pets/{petId}`.
    pub label: String,
    pub summary: Option<String>,
    pub asked: Asked,
    /// The request's keys, `items` and `pages` among them.
    pub request: Map<String, Value>,
    /// The same for several keys at once.
    pub batch: Option<Map<String, Value>>,
    pub decide: Vec<String>,
    pub record: Record,
}

/// What one record of the answer is.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// What the description calls it.
    pub name: Option<String>,
    /// The answer is a list of them.
    pub list: bool,
    pub members: Vec<Member>,
}

impl Record {
    /// Its fields, and the values of their enumerations.
    pub fn count(&self) -> usize {
        self.members.iter().map(counted).sum()
    }
}

fn counted(member: &Member) -> usize {
    match &member.shape {
        Shape::Leaf { options, .. } => {
            1 + options.iter().filter_map(|(_, value)| value.as_object()).map(Map::len).sum::<usize>()
        }
        Shape::Entity { .. } => 1,
        Shape::Object { inside, .. } | Shape::List { inside, .. } => 1 + inside.iter().map(counted).sum::<usize>(),
    }
}
