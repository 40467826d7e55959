//! One operation of a socket: through the door, and then what a request of HTTP would be, its answer in messages.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;

use axum::http::StatusCode;
use axum::http::request::Parts;
use futures::future::BoxFuture;

use super::super::ask::{Api, Asking, is_subscription, trace};
use super::super::door::{Refusal, admit_message};
use super::super::refusals::Refused;
use super::super::{Answer, App, Frame, Gateway, GraphqlRequest, Outcome};
use super::message::Voice;
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;

/// How the door took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Admitted,
    Refused,
    /// The token does not count any more.
    TokenRefused,
}

/// Operations under way, each by its client's id. One that is taken out is let go at once, with all that it does.
#[derive(Default)]
pub struct Operations(BTreeMap<String, BoxFuture<'static, Ended>>);

impl Operations {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    pub fn begin(&mut self, id: String, operation: BoxFuture<'static, Ended>) {
        self.0.insert(id, operation);
    }

    /// False: there is none.
    pub fn stop(&mut self, id: &str) -> bool {
        self.0.remove(id).is_some()
    }

    /// The next one's end; without any, never.
    pub async fn ended(&mut self) -> Ended {
        poll_fn(|context| {
            let done = self.0.iter_mut().find_map(|(id, operation)| match operation.as_mut().poll(context) {
                Poll::Ready(ended) => Some((id.clone(), ended)),
                Poll::Pending => None,
            });
            match done {
                Some((id, ended)) => {
                    self.0.remove(&id);
                    Poll::Ready(ended)
                }
                None => Poll::Pending,
            }
        })
        .await
    }
}

/// What an operation is asked with.
pub struct Operation<G> {
    pub app: Arc<App<G>>,
    /// Of the upgrade, with what its connection was begun with.
    pub parts: Arc<Parts>,
    pub address: IpAddr,
    /// Its client's.
    pub id: String,
    pub request_id: String,
    pub voice: Voice,
}

impl<G: Gateway> Operation<G> {
    pub async fn run(self, request: GraphqlRequest) -> Ended {
        let _under = self.app.sockets.operation();
        match self.asked(request).await {
            Ok(()) => Ended::Admitted,
            Err(refusal) => self.refuse(&refusal).await,
        }
    }

    async fn asked(&self, request: GraphqlRequest) -> Result<(), Refusal> {
        let gateway = self.app.gateway.now();
        let admitted = admit_message(&self.app, &self.parts).await?;
        let asking = Asking { app: &self.app, gateway: &gateway, id: &self.request_id, api: Api::Contract };
        let (identity, request) = asking.prepared(&self.parts, &admitted.identity, request, false)?;
        let trace = trace(&self.app, &self.parts);
        if !is_subscription(&request) {
            let id = self.request_id.clone();
            let Answer { status, body } = asking.answer(identity, request, id, trace, admitted.turn).await;
            if status == Outcome::Ok {
                self.voice.next(&self.id, body).await;
                self.voice.complete(&self.id).await;
            } else {
                self.voice.error(&self.id, &body).await;
            }
            return Ok(());
        }
        let mut frames = asking.subscribe(&self.parts, identity, request, trace, admitted.turn);
        loop {
            match frames.next().await {
                Some(Frame::Next(body)) => self.voice.next(&self.id, body).await,
                Some(Frame::Refused(body)) => {
                    self.voice.error(&self.id, &body).await;
                    return Ok(());
                }
                Some(Frame::Complete) => {
                    self.voice.complete(&self.id).await;
                    return Ok(());
                }
                None => {
                    let message = "the stream broke off; go on from its last `resume`".to_owned();
                    let broken = RequestError::new(ErrorCode::Internal, message);
                    self.voice.error(&self.id, &Answer::refused(&broken, &self.request_id).body).await;
                    return Ok(());
                }
            }
        }
    }

    /// Tells its client, and counts it as a refused request of HTTP.
    pub async fn refuse(&self, refusal: &Refusal) -> Ended {
        let refused = Refused { reason: refusal.error.message.clone() };
        self.app.refusals.log(&self.request_id, self.address, refusal.status, &refused);
        self.voice.error(&self.id, &Answer::refused(&refusal.error, &self.request_id).body).await;
        if refusal.status == StatusCode::UNAUTHORIZED { Ended::TokenRefused } else { Ended::Refused }
    }
}
