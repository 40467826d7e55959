//! `withhold` of a binding, as they are written.

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::binding::format::{Named, Scalar};

/// Fields, or single codes, that the department does not give to some roles.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withhold {
    /// Names of roles; `"*"` for all.
    pub roles: Vec<Spanned<String>>,
    /// Roles that are not meant by `"*"`.
    #[serde(default)]
    pub except_roles: Vec<Spanned<String>>,
    /// Relations under which it is given all the same: a person's own, for example.
    #[serde(default)]
    pub except_relations: Vec<Spanned<String>>,
    /// Data classes: all their fields that this source fills.
    #[serde(default)]
    pub classes: Vec<Spanned<String>>,
    /// Fields by dotted path, with all below them.
    #[serde(default)]
    pub fields: Vec<Spanned<String>>,
    /// Field → codes, as the department writes them or as the contract does; a trailing `*` stands for any ending.
    /// What has such a code is left out as if it were not there.
    #[serde(default)]
    pub codes: Named<Vec<Scalar>>,
    /// The rules of derived fields may read it all the same.
    #[serde(default)]
    pub rules_may_read: bool,
}
