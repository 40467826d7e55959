//! Requests that are answered with a ticket.

use std::sync::Arc;
use std::time::Duration;

use super::format::{Poll, Ticket};
use super::reading::{Condition, pointer};
use super::template::Hole;
use super::{Ask, Body, Compiler, HttpAsk, Protocol, Request};
use crate::base::pointer::Pointer;
use crate::model::yaml;

/// The input of a poll that is the ticket.
pub const TICKET: &str = "ticket";

/// A compiled [`Ticket`].
#[derive(Debug, Clone)]
pub struct TicketTemplate {
    pub at: Pointer,
    pub poll: HttpAsk,
    pub pending: Condition,
    pub failed: Option<Condition>,
    pub done: Option<Condition>,
    pub interval: Duration,
    pub keep: Duration,
}

impl Compiler<'_> {
    /// And the inputs of its poll, but for the ticket.
    pub(super) fn ticket(&mut self) -> Option<(TicketTemplate, Box<[Arc<str>]>)> {
        let spanned = self.request.ticket.as_ref()?;
        let (ticket, at): (&Ticket, _) = (&spanned.value, yaml::span(spanned));
        if !matches!(self.protocol, Protocol::Rest | Protocol::Soap) || self.request.pages.is_some() {
            self.fault(at, "`ticket` is for whole answers of rest and soap sources", "it goes without `pages`");
        }
        if !(100..=60_000).contains(&ticket.interval_ms) || !(1..=86_400).contains(&ticket.keep_s) {
            let hint = "`interval_ms` is between 100 and 60 000, `keep_s` between 1 and 86 400 (a day)";
            self.fault(at, "`ticket` waits too short or too long", hint);
        }
        let (poll, inputs) = self.poll(&ticket.poll.value, yaml::span(&ticket.poll))?;
        let mut test = |test: &super::super::format::Test| Condition::compile(test, self.text, self.faults);
        let (pending, failed, done) =
            (test(&ticket.pending), ticket.failed.as_ref().map(&mut test), ticket.done.as_ref().map(&mut test));
        let template = TicketTemplate {
            at: pointer(&ticket.at, self.text, self.faults)?,
            poll,
            pending: pending?,
            failed: failed.flatten(),
            done: done.flatten(),
            interval: Duration::from_millis(ticket.interval_ms),
            keep: Duration::from_secs(ticket.keep_s),
        };
        Some((template, inputs))
    }

    fn poll(&mut self, poll: &Poll, at: crate::base::fault::Place) -> Option<(HttpAsk, Box<[Arc<str>]>)> {
        let request = Request {
            get: poll.get.clone(),
            post: poll.post.clone(),
            query: poll.query.clone(),
            headers: poll.headers.clone(),
            body: poll.body.clone(),
            form: poll.form.clone(),
            xml: poll.xml.clone(),
            action: poll.action.clone(),
            ..Request::default()
        };
        let mut compiler = Compiler {
            request: &request,
            at,
            protocol: self.protocol,
            many: false,
            text: self.text,
            faults: &mut *self.faults,
        };
        let ask = compiler.http()?;
        let one_key = match &ask.body {
            Some(Body::Xml(xml)) => xml.outer_holes().any(|hole| *hole == Hole::Key),
            _ => false,
        };
        let ask = Ask::Http(Box::new(ask));
        let inputs = compiler.holes(&ask);
        let Ask::Http(ask) = ask else { return None };
        if self.many && (one_key || ask.holes().contains(&Hole::Key)) {
            self.fault(at, "`poll` asks with one key after a ticket for many", "write `{keys}`, or the ticket alone");
        }
        if !inputs.iter().any(|input| **input == *TICKET) {
            self.fault(at, "`poll` does not ask with the ticket", "write `{ticket}` where the ticket goes");
        }
        Some((*ask, inputs.into_iter().filter(|input| **input != *TICKET).collect()))
    }

    /// A request that is not a poll has no ticket yet.
    pub(super) fn no_ticket_yet(&mut self, inputs: &[Arc<str>]) {
        if self.request.ticket.is_some() && inputs.iter().any(|input| **input == *TICKET) {
            let (at, hint) = (self.at, "only `poll` has it");
            self.fault(at, format!("the request is asked with `{{{TICKET}}}`, which its answer gives"), hint);
        }
    }
}
