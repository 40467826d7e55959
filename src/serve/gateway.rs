//! The gateway behind the listener.

use super::Gateway;
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

    fn ready(&self) -> bool {
        Self::ready(self)
    }
}
