//! Which relations scans may go by: those that are decided for a whole territory, from the token and a code, before any
//! entity is fetched.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::relations::RelationFile;
use super::{ClaimType, Expression, FieldTypes};
use crate::base::fault::{Faults, SourceText, did_you_mean};
use crate::model::yaml::{self, Spanned};

/// How far a scan may go by a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationScans {
    /// The claim that lists the beginnings of the codes of territories; `None`: the relation is to all entities alike.
    pub within: Option<String>,
}

/// Marks a relation that scans may go by.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScansFile {
    /// The claim (`[string]`) that lists the beginnings of the codes of territories, as the rule reads it. Without it
    /// the rule reads nothing of the entity.
    pub within: Option<Spanned<String>>,
}

pub(super) struct Reading<'a> {
    pub file: &'a Arc<SourceText>,
    pub fields: &'a dyn FieldTypes,
    pub claims: &'a BTreeMap<String, ClaimType>,
    pub faults: &'a mut Faults,
}

impl Reading<'_> {
    /// Checks that what is marked can be scanned by; whatever is at fault is told, and nothing is marked.
    pub(super) fn scans(
        &mut self,
        name: &str,
        relation: &RelationFile,
        written: &Spanned<ScansFile>,
        when: &Expression,
    ) -> Option<RelationScans> {
        let before = self.faults.len();
        let territory = self.fields.territory(&relation.on.value);
        let read: Vec<&Vec<String>> = when.inputs().iter().filter(|path| territory.as_ref() != Some(*path)).collect();
        let of_territory = when.inputs().len() > read.len();
        if let Some(path) = read.first() {
            let message = format!("scans cannot go by the relation `{name}`: its rule reads `{}`", path.join("."));
            let may = territory.map_or_else(
                || format!("nothing of a {}, which has no @territory", relation.on.value),
                |path| format!("claims and `{}`, nothing else", path.join(".")),
            );
            let hint =
                format!("a scan is decided for a whole territory: the rule may read {may}; or leave out `scans`");
            self.faults.add(self.file, yaml::place(&relation.when), message, hint);
        }
        if let Some(on_behalf_of) = &relation.on_behalf_of {
            let message = format!("scans cannot go by the relation `{name}`: for whom one acts is read of each entity");
            self.faults.add(self.file, yaml::place(on_behalf_of), message, "leave out `scans`, or `on_behalf_of`");
        }
        match &written.value.within {
            Some(claim) => self.within(name, claim, of_territory, when),
            None if of_territory => {
                let message =
                    format!("the rule of `{name}` reads the territory, and `scans` does not say within which");
                let hint =
                    "name the claim that lists them: `scans: {within: divisions}`, where the claim is `divisions`";
                self.faults.add(self.file, yaml::key(self.file, "scans", written), message, hint);
            }
            None => {}
        }
        (self.faults.len() == before)
            .then(|| RelationScans { within: written.value.within.as_ref().map(|claim| claim.value.clone()) })
    }

    fn within(&mut self, name: &str, claim: &Spanned<String>, of_territory: bool, when: &Expression) {
        let at = yaml::place_of(claim);
        let lists =
            self.claims.iter().filter(|(_, kind)| **kind == ClaimType::StringList).map(|(name, _)| name.as_str());
        if self.claims.get(&claim.value) != Some(&ClaimType::StringList) {
            let hint =
                did_you_mean(&claim.value, lists, "declare it in gateway.yaml: `principal.claims`, as `[string]`");
            self.faults.add(self.file, at, format!("there is no claim `{}` that lists texts", claim.value), hint);
        } else if !when.principal_claims().contains(&claim.value) {
            let message = format!("the rule of `{name}` does not read `principal.{}`", claim.value);
            self.faults.add(self.file, at, message, "name the claim that its rule holds the territory against");
        } else if !of_territory {
            let message = format!("the rule of `{name}` reads no territory that `within` could bound");
            self.faults.add(self.file, at, message, "write `scans: {}`: the relation is to all entities alike");
        }
    }
}
