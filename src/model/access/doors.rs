//! What a role may send, beside what it is given: documents, introspection, calls, scans.

use schemars::JsonSchema;
use serde::Deserialize;

use super::scans::ScanDoors;
use crate::base::fault::{Faults, SourceText};
use crate::model::yaml::{self, Spanned};

/// Which documents a role runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentsRule {
    #[default]
    Any,
    /// Only those of the folder `trusted_documents`: for any other the role does not count.
    Trusted,
}

#[derive(Debug, Clone, Default)]
pub struct RoleDoors {
    pub documents: DocumentsRule,
    /// As the gateway's own setting says, where the role says nothing.
    pub introspection: Option<bool>,
    /// Calls to departments for one request.
    pub upstream_calls_max: Option<usize>,
    /// `None`: it may scan nothing.
    pub scans: Option<ScanDoors>,
}

impl RoleDoors {
    pub(super) fn read(
        documents: Option<DocumentsRule>,
        introspection: Option<bool>,
        upstream_calls_max: Option<&Spanned<u32>>,
        scans: Option<ScanDoors>,
        file: &std::sync::Arc<SourceText>,
        faults: &mut Faults,
    ) -> Self {
        if let Some(at) = upstream_calls_max.filter(|at| at.value == 0) {
            let hint = "leave it out for the gateway's own limit; a role that may have nothing has `grants: []`";
            faults.add(file, yaml::span(at), "a limit of 0 lets nothing through", hint);
        }
        Self {
            documents: documents.unwrap_or_default(),
            introspection,
            upstream_calls_max: upstream_calls_max.and_then(|at| usize::try_from(at.value).ok()),
            scans,
        }
    }
}
