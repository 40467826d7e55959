//! What is kept between requests: checked documents, rights, plans. Never a principal, a value or an answer.
//! Keys are compared whole.

use std::sync::Arc;

use moka::sync::Cache;
use serde_json::{Map, Value};

use crate::engine::error::RequestError;
use crate::engine::operation::Document;
use crate::engine::plan::Plan;
use crate::model::access::Rights;

/// Bytes of document text whose checked form is kept: a form is some tens of times its text, and no less than some
/// kilobytes. Callers choose how long a text is, and how many there are.
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
const DOCUMENT_BYTES_MIN: usize = 256;
/// Bytes of plans, roughly: what a few words of a document plan, and what variables choose items with, can be long.
const PLANS_BYTES_MAX: u64 = 64 << 20;
const NODE_BYTES: usize = 2 << 10;
const FETCH_BYTES: usize = 1 << 10;
const RIGHTS_MAX: u64 = 1_000;

/// Everything a plan depends on, within one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlanKey {
    document: Arc<str>,
    operation: Option<Arc<str>>,
    /// The values of the variables that decide what is fetched, as JSON.
    deciding: String,
    grants: Vec<usize>,
}

impl PlanKey {
    pub fn new(
        text: &str,
        operation: Option<&str>,
        document: &Document,
        variables: &Map<String, Value>,
        rights: &Rights,
    ) -> Self {
        let deciding: Vec<&Value> =
            document.deciding_variables().iter().map(|name| variables.get(&**name).unwrap_or(&Value::Null)).collect();
        Self {
            document: text.into(),
            operation: operation.map(Into::into),
            deciding: serde_json::to_string(&deciding).unwrap_or_default(),
            grants: rights.key.clone(),
        }
    }
}

pub struct Caches {
    documents: Cache<Arc<str>, Arc<Document>>,
    /// Texts that were asked under former snapshots.
    former: Vec<Arc<str>>,
    rights: Cache<Vec<usize>, Arc<Rights>>,
    plans: Cache<PlanKey, Arc<Plan>>,
    schemas: Cache<Vec<usize>, Arc<super::introspect::RoleSchema>>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            documents: Cache::builder()
                .max_capacity(DOCUMENT_BYTES_MAX)
                .weigher(|text: &Arc<str>, _: &Arc<Document>| bytes(DOCUMENT_BYTES_MIN + text.len()))
                .build(),
            former: Vec::new(),
            rights: Cache::new(RIGHTS_MAX),
            plans: Cache::builder()
                .max_capacity(PLANS_BYTES_MAX)
                .weigher(|key: &PlanKey, plan: &Arc<Plan>| weight(key, plan))
                .build(),
            schemas: Cache::new(64),
        }
    }
}

/// What a plan and its key keep in memory: texts, the variables that decide (in the key, and put in place in the
/// operation), nodes and fetches.
fn weight(key: &PlanKey, plan: &Plan) -> u32 {
    let fetches: usize = plan.nodes.iter().map(|node| node.fetches.len()).sum();
    let graph = plan.nodes.len().saturating_mul(NODE_BYTES).saturating_add(fetches.saturating_mul(FETCH_BYTES));
    bytes(
        graph
            .saturating_add(key.document.len().saturating_mul(16))
            .saturating_add(key.deciding.len().saturating_mul(4)),
    )
}

fn bytes(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Caches {
    /// Those of the next snapshot: of what was checked against this one, only the texts still say something.
    pub fn following(&self) -> Self {
        let mut room = DOCUMENT_BYTES_MAX;
        let mut former: Vec<Arc<str>> = self.documents.iter().map(|(text, _)| Arc::clone(&*text)).collect();
        former.extend(self.former().cloned());
        former.retain(|text| {
            let taken = u64::from(bytes(DOCUMENT_BYTES_MIN + text.len()));
            let fits = taken <= room;
            room -= if fits { taken } else { 0 };
            fits
        });
        Self { former, ..Self::default() }
    }

    /// Texts that were asked under former snapshots, and not under this one.
    pub fn former(&self) -> impl Iterator<Item = &Arc<str>> {
        self.former.iter().filter(|text| !self.documents.contains_key(&***text))
    }

    pub fn document(
        &self,
        text: &str,
        parse: impl FnOnce() -> Result<Document, RequestError>,
    ) -> Result<Arc<Document>, RequestError> {
        if let Some(known) = self.documents.get(text) {
            return Ok(known);
        }
        let document = Arc::new(parse()?);
        self.documents.insert(text.into(), Arc::clone(&document));
        Ok(document)
    }

    /// The documents that are kept, with their texts.
    pub fn documents(&self) -> Vec<(Arc<str>, Arc<Document>)> {
        self.documents.iter().map(|(text, document)| (Arc::clone(&*text), document)).collect()
    }

    pub fn rights(&self, active: Vec<usize>, make: impl FnOnce(Vec<usize>) -> Rights) -> Arc<Rights> {
        if let Some(known) = self.rights.get(&active) {
            return known;
        }
        let rights = Arc::new(make(active.clone()));
        self.rights.insert(active, Arc::clone(&rights));
        rights
    }

    pub fn plan(
        &self,
        key: PlanKey,
        build: impl FnOnce() -> Result<Plan, RequestError>,
    ) -> Result<Arc<Plan>, RequestError> {
        if let Some(known) = self.plans.get(&key) {
            return Ok(known);
        }
        let plan = Arc::new(build()?);
        self.plans.insert(key, Arc::clone(&plan));
        Ok(plan)
    }

    pub fn schema(
        &self,
        rights: &Rights,
        make: impl FnOnce() -> Option<super::introspect::RoleSchema>,
    ) -> Option<Arc<super::introspect::RoleSchema>> {
        if let Some(known) = self.schemas.get(&rights.key) {
            return Some(known);
        }
        let schema = Arc::new(make()?);
        self.schemas.insert(rights.key.clone(), Arc::clone(&schema));
        Some(schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_variables_choose_items_with_counts_as_what_is_kept() {
        let plan = Plan {
            operation: Arc::new(crate::engine::operation::Operation {
                name: None,
                roots: Vec::new(),
                scan: None,
                introspects: false,
                frame: None,
            }),
            nodes: Vec::new(),
            roots: Vec::new(),
        };
        let key = |deciding: &str| PlanKey {
            document: "{ a }".into(),
            operation: None,
            deciding: deciding.to_owned(),
            grants: Vec::new(),
        };
        assert!(weight(&key(&"9".repeat(100_000)), &plan) > 100_000);
        assert!(u64::from(weight(&key("[]"), &plan)) * 100_000 < PLANS_BYTES_MAX);
    }
}
