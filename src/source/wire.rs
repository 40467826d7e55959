//! The one seam to the HTTP client: a request goes out under its guards, an answer comes back whole.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::exchange::{Exchange, Exchanges};
use super::failure::Failure;
use super::guard::breaker::Health;
use super::guard::{Guards, Kept, retry};
use super::reach::{Target, is_own};
use super::records::holds;
use super::session::By;
use super::sign::{Sealed, header, seal};
use super::tally::Tally;
use super::{CallContext, Caller, Waiters, charset, delegation, json, xml};
use crate::base::code::ErrorCode;
use crate::base::percent::percent;
use crate::egress::{Answer, Client, Unanswered};
use crate::model::binding::connection::Connection;
use crate::model::binding::connection::sign::{Secret, Session};
use crate::model::binding::format::{Authority, Format, Protocol};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PRINCIPAL: HeaderName = HeaderName::from_static("x-principal");
const PURPOSE: HeaderName = HeaderName::from_static("x-purpose");
const CASE: HeaderName = HeaderName::from_static("x-case");

/// A request, but for its signature.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub method: Method,
    pub uri: Uri,
    /// Its own, beside those that all requests there have.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Where the request is signed.
    pub plain: Option<Box<Plain>>,
}

/// What signatures are over, not encoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plain {
    /// Parameters of the query.
    pub query: Vec<(String, String)>,
    /// The text of a JSON body.
    pub json: Option<String>,
    /// Parameters of a form.
    pub form: Option<Vec<(String, String)>>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub(crate) fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

/// One call's way out.
pub(crate) struct Wire<'a> {
    pub connection: &'a Connection,
    pub client: &'a Client,
    pub target: &'a Target,
    /// Of the address that is asked.
    pub guards: &'a Guards,
    pub tally: &'a Tally,
    pub kept: &'a Kept,
    pub context: &'a CallContext,
    pub deadline: Instant,
    /// How long the source is given: with much less, no answer tells nothing of it.
    pub patience: Duration,
    /// And for the head of one; none: as long.
    pub first_byte: Option<Duration>,
    pub calls: &'a AtomicU32,
    /// Where what goes over the wire is kept, for who tries a binding by hand.
    pub exchanges: Option<&'a Exchanges>,
}

/// How one try ended.
enum Tried {
    Reply(Reply),
    /// It may be tried again after that moment; else it ends so.
    NotNow(Instant, Failure),
    Unauthorized,
}

impl Wire<'_> {
    /// Sends the request, again where the source says "not now" or cannot be reached and the deadline allows. Only
    /// reads go this way.
    pub async fn send(&self, out: &Outgoing) -> Result<Reply, Failure> {
        self.guards.retries.earn(self.connection.limits.retries_percent);
        // Nearly always the first try is the only one, and there is no session: what else may come stands elsewhere.
        if self.session().is_some() {
            return Box::pin(self.tries(out, None)).await;
        }
        match self.attempt(out, None, 0).await? {
            Tried::Reply(reply) => Ok(reply),
            first => Box::pin(self.tries(out, Some(first))).await,
        }
    }

    /// Tries until there is an answer, or no use in trying. `first`: how the first one ended, where that was made already.
    async fn tries(&self, out: &Outgoing, mut first: Option<Tried>) -> Result<Reply, Failure> {
        let mut refused: Option<Secret> = None;
        let mut tries = 0;
        let mut failed: Option<Failure> = None;
        loop {
            let (token, tried) = match first.take() {
                Some(tried) => (None, tried),
                None => {
                    let token = self.token(refused.as_ref()).await?;
                    let tried = self.attempt(out, token.as_ref(), tries).await;
                    let tried = tried.map_err(|failure| match failed.take() {
                        // What happened says more than that the breaker is open since.
                        Some(before) if failure.code == ErrorCode::SourceSuspended => before,
                        _ => failure,
                    })?;
                    (token, tried)
                }
            };
            match tried {
                Tried::Reply(reply) => return Ok(reply),
                Tried::Unauthorized if token.is_some() && token != refused => {
                    if refused.is_some() {
                        self.kept.sessions.useless();
                        return Err(unauthorized());
                    }
                    refused = token;
                }
                Tried::Unauthorized => return Err(unauthorized()),
                Tried::NotNow(at, failure) => {
                    let may = tries < self.connection.limits.retries_max && at < self.context.turn_until(self.deadline);
                    if !(may && self.guards.retries.spend()) {
                        return Err(failure);
                    }
                    tries += 1;
                    failed = Some(failure);
                    sleep_until(at).await;
                }
            }
        }
    }

    fn session(&self) -> Option<&Session> {
        self.connection.sign.as_ref()?.session.as_ref()
    }

    async fn token(&self, refused: Option<&Secret>) -> Result<Option<Secret>, Failure> {
        match &self.connection.sign {
            Some(signing) if signing.session.is_some() => {
                let _logs_in = self.context.waiters.as_deref().map(Waiters::logs_in);
                let by = By { source: &self.connection.source, client: self.client, secrets: &self.kept.secrets };
                self.kept.sessions.get(by, signing, refused, self.deadline).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    fn attempt(
        &self,
        out: &Outgoing,
        token: Option<&Secret>,
        tries: u32,
    ) -> impl Future<Output = Result<Tried, Failure>> + Send {
        let mut span = self.context.trace.call("http");
        span.tell("huxiang.try", || i64::from(tries) + 1);
        async move {
            let entered = Instant::now();
            let permit =
                self.guards.enter(self.tally, &self.context.principal, self.context.turn_until(self.deadline)).await?;
            let permit =
                permit.given_up_after(self.patience, self.context.waiters.as_deref().map(|waiters| &waiters.late));
            self.calls.fetch_add(1, Ordering::Relaxed);
            let began = permit.sent;
            span.tell("huxiang.waited_ms", || i64::try_from((began - entered).as_millis()).unwrap_or(i64::MAX));
            let mut seen = self.exchanges.map(|_| Box::<Exchange>::default());
            let tried = timeout_at(self.deadline, self.once(out, token, tries, seen.as_deref_mut())).await;
            let ended = Instant::now();
            permit.end(self.health(tried.as_ref().ok(), ended - began), ended);
            if let (Some(exchanges), Some(seen)) = (self.exchanges, seen) {
                exchanges.add(Exchange { total: ended - began, ..*seen });
            }
            let tried = tried.unwrap_or_else(|_| Err(Failure::timeout()));
            match &tried {
                Ok(Tried::Reply(reply)) => span.tell("http.response.status_code", || i64::from(reply.status.as_u16())),
                Ok(Tried::Unauthorized) => span.tell("http.response.status_code", || 401_i64),
                Ok(Tried::NotNow(_, failure)) | Err(failure) => span.failed(failure.code),
            }
            tried
        }
    }

    /// What a try says of the system; none: it did not end before the deadline.
    fn health(&self, tried: Option<&Result<Tried, Failure>>, took: Duration) -> Health {
        let soap = self.connection.protocol == Protocol::Soap;
        match tried {
            None => Health::unanswered(took, self.patience),
            // SOAP 1.1 sends its faults with status 500.
            Some(Ok(Tried::Reply(reply))) if soap && reply.status == StatusCode::INTERNAL_SERVER_ERROR => Health::Well,
            Some(Ok(Tried::Reply(reply))) if reply.status.is_server_error() => Health::Ill,
            Some(Err(failure)) if failure.code == ErrorCode::SourceTimeout => Health::Silent,
            Some(Ok(Tried::NotNow(_, failure)) | Err(failure)) if failure.down => Health::Ill,
            Some(Err(failure)) if failure.code != ErrorCode::SourceBadAnswer => Health::Unknown,
            Some(_) => Health::Well,
        }
    }

    async fn once(
        &self,
        out: &Outgoing,
        token: Option<&Secret>,
        tries: u32,
        mut seen: Option<&mut Exchange>,
    ) -> Result<Tried, Failure> {
        let (request, began) = self.request(out, token, seen.as_deref_mut())?;
        let sending = self.client.send(request);
        let sent = match self.first_byte {
            Some(first_byte) => Box::pin(timeout(first_byte, sending)).await.map_err(|_| Failure::silent())?,
            None => sending.await,
        };
        let mut answer = match sent {
            Ok(answer) => answer,
            Err(error) => return unanswered(&error, tries),
        };
        let blank = token.map(Secret::reveal);
        if let Some(seen) = &mut seen {
            seen.answered(answer.status(), answer.headers(), began.elapsed(), blank);
        }
        if let Some(ended) = self.without_body(&answer, tries) {
            return Ok(ended);
        }
        let max = self.connection.limits.answer_bytes_max;
        let body = answer.read(max).await.map_err(|unread| Failure::unread(unread, max))?;
        let Parts { status, headers, .. } = answer.into_head();
        if let Some(seen) = seen {
            seen.read(&body, content_type(&headers), self.connection, blank);
        }
        if self.is_over(&body, &headers) {
            return Ok(Tried::Unauthorized);
        }
        Ok(Tried::Reply(Reply { status, headers, body }))
    }

    /// The request, and when it begins to go out.
    fn request(
        &self,
        out: &Outgoing,
        token: Option<&Secret>,
        seen: Option<&mut Exchange>,
    ) -> Result<(Request<Bytes>, Instant), Failure> {
        let sealed = self.sealed(out, token)?;
        if let Some(seen) = seen {
            seen.sent(out, &sealed, self.connection);
        }
        let began = Instant::now();
        Ok((sealed.request(&out.method), began))
    }

    /// How a try ended whose answer's body says nothing more.
    fn without_body(&self, answer: &Answer, tries: u32) -> Option<Tried> {
        let status = answer.status();
        if retry::is_not_now(status) {
            let code =
                if status == StatusCode::TOO_MANY_REQUESTS { ErrorCode::SourceBusy } else { ErrorCode::SourceError };
            let failure = Failure::new(code, format!("the source answered with HTTP status {}", status.as_u16()));
            let failure = failure.with_status(status);
            // What one caller may not ask now says nothing of others.
            let own = self.connection.authority == Authority::Gateway && code == ErrorCode::SourceBusy;
            if let Some(named) = retry::named(answer.headers()).filter(|_| own) {
                self.guards.pause(named);
            }
            let now = Instant::now();
            let at = now.checked_add(retry::wait(Some(answer.headers()), tries)).unwrap_or(self.deadline);
            return Some(Tried::NotNow(at, failure));
        }
        (status == StatusCode::UNAUTHORIZED).then_some(Tried::Unauthorized)
    }

    /// Whether the answer says that the session is no longer good. What cannot be read says nothing of it.
    fn is_over(&self, body: &Bytes, headers: &HeaderMap) -> bool {
        let Some(over) = self.session().and_then(Session::renew_on) else { return false };
        let xml = self.connection.format == Format::Xml;
        let read = || -> Result<bool, Failure> {
            let text = charset::decode(body.clone(), self.connection.encoding, content_type(headers), xml)?;
            let text = if xml { xml::to_json(&text)? } else { text };
            holds(over, json::read(text)?.root())
        };
        read().unwrap_or(false)
    }

    /// Signed anew for every try: timestamps and nonces are good once.
    fn sealed(&self, out: &Outgoing, token: Option<&Secret>) -> Result<Sealed, Failure> {
        let mut headers = self.target.headers.clone();
        for (name, value) in out.headers.iter().filter(|(name, _)| !is_own(self.connection, name)) {
            headers.insert(name.clone(), value.clone());
        }
        self.told(&mut headers)?;
        match &self.connection.sign {
            Some(signing) => {
                let own = signing.seal.secret.as_ref().filter(|_| token.is_none());
                let own = own.map(|origin| self.kept.secrets.read(origin)).transpose()?;
                let own = match (&signing.delegation, own) {
                    (Some(delegation), Some(key)) => Some(delegation::token(delegation, &key, self.caller()?)?),
                    (_, own) => own,
                };
                seal(&signing.seal, &self.kept.secrets, token.or(own.as_ref()), out, headers, self.connection.encoding)
            }
            None => Ok(Sealed { uri: out.uri.clone(), headers, body: out.body.clone() }),
        }
    }

    /// What every call tells: the trace, the request, and perhaps the caller.
    fn told(&self, headers: &mut HeaderMap) -> Result<(), Failure> {
        let mut tell = |name: HeaderName, value: &str| {
            headers.insert(name, header(&printable(value))?);
            Ok::<(), Failure>(())
        };
        if let Some(traceparent) = &self.context.traceparent {
            tell(TRACEPARENT, traceparent)?;
        }
        if !self.context.request_id.is_empty() {
            tell(REQUEST_ID, &self.context.request_id)?;
        }
        if self.connection.authority == Authority::Caller {
            let caller = self.caller()?;
            let delegates = self.connection.delegates();
            // GraphQL has a place for it in the body.
            if delegates && self.connection.protocol == Protocol::Graphql {
                return Ok(());
            }
            if !delegates {
                tell(PRINCIPAL, &caller.principal)?;
            }
            if let Some(purpose) = &caller.purpose {
                tell(PURPOSE, purpose)?;
            }
            if let Some(case) = &caller.case {
                tell(CASE, case)?;
            }
        }
        Ok(())
    }
}

impl<'a> Wire<'a> {
    fn caller(&self) -> Result<&'a Caller, Failure> {
        self.context.caller.as_ref().ok_or_else(|| {
            Failure::new(ErrorCode::InputMissing, "the source is asked in the caller's name, and there is none")
        })
    }
}

/// How a try ended that got no answer.
fn unanswered(error: &Unanswered, tries: u32) -> Result<Tried, Failure> {
    let failure = Failure::unanswered(error);
    if matches!(error, Unanswered::Undeclared) || failure.code != ErrorCode::SourceUnreachable {
        return Err(failure);
    }
    Ok(Tried::NotNow(Instant::now() + retry::wait(None, tries), failure))
}

fn unauthorized() -> Failure {
    Failure::new(ErrorCode::SourceError, "the source answered with HTTP status 401, or that its session is over")
}

/// Printable ASCII as it is, everything else (and `%`) percent-encoded.
fn printable(value: &str) -> Cow<'_, str> {
    // Not `all`: nearly always it goes to the end, and so it takes many bytes at once.
    if value.bytes().fold(true, |plain, byte| plain & (b' '..=b'~').contains(&byte) & (byte != b'%')) {
        return value.into();
    }
    let mut out = String::new();
    for c in value.chars() {
        if (' '..='~').contains(&c) && c != '%' {
            out.push(c);
        } else {
            percent(c.encode_utf8(&mut [0; 4]), &mut out);
        }
    }
    out.into()
}
