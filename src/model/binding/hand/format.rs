//! `withhold` and `quota` of a binding, as they are written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::binding::format::{Named, Scalar};
use crate::model::yaml::Spanned;

/// Fields, or single codes, that the department does not give to some roles.
#[derive(Debug, Deserialize, JsonSchema)]
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

/// How much a role may ask of the source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Whose use is counted.
    pub role: Spanned<String>,
    /// A network of `gateway.yaml`: counts what is asked from there; absent: from anywhere.
    pub network: Option<Spanned<String>>,
    /// Counted for the role as a whole, or for each principal.
    #[serde(default)]
    pub per: Per,
    /// Different entities in any 24 hours.
    pub entities_per_day: Option<u32>,
    /// Calls in any 60 seconds.
    pub calls_per_minute: Option<u32>,
}

/// Who shares a quota.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    #[default]
    Role,
    Principal,
}
