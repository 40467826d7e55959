//! The gateway behind the listener.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::refusals::Counts;
use super::{Gateway, LoggedIn, Turn};
use crate::admin::{self, MetricsText};
use crate::answer::{self, Answer, Frames, GraphqlRequest, StreamStanding};
use crate::audit::{AuditRecord, Kind, Outcome};
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::identify::Identity;
use crate::trace::Parent;

impl Gateway for answer::Gateway {
    async fn answer(
        &self,
        identity: Identity,
        request: GraphqlRequest,
        request_id: String,
        trace: Option<Parent>,
        turn: Turn,
    ) -> Answer {
        self.answer_holding(identity, request, request_id, trace, turn).await
    }

    fn subscribe(
        &self,
        identity: Identity,
        request: GraphqlRequest,
        request_id: String,
        trace: Option<Parent>,
        turn: Turn,
        standing: impl StreamStanding,
    ) -> Frames {
        self.stream_holding(identity, request, request_id, trace, standing, turn)
    }

    async fn admin(&self, identity: Identity, request: GraphqlRequest, request_id: String, turn: Turn) -> Answer {
        admin::answer(self.clone(), identity, request, request_id, turn).await
    }

    fn document(&self, id: &str) -> Option<Arc<str>> {
        self.snapshot().documents.get(id).cloned()
    }

    fn has_documents(&self) -> bool {
        !self.snapshot().documents.is_empty()
    }

    async fn refused(&self, address: Option<IpAddr>, networks: Vec<String>, counts: Counts) {
        let identity = Identity { networks, ..Identity::at(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))) };
        let mut record = AuditRecord::event(Kind::Refusals, "refusals", &identity, "refused");
        record.outcome = Outcome::Rejected;
        for (status, count) in counts {
            record = record.with(&status.to_string(), count);
        }
        if let Err(error) = self.audit().append(record).await {
            tracing::error!(%error, "refused requests could not be recorded");
        }
    }

    async fn logged_in(&self, login: LoggedIn) -> Result<(), RequestError> {
        let LoggedIn { identity, request_id, issuer, failed } = login;
        let mut record = AuditRecord::event(Kind::Login, &request_id, &identity, "login").with("issuer", issuer);
        if let Some(code) = failed {
            record.outcome = Outcome::Rejected;
            record.errors.insert(code);
        }
        self.audit().append(record).await.map(drop).map_err(|error| {
            tracing::error!(request = request_id, %error, "the audit record of a login could not be written: nobody is logged in");
            let message = "the audit record could not be written, so nobody is logged in; try again later";
            RequestError::new(ErrorCode::AuditUnavailable, message.to_owned())
        })
    }

    fn metrics(&self) -> MetricsText {
        admin::metrics(self)
    }

    fn ready(&self) -> bool {
        Self::ready(self)
    }
}
