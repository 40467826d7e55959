//! The flow of one request as a task of its own: it comes to its end, and on record, whoever still waits for it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::ending::{Ending, GRACE};
use super::streaming::Streaming;
use super::{Answer, Asked, Gateway, GraphqlRequest};
use crate::audit::{self, AuditRecord};
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::identify::Identity;
use crate::trace::Parent;

impl Gateway {
    /// Answers a request. What was begun is finished and audited even if the caller goes away; then `held` is dropped.
    pub async fn answer_holding(
        &self,
        identity: Identity,
        request: GraphqlRequest,
        request_id: String,
        parent: Option<Parent>,
        held: impl Send + 'static,
    ) -> Answer {
        self.flow((identity, request, request_id), parent, None, held).await
    }

    /// As [`Self::answer_holding`], of a request or of a turn of a stream.
    pub(super) async fn flow(
        &self,
        asked: (Identity, GraphqlRequest, String),
        parent: Option<Parent>,
        stream: Option<Arc<Streaming>>,
        held: impl Send + 'static,
    ) -> Answer {
        let (mut span, traceparent) = self.inner.kept.traces.request(parent);
        let trace = span.trace();
        let inner = Arc::clone(&self.inner);
        let (came, asked) = (Timestamp::now(), Arc::new(asked));
        let failed = || {
            let (identity, request, request_id) = &*asked;
            let mut failed = AuditRecord::new(request_id, identity);
            failed.time = audit::timestamp(came);
            failed.document = request.query.as_deref().map(|text| self.inner.kept.subjects.document(text));
            failed
        };
        let of_asked = Arc::clone(&asked);
        let of = (asked.2.as_str(), stream.as_deref());
        let (ending, told, _waits) = Ending::new();
        let ending = Arc::new(ending);
        let of_flow = Arc::clone(&ending);
        let of_stream = stream.clone();
        let mut flow = tokio::spawn(async move {
            let _held = held;
            let _turn = match &of_stream {
                Some(stream) => Some(stream.begin_turn().await),
                None => None,
            };
            let (identity, request, request_id) = &*of_asked;
            let asked = Asked {
                identity,
                request,
                request_id,
                traceparent: traceparent.as_deref(),
                trace: &trace,
                stream: of_stream.as_deref(),
            };
            inner.answer(&asked, &of_flow, &mut span).await
        });
        let limit = Duration::from_millis(self.inner.snapshot.config.limits.request_timeout_ms).saturating_add(GRACE);
        let ended = match tokio::time::timeout(limit, &mut flow).await {
            Ok(ended) => ended,
            Err(_) if ending.decide() => {
                let message = "the request took too long; ask for less".to_owned();
                let late = RequestError::new(ErrorCode::DeadlineExceeded, message);
                return Box::pin(self.inner.failed(failed(), &late, of, Some(told))).await;
            }
            // Its record is being written, which does not take for ever.
            Err(_) => flow.await,
        };
        match ended {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(request = of.0, %error, "the flow of a request failed");
                let message = "the gateway failed; tell the operator the request id".to_owned();
                Box::pin(self.inner.failed(failed(), &RequestError::new(ErrorCode::Internal, message), of, None)).await
            }
        }
    }
}
