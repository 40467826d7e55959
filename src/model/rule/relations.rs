//! Relations: in which relation a caller stands to an entity.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Expression;

/// `paired: {on: Household, when: "household.help.cadre.id == principal.id"}`
#[derive(Debug, Clone)]
pub struct Relation {
    pub name: String,
    /// The entity type.
    pub on: String,
    pub when: Expression,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RelationFile {
    pub on: Spanned<String>,
    pub when: Spanned<String>,
}
