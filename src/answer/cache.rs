//! What is kept between requests: checked documents, rights, plans. Never a principal, a value or an answer.
//! Keys are compared whole.

use std::sync::Arc;

use moka::sync::Cache;
use serde_json::{Map, Value};

use crate::engine::error::RequestError;
use crate::engine::operation::Document;
use crate::engine::plan::Plan;
use crate::model::access::Rights;

/// Bytes of document text whose checked form is kept, and whose plans are: a form is some tens of times its text, and
/// callers choose how long a text is.
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
const PLAN_BYTES_MAX: u64 = 4 << 20;
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
    rights: Cache<Vec<usize>, Arc<Rights>>,
    plans: Cache<PlanKey, Arc<Plan>>,
    schemas: Cache<Vec<usize>, Arc<super::introspect::RoleSchema>>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            documents: Cache::builder()
                .max_capacity(DOCUMENT_BYTES_MAX)
                .weigher(|text: &Arc<str>, _: &Arc<Document>| weight(text))
                .build(),
            rights: Cache::new(RIGHTS_MAX),
            plans: Cache::builder()
                .max_capacity(PLAN_BYTES_MAX)
                .weigher(|key: &PlanKey, _: &Arc<Plan>| weight(&key.document))
                .build(),
            schemas: Cache::new(64),
        }
    }
}

fn weight(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

impl Caches {
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
