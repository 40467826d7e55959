//! What is selected of a row, flattened: one column a leaf, by its path.

use std::collections::BTreeSet;

use apollo_compiler::ast::{Definition, Document, Selection};
use serde_json::Value;

/// Nothing selects more deeply.
const DEPTH_MAX: usize = 64;
/// Columns of a table at most.
const COLUMNS_MAX: usize = 2_000;

/// The columns, in the order of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(pub Vec<Vec<String>>);

impl Columns {
    /// Of a selection; fragments are those of the document. The error says what is too much.
    pub fn of(document: &Document, selections: &[Selection]) -> Result<Self, String> {
        let mut found = Self(Vec::new());
        found.enter(document, selections, &mut Vec::new(), 0)?;
        let mut seen = BTreeSet::new();
        found.0.retain(|path| seen.insert(path.clone()));
        Ok(found)
    }

    fn enter(
        &mut self,
        document: &Document,
        selections: &[Selection],
        path: &mut Vec<String>,
        depth: usize,
    ) -> Result<(), String> {
        if depth > DEPTH_MAX || self.0.len() > COLUMNS_MAX {
            return Err("it selects too deeply, or too much; a fragment may hold itself".to_owned());
        }
        for selection in selections {
            match selection {
                Selection::Field(field) => {
                    path.push(field.alias.as_ref().unwrap_or(&field.name).to_string());
                    if field.selection_set.is_empty() {
                        self.0.push(path.clone());
                    } else {
                        self.enter(document, &field.selection_set, path, depth + 1)?;
                    }
                    path.pop();
                }
                Selection::InlineFragment(fragment) => {
                    self.enter(document, &fragment.selection_set, path, depth + 1)?;
                }
                Selection::FragmentSpread(spread) => {
                    let of = document.definitions.iter().find_map(|definition| match definition {
                        Definition::FragmentDefinition(found) if found.name == spread.fragment_name => Some(found),
                        _ => None,
                    });
                    let of = of.ok_or_else(|| format!("there is no fragment `{}`", spread.fragment_name))?;
                    self.enter(document, &of.selection_set, path, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    /// Their names: `registry.headName`.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|path| path.join(".")).collect()
    }

    /// One row's cells. Where a list stands in the way, a cell is the JSON list of what its elements have there.
    pub fn cells(&self, row: &Value) -> Vec<String> {
        self.0.iter().map(|path| cell(&at(row, path))).collect()
    }
}

fn at(value: &Value, path: &[String]) -> Value {
    match (value, path) {
        (Value::Array(elements), _) => elements.iter().map(|element| at(element, path)).collect(),
        (value, []) => value.clone(),
        (Value::Object(members), [name, rest @ ..]) => members.get(name).map_or(Value::Null, |member| at(member, rest)),
        _ => Value::Null,
    }
}

/// A text as it is, nothing where there is nothing, all else as JSON.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_leaf_is_a_column_and_lists_stay_lists() {
        let text = "{ id head: owner { name } ...Land } fragment Land on Farm { fields { crop area } tags id }";
        let document = Document::parse(text, "test").unwrap();
        let Some(Definition::OperationDefinition(operation)) = document.definitions.first() else { panic!() };
        let columns = Columns::of(&document, &operation.selection_set).unwrap();
        assert_eq!(columns.names(), ["id", "head.name", "fields.crop", "fields.area", "tags"]);
        let row = json!({
            "id": "1", "head": null, "fields": [{"crop": "rice", "area": 2}, {"crop": null, "area": 3}], "tags": []
        });
        assert_eq!(columns.cells(&row), ["1", "", r#"["rice",null]"#, "[2,3]", "[]"]);
    }

    #[test]
    fn a_fragment_that_holds_itself_is_refused() {
        let document = Document::parse("{ ...A } fragment A on Farm { x { ...A } }", "test").unwrap();
        let Some(Definition::OperationDefinition(operation)) = document.definitions.first() else { panic!() };
        assert!(Columns::of(&document, &operation.selection_set).is_err());
    }
}
