//! A document as its author wrote it: what its scan or statistic is asked for, as the reference takes it.

use apollo_compiler::ast::{self, Definition, Selection};
use serde_json::{Map, Value, json};

use crate::reference::{Group, Measure, Of, Order, Scan, Statistic};

/// What a document asks for.
#[derive(Debug)]
pub enum Asks {
    Scan { scan: Scan, undetermined: bool },
    Statistic(Statistic),
}

/// The only root of the only operation of a document, with the values of variables in their places.
#[derive(Debug)]
pub struct Document {
    pub name: String,
    pub root: String,
    arguments: Map<String, Value>,
}

impl Document {
    pub fn read(text: &str, variables: &Value) -> Self {
        let parsed = ast::Document::parse(text, "document.graphql").unwrap_or_else(|error| panic!("{error}\n{text}"));
        let [Definition::OperationDefinition(operation)] = parsed.definitions.as_slice() else {
            panic!("a document has one operation:\n{text}");
        };
        let [Selection::Field(root)] = operation.selection_set.as_slice() else { panic!("one root:\n{text}") };
        let mut values = Map::new();
        for variable in &operation.variables {
            let given = variables.get(variable.name.as_str()).cloned();
            let default = || variable.default_value.as_deref().map(|value| read(value, &Map::new()));
            values.insert(variable.name.to_string(), given.or_else(default).unwrap_or_default());
        }
        let unknown = variables.as_object().unwrap().keys().find(|name| !values.contains_key(*name));
        assert_eq!(unknown, None, "a variable that the document does not have:\n{text}");
        let arguments =
            root.arguments.iter().map(|argument| (argument.name.to_string(), read(&argument.value, &values)));
        Self {
            name: operation.name.as_ref().expect("a document has a name").to_string(),
            root: root.name.to_string(),
            arguments: arguments.collect(),
        }
    }

    fn argument(&self, name: &str) -> &Value {
        self.arguments.get(name).unwrap_or(&Value::Null)
    }

    pub fn asks(&self) -> Asks {
        let division = self.argument("division").as_str().expect("a division").to_owned();
        let condition = Some(self.argument("where").clone()).filter(|condition| !condition.is_null());
        let path = |value: &Value| value.as_str().expect("a field").replace('_', ".");
        let list = |name: &str| self.argument(name).as_array().cloned().unwrap_or_default();
        match self.root.as_str() {
            "households" => {
                let order = list("orderBy")
                    .first()
                    .map(|order| Order { path: path(&order["by"]), descending: order["descending"] == json!(true) });
                let first = self.argument("first").as_u64().and_then(|first| usize::try_from(first).ok());
                let undetermined = self.argument("verdict") == "UNDETERMINED";
                Asks::Scan {
                    scan: Scan { of: Of::Households, division, condition, order, first: first.expect("a size") },
                    undetermined,
                }
            }
            "householdStats" => {
                let group = |group: &Value| Group {
                    path: path(&group["by"]),
                    digits: group["digits"].as_u64().and_then(|digits| usize::try_from(digits).ok()),
                    period: None,
                };
                // Averages are held to the portraits alone.
                let measure = |measure: &Value| (measure["count"] == json!(true)).then_some(Measure::Count);
                Asks::Statistic(Statistic {
                    of: Of::Households,
                    division,
                    condition,
                    groups: list("groupBy").iter().map(group).collect(),
                    measures: list("measures").iter().filter_map(measure).collect(),
                })
            }
            other => panic!("nothing is known of `{other}`"),
        }
    }
}

fn read(value: &ast::Value, variables: &Map<String, Value>) -> Value {
    match value {
        ast::Value::Null => Value::Null,
        ast::Value::Enum(name) => json!(name.as_str()),
        ast::Value::Variable(name) => variables.get(name.as_str()).expect("the variable is declared").clone(),
        ast::Value::String(text) => json!(text),
        ast::Value::Int(number) => json!(number.as_str().parse::<i64>().unwrap()),
        ast::Value::Float(number) => json!(number.as_str()),
        ast::Value::Boolean(is) => json!(is),
        ast::Value::List(values) => values.iter().map(|value| read(value, variables)).collect(),
        ast::Value::Object(members) => {
            members.iter().map(|(name, value)| (name.to_string(), read(value, variables))).collect()
        }
    }
}
