//! The gateway behind the listener.

use std::sync::Arc;

use super::Gateway;
use crate::admin;
use crate::answer::{self, Answer, GraphqlRequest};
use crate::identify::Identity;

impl Gateway for answer::Gateway {
    async fn answer(
        &self,
        identity: Identity,
        request: GraphqlRequest,
        request_id: String,
        traceparent: Option<String>,
    ) -> Answer {
        Self::answer(self, identity, request, request_id, traceparent).await
    }

    async fn admin(&self, identity: Identity, request: GraphqlRequest, request_id: String) -> Answer {
        admin::answer(self.clone(), identity, request, request_id).await
    }

    fn document(&self, id: &str) -> Option<Arc<str>> {
        self.snapshot().documents.get(id).cloned()
    }

    fn has_documents(&self) -> bool {
        !self.snapshot().documents.is_empty()
    }

    fn ready(&self) -> bool {
        Self::ready(self)
    }
}
