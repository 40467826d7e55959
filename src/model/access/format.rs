//! `config/roles.yaml` as it is written. `docs/access.md` is its reference.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::CertificateRule;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolesFile {
    pub roles: BTreeMap<String, Spanned<Role>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// The role's name, as people read it.
    pub title: String,
    /// Networks of `gateway.yaml` from which the role counts.
    pub networks: Vec<Spanned<String>>,
    /// `required`, or what must stand in the client certificate of the connection.
    pub certificate: Option<Spanned<CertificateRule>>,
    #[serde(default)]
    pub grants: Vec<Spanned<Grant>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// A relation of `rules/relations.yaml`.
    pub relation: Spanned<String>,
    /// One of these must be declared with the request.
    #[serde(default)]
    pub purposes: Vec<String>,
    /// The request must name a case number that matches this regular expression as a whole.
    pub case: Option<Spanned<String>>,
    /// Data classes of the contract.
    #[serde(default)]
    pub classes: Vec<Spanned<String>>,
    /// Single fields (and what is below them in the same class), by dotted path; `Person.` in front where two
    /// entities have the path; an entity's name stands for all its fields.
    #[serde(default)]
    pub fields: Vec<Spanned<String>>,
    /// Fields, with all below them, that the classes would give and this grant does not.
    #[serde(default)]
    pub except: Vec<Spanned<String>>,
    /// Field or class → mask.
    #[serde(default)]
    pub mask: BTreeMap<String, Spanned<String>>,
}
