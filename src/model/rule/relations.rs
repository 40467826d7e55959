//! Relations: in which relation a caller stands to an entity.

use std::sync::Arc;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::scans::ScansFile;
use super::{Expression, RelationScans, Truth};
use crate::base::fault::{Place, SourceText};
use crate::model::yaml::Spanned;

/// `paired: {on: Household, when: "household.help.cadre.id == principal.id"}`
#[derive(Debug, Clone)]
pub struct Relation {
    pub name: String,
    /// The entity type.
    pub on: String,
    pub when: Expression,
    pub on_behalf_of: Option<OnBehalf>,
    /// Marked by hand and never guessed: a new relation opens no scans by itself.
    pub scans: Option<RelationScans>,
    /// Where its condition stands.
    pub at: (Arc<SourceText>, Place),
}

/// On whose behalf the caller acts who stands in a relation: `on_behalf_of: help.delegations.by`.
#[derive(Debug, Clone)]
pub struct OnBehalf {
    /// The path of a list of objects.
    pub list: Vec<String>,
    /// The field of its elements that names somebody by the key of an entity.
    pub by: String,
    /// The entity type.
    pub entity: String,
}

impl OnBehalf {
    /// What is read for it.
    pub fn path(&self) -> Vec<String> {
        self.list.iter().chain([&self.by]).cloned().collect()
    }
}

impl Relation {
    /// Whom the caller acts for: those named by the elements that, each alone, make the relation hold.
    pub fn behalf(&self, entity: &Value, principal: &Value, today: Date) -> Vec<String> {
        let Some(on_behalf) = &self.on_behalf_of else { return Vec::new() };
        let pointer: String = on_behalf.list.iter().flat_map(|name| ["/", name.as_str()]).collect();
        let Some(Value::Array(elements)) = entity.pointer(&pointer) else { return Vec::new() };
        let mut found = Vec::new();
        for element in elements {
            let mut alone = entity.clone();
            if let Some(list) = alone.pointer_mut(&pointer) {
                *list = Value::Array(vec![element.clone()]);
            }
            if self.when.evaluate(&alone, principal, today) == Truth::True
                && let Some(name) = element.get(&on_behalf.by).and_then(Value::as_str)
            {
                found.push(name.to_owned());
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// How a caller can stand to an entity.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RelationFile {
    /// The entity type.
    pub on: Spanned<String>,
    /// A CEL condition over the entity, `principal` and `today`.
    pub when: Spanned<String>,
    /// On whose behalf the caller acts: a field of the elements of a list, dotted.
    pub on_behalf_of: Option<Spanned<String>>,
    /// Scans may go by it; without the key, they may not.
    pub scans: Option<Spanned<ScansFile>>,
}
