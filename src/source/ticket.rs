//! Requests that are answered with a ticket: handed in once, asked after until the answer is there or the deadline.
//!
//! A ticket that is still worked on is kept in memory, so that the same asker's same question is not handed in again. It is
//! found by a keyed hash of both; neither is kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use aws_lc_rs::rand::SystemRandom;
use http::StatusCode;
use tokio::time::{Instant, sleep_until};

use super::connector::Call;
use super::failure::Failure;
use super::records::holds;
use super::wire::Outgoing;
use super::{Fetched, PageAt, json, rest};
use crate::base::code::ErrorCode;
use crate::model::binding::request::ticket::{TICKET, TicketTemplate};
use crate::model::binding::request::{HttpAsk, template::Values};

/// Tickets of one source that are kept at once.
const KEPT_MAX: usize = 10_000;
/// Longest ticket, in bytes.
const TICKET_MAX: usize = 1_024;

type Id = [u8; 32];

/// The tickets of one source (or instance); they outlive reloads.
pub(crate) struct Tickets {
    /// Of this process alone; without it nothing is kept.
    key: Option<Key>,
    kept: Mutex<HashMap<Id, (String, Instant)>>,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets")
    }
}

impl Default for Tickets {
    fn default() -> Self {
        Self { key: Key::generate(HMAC_SHA256, &SystemRandom::new()).ok(), kept: Mutex::default() }
    }
}

impl Tickets {
    /// What an asker's question is found by: all that is asked with, but for the signature.
    fn id(&self, asker: &str, source: &str, out: &Outgoing) -> Option<Id> {
        let mut text = Vec::new();
        let mut add = |part: &[u8]| {
            text.extend_from_slice(&part.len().to_be_bytes());
            text.extend_from_slice(part);
        };
        [asker, source, out.method.as_str(), &out.uri.to_string()].iter().for_each(|part| add(part.as_bytes()));
        add(&out.body);
        for (name, value) in &out.headers {
            add(name.as_str().as_bytes());
            add(value.as_bytes());
        }
        sign(self.key.as_ref()?, &text).as_ref().try_into().ok()
    }

    fn get(&self, id: &Id) -> Option<String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (ticket, until) = kept.get(id)?;
        if *until > Instant::now() {
            return Some(ticket.clone());
        }
        kept.remove(id);
        None
    }

    /// Where there is no room, those that are over go first, then those that will be next.
    fn keep(&self, id: Id, ticket: &str, until: Instant) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            let now = Instant::now();
            kept.retain(|_, (_, until)| *until > now);
        }
        if kept.len() >= KEPT_MAX {
            let next = kept.iter().min_by_key(|(_, (_, until))| *until).map(|(id, _)| *id);
            next.and_then(|next| kept.remove(&next));
        }
        kept.insert(id, (ticket.to_owned(), until));
    }

    fn forget(&self, id: &Id) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// How asking after a ticket ended.
enum Polled {
    Done,
    Pending,
    /// The source knows the ticket no more.
    Gone(Failure),
}

/// Reads the answer to a ticket, handing the request in where there is no ticket for it yet.
pub(crate) async fn read(
    call: &Call<'_>,
    ask: &HttpAsk,
    template: &TicketTemplate,
    out: &mut Fetched,
) -> Result<(), Failure> {
    let tickets = &call.kept().tickets;
    let request = rest::outgoing(call, ask, &call.values(), &PageAt::First)?;
    let id =
        call.fetch.context.asker.as_deref().and_then(|asker| tickets.id(asker, &call.connection().name(), &request));
    let mut kept = id.as_ref().and_then(|id| tickets.get(id));
    loop {
        let known = kept.is_some();
        let ticket = match kept.take() {
            Some(ticket) => ticket,
            None => {
                let Some(ticket) = handed_in(call, ask, template, &request).await? else { return Ok(()) };
                if let Some(id) = id {
                    tickets.keep(id, &ticket, Instant::now() + template.keep);
                }
                ticket
            }
        };
        let polled = wait(call, template, &ticket, known, out).await;
        let pending = matches!(&polled, Err(failure) if failure.down || failure.code == ErrorCode::SourcePending);
        if let Some(id) = id.filter(|_| !pending) {
            // It is answered, or will never be.
            tickets.forget(&id);
        }
        match polled? {
            // A ticket of an earlier request may have been given up by now: the request is handed in once more.
            Polled::Gone(_) if known => {}
            Polled::Gone(failure) => return Err(failure),
            _ => return Ok(()),
        }
    }
}

/// The ticket; none, where the source says at once that there is no record.
async fn handed_in(
    call: &Call<'_>,
    ask: &HttpAsk,
    template: &TicketTemplate,
    out: &Outgoing,
) -> Result<Option<String>, Failure> {
    let mut reply = call.wire()?.send(out).await?;
    let reader = call.reader();
    if !reply.status.is_success() {
        return Err(rest::refused(call, &reader, &mut reply, ask.soap.is_some()));
    }
    let answer = json::read(rest::as_json(call, ask, &mut reply)?)?;
    if reader.opened(answer.root())?.is_none() {
        return Ok(None);
    }
    let found = json::find(answer.root(), &template.at).map(json::text).transpose()?;
    let ticket = found.filter(|ticket| !matches!(&**ticket, "" | "null") && ticket.len() <= TICKET_MAX);
    match ticket {
        Some(ticket) => Ok(Some(ticket.into_owned())),
        None => Err(Failure::bad(format!("the answer has no ticket at `{}` (ticket.at)", template.at))),
    }
}

/// Asks after the ticket until the answer is there, or the deadline.
async fn wait(
    call: &Call<'_>,
    template: &TicketTemplate,
    ticket: &str,
    known: bool,
    out: &mut Fetched,
) -> Result<Polled, Failure> {
    let pending = || Failure::new(ErrorCode::SourcePending, "the source works on it");
    // Whether the source has said of this ticket, just now, that it works on it.
    let mut works = !known;
    loop {
        if works {
            let next = Instant::now() + template.interval;
            if next >= call.deadline {
                return Err(pending());
            }
            sleep_until(next).await;
        }
        match poll(call, template, ticket, out).await {
            Ok(Polled::Pending) => works = true,
            Err(failure) if works && matches!(failure.code, ErrorCode::SourceTimeout | ErrorCode::SourceBusy) => {
                return Err(pending());
            }
            ended => return ended,
        }
    }
}

async fn poll(call: &Call<'_>, template: &TicketTemplate, ticket: &str, out: &mut Fetched) -> Result<Polled, Failure> {
    let mut inputs = call.fetch.inputs.to_vec();
    inputs.push((TICKET.into(), ticket.to_owned()));
    let values = Values { inputs: &inputs, ..call.values() };
    let request = rest::outgoing(call, &template.poll, &values, &PageAt::First)?;
    let mut reply = call.wire()?.send(&request).await?;
    let (reader, soap) = (call.reader(), template.poll.soap.is_some());
    match reply.status {
        StatusCode::ACCEPTED => return Ok(Polled::Pending),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            return Ok(Polled::Gone(rest::refused(call, &reader, &mut reply, soap)));
        }
        status if !status.is_success() => return Err(rest::refused(call, &reader, &mut reply, soap)),
        _ => {}
    }
    let answer = json::read(rest::as_json(call, &template.poll, &mut reply)?)?;
    let text = answer.root();
    if holds(&template.pending, text)? {
        return Ok(Polled::Pending);
    }
    if template.failed.as_ref().map_or(Ok(false), |failed| holds(failed, text))? {
        return Err(reader.refused(text, "the source says that it will not answer"));
    }
    if !template.done.as_ref().map_or(Ok(true), |done| holds(done, text))? {
        return Err(Failure::bad("the answer to a ticket is neither pending, failed nor done (ticket.done)"));
    }
    reader.answer(&answer, out)?;
    Ok(Polled::Done)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn no_more_tickets_are_kept_than_may_be_and_the_next_to_end_goes_first() {
        let tickets = Tickets::default();
        let id = |n: usize| -> Id {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            id
        };
        let now = Instant::now();
        for n in 0..KEPT_MAX {
            tickets.keep(id(n), "t", now + Duration::from_secs(if n == 7 { 50 } else { 100 }));
        }
        tickets.keep(id(KEPT_MAX), "new", now + Duration::from_secs(100));
        assert_eq!(tickets.kept.lock().unwrap().len(), KEPT_MAX);
        assert_eq!((tickets.get(&id(7)), tickets.get(&id(8))), (None, Some("t".to_owned())));
        assert_eq!(tickets.get(&id(KEPT_MAX)), Some("new".to_owned()));
        tickets.keep(id(1), "over", now);
        assert_eq!(tickets.get(&id(1)), None);
    }
}
