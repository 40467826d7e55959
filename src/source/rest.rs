//! REST: JSON or XML over HTTP, and what SOAP shares with it.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri};
use reqwest::Url;

use super::connector::Call;
use super::failure::Failure;
use super::records::{PageEnd, Reader};
use super::sign::header;
use super::wire::{Outgoing, Plain, Reply, content_type};
use super::{Fetched, PageAt, charset, json, link, soap, xml};
use crate::base::code::ErrorCode;
use crate::base::percent::percent;
use crate::model::binding::format::{Encoding, Format};
use crate::model::binding::request::template::{Hole, Node, Text, Values, json_text};
use crate::model::binding::request::{Body, Counted, HttpAsk, PageBy, Parameters};

const FORM: &str = "application/x-www-form-urlencoded";
/// As long as most paths with their parameters.
const TARGET_ROOM: usize = 128;

/// One page of a read.
// What is waited in is captured, not handed over: of what an `async fn` is given, it holds two.
pub(crate) fn page(
    call: &Call<'_>,
    ask: &HttpAsk,
    at: &PageAt,
    out: &mut Fetched,
) -> impl Future<Output = Result<PageEnd, Failure>> + Send {
    let ready = outgoing(call, ask, &call.values(), at).and_then(|outgoing| Ok((outgoing, call.wire()?)));
    async move {
        let (outgoing, wire) = ready.as_ref().map_err(Failure::clone)?;
        let mut reply = wire.send(outgoing).await?;
        let mut end = read(call, ask, &mut reply, out)?;
        if let Some(PageBy::Link { at }) = call.fetch.template.page().map(|page| &page.by) {
            let told = if at.is_none() { link::next(&reply.headers) } else { end.cursor.as_deref() };
            end.cursor = told.map(|told| link::followed(call, &outgoing.uri, told)).transpose()?;
        }
        Ok(end)
    }
}

fn read(call: &Call<'_>, ask: &HttpAsk, reply: &mut Reply, out: &mut Fetched) -> Result<PageEnd, Failure> {
    let reader = call.reader();
    // A lookup of something that is not there; a list that is not there is a wrong address.
    let lookup = !call.fetch.template.many && call.fetch.template.page().is_none();
    if reply.status == StatusCode::NOT_FOUND && lookup && ask.soap.is_none() {
        return Ok(PageEnd::default());
    }
    if !reply.status.is_success() {
        return Err(refused(call, &reader, reply, ask.soap.is_some()));
    }
    reader.answer(&json::read(as_json(call, ask, reply)?)?, out)
}

/// Its text, which is taken out of it: a long body that nobody else holds becomes it without a copy.
fn decoded(call: &Call<'_>, reply: &mut Reply) -> Result<String, Failure> {
    let connection = call.connection();
    let xml = connection.format == Format::Xml;
    charset::decode(std::mem::take(&mut reply.body), connection.encoding, content_type(&reply.headers), xml)
}

/// The answer's text as JSON, whatever it was written in; of SOAP, what stands in its body.
pub(crate) fn as_json(call: &Call<'_>, ask: &HttpAsk, reply: &mut Reply) -> Result<String, Failure> {
    let text = decoded(call, reply)?;
    let text = if call.connection().format == Format::Xml { xml::to_json(&text)? } else { text };
    if ask.soap.is_some() { soap::body(text, call) } else { Ok(text) }
}

/// An answer with an error status; the source's message where its body is as the binding says.
pub(crate) fn refused(call: &Call<'_>, reader: &Reader<'_>, reply: &mut Reply, soap: bool) -> Failure {
    let what = format!("the source answered with HTTP status {}", reply.status.as_u16());
    if reply.status.is_redirection() {
        return Failure::new(ErrorCode::SourceError, format!("{what}; redirects are not followed: see `base_url`"));
    }
    let plain = Failure::new(ErrorCode::SourceError, what.clone()).with_status(reply.status);
    let Ok(mut text) = decoded(call, reply) else { return plain };
    if call.connection().format == Format::Xml {
        text = xml::to_json(&text).unwrap_or_default();
    }
    if soap {
        return soap::fault(text, call).unwrap_or(plain);
    }
    match json::read(text) {
        Ok(answer) => reader.refused(answer.root(), &what).with_status(reply.status),
        Err(_) => plain,
    }
}

/// The request that asks for a page with these values.
pub(crate) fn outgoing(call: &Call<'_>, ask: &HttpAsk, values: &Values<'_>, at: &PageAt) -> Result<Outgoing, Failure> {
    if let PageAt::Link(address) = at {
        return linked(call, ask, address);
    }
    let in_body = matches!(&ask.body, Some(Body::Json(Node::Object(_)) | Body::Form(_)));
    let paging = page_parameters(call, at);
    let of_query = if in_body { &[][..] } else { paging.as_slice() };
    let signed = call.connection().sign.is_some();
    let encoding = call.connection().encoding;
    let (uri, query) = address(call, ask, values, of_query, signed)?;
    let mut headers = headers(ask, values)?;
    let mut form = None;
    let (json, body) = match &ask.body {
        None => (None, Bytes::new()),
        Some(Body::Json(node)) => {
            let more: Vec<(&str, String)> =
                paging.iter().filter(|_| in_body).map(|(name, _, json)| (*name, json.clone())).collect();
            let mut text = String::new();
            node.fill_object(values, &more, &mut text)?;
            let kind = match encoding {
                Encoding::Auto => HeaderValue::from_static("application/json"),
                // JSON is UTF-8 where nothing else is said.
                _ => header(&format!("application/json; charset={}", charset::name(encoding)))?,
            };
            headers.entry(CONTENT_TYPE).or_insert(kind);
            (signed.then(|| text.clone()), charset::encode(text, encoding, false)?.into())
        }
        Some(Body::Form(template)) => {
            let mut own = Vec::new();
            parameters(template, values, |name, value| {
                own.push((name.to_owned(), value.to_owned()));
                Ok(())
            })?;
            own.retain(|(name, _)| paging.iter().all(|(page, _, _)| page != name));
            own.extend(paging.iter().map(|(name, value, _)| ((*name).to_owned(), value.clone())));
            let kind = match encoding {
                Encoding::Auto => HeaderValue::from_static(FORM),
                _ => header(&format!("{FORM}; charset={}", charset::name(encoding)))?,
            };
            headers.entry(CONTENT_TYPE).or_insert(kind);
            let body = charset::parameters(&own, encoding)?.into();
            form = signed.then_some(own);
            (None, body)
        }
        Some(Body::Xml(template)) => {
            let mut inside = String::new();
            template.fill(values, &mut inside)?;
            let (text, kind) = match &ask.soap {
                Some(action) => {
                    headers.insert("soapaction", header(&format!("\"{action}\""))?);
                    (soap::envelope(&inside, encoding), "text/xml")
                }
                None if inside.trim_start().starts_with("<?xml") => (inside, "application/xml"),
                None => (soap::declared(&inside, encoding), "application/xml"),
            };
            let kind = header(&format!("{kind}; charset={}", charset::name(encoding)))?;
            headers.entry(CONTENT_TYPE).or_insert(kind);
            (None, charset::encode(text, encoding, true)?.into())
        }
    };
    let method = if ask.post { Method::POST } else { Method::GET };
    let plain = signed.then(|| Box::new(Plain { query, json, form }));
    Ok(Outgoing { method, uri, headers, body, plain })
}

/// The next page, at the address that the one before told.
fn linked(call: &Call<'_>, ask: &HttpAsk, told: &str) -> Result<Outgoing, Failure> {
    let address = &call.target()?.address;
    let told = link::followed(call, &address.whole()?, told)?;
    let url = Url::parse(&told).map_err(|_| Failure::bad("the next page's address is none"))?;
    let uri = address.at(match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    })?;
    let headers = headers(ask, &call.values())?;
    let query = || link::query(&url, call.connection().encoding);
    let signed = call.connection().sign.is_some();
    let plain = signed.then(|| Box::new(Plain { query: query(), ..Plain::default() }));
    Ok(Outgoing { method: Method::GET, uri, headers, body: Bytes::new(), plain })
}

fn headers(ask: &HttpAsk, values: &Values<'_>) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, text) in &ask.headers {
        headers.insert(name, header(&text.filled(values)?)?);
    }
    Ok(headers)
}

/// Each of the parameters of the query or a form, not encoded.
fn parameters(
    template: &Parameters,
    values: &Values<'_>,
    mut add: impl FnMut(&str, &str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for (name, text) in template {
        match text.only_hole() {
            Some((Hole::Keys(None), _, Some(cipher))) => {
                values.sealed_keys(cipher)?.iter().try_for_each(|key| add(name, key))?;
            }
            Some((Hole::Keys(None), _, None)) => values.keys.iter().try_for_each(|key| add(name, key))?,
            _ => add(name, &text.filled(values)?)?,
        }
    }
    Ok(())
}

/// Where the request goes, and where it is signed its parameters, not encoded: the binding's, then `more`.
fn address(
    call: &Call<'_>,
    ask: &HttpAsk,
    values: &Values<'_>,
    more: &[(&str, String, String)],
    signed: bool,
) -> Result<(Uri, Vec<(String, String)>), Failure> {
    let (address, encoding) = (&call.target()?.address, call.connection().encoding);
    let mut target = String::with_capacity(TARGET_ROOM);
    target.push_str(address.path());
    path(&ask.path, values, &mut target)?;
    let (mut first, mut query) = (true, Vec::new());
    let mut add = |name: &str, value: &str| {
        target.push(if std::mem::take(&mut first) { '?' } else { '&' });
        charset::percent(name, encoding, &mut target)?;
        target.push('=');
        charset::percent(value, encoding, &mut target)?;
        if signed {
            query.push((name.to_owned(), value.to_owned()));
        }
        Ok(())
    };
    parameters(&ask.query, values, &mut add)?;
    more.iter().try_for_each(|(name, value, _)| add(name, value))?;
    Ok((address.at(target)?, query))
}

/// A value in a path is one segment: it cannot be empty (that would ask for the list), nor `.` or `..`.
fn path(template: &Text, values: &Values<'_>, out: &mut String) -> Result<(), Failure> {
    for hole in template.holes() {
        if matches!(values.of(hole)?.as_ref(), "" | "." | "..") {
            return Err(Failure::new(ErrorCode::ValueInvalid, "a value is none that can stand in a path"));
        }
    }
    Ok(template.fill(values, out, &percent)?)
}

/// The page's parameters: name, value, value as JSON.
pub(crate) fn page_parameters<'t>(call: &Call<'t>, at: &PageAt) -> Vec<(&'t str, String, String)> {
    let Some(page) = call.fetch.template.page() else { return Vec::new() };
    let mut parameters = Vec::new();
    if let Some(name) = &page.size_parameter {
        parameters.push((name.as_ref(), page.size.to_string(), page.size.to_string()));
    }
    match (&page.by, at) {
        (PageBy::Cursor { parameter, .. }, PageAt::Cursor(cursor)) => {
            let mut json = String::new();
            json_text(cursor, &mut json);
            parameters.push((parameter.as_ref(), cursor.clone(), json));
        }
        (PageBy::Cursor { .. } | PageBy::Link { .. }, _) => {}
        (PageBy::Counted(counted), at) => {
            let number = counted_at(counted, at).to_string();
            parameters.push((counted.parameter.as_ref(), number.clone(), number));
        }
    }
    parameters
}

/// What a page is asked with where pages, or records, are counted.
pub(crate) fn counted_at(counted: &Counted, at: &PageAt) -> u32 {
    match at {
        PageAt::Number(number) => *number,
        PageAt::First | PageAt::Cursor(_) | PageAt::Link(_) => counted.from,
    }
}
