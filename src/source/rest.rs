//! REST: JSON or XML over HTTP, and what SOAP shares with it.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use reqwest::Url;

use super::connector::Call;
use super::failure::Failure;
use super::records::{PageEnd, Reader};
use super::sign::header;
use super::wire::{Outgoing, Reply};
use super::{Fetched, PageAt, charset, json, link, soap, xml};
use crate::base::code::ErrorCode;
use crate::base::percent::percent;
use crate::model::binding::format::{Encoding, Format};
use crate::model::binding::request::template::{Hole, Node, Text, Values, json_text};
use crate::model::binding::request::{Body, Counted, HttpAsk, PageBy, Parameters};

/// One page of a read.
pub(crate) async fn page(call: &Call<'_>, ask: &HttpAsk, at: &PageAt, out: &mut Fetched) -> Result<PageEnd, Failure> {
    let outgoing = outgoing(call, ask, &call.values(), at)?;
    let reply = call.wire()?.send(&outgoing).await?;
    let links = reply.links.clone();
    let mut end = read(call, ask, reply, out)?;
    if let Some(PageBy::Link { at }) = call.fetch.template.page().map(|page| &page.by) {
        let told = if at.is_none() { link::next(&links) } else { end.cursor.as_deref() };
        end.cursor = told.map(|told| link::followed(call, &outgoing.url, told)).transpose()?;
    }
    Ok(end)
}

fn read(call: &Call<'_>, ask: &HttpAsk, reply: Reply, out: &mut Fetched) -> Result<PageEnd, Failure> {
    let reader = call.reader();
    // A lookup of something that is not there; a list that is not there is a wrong address.
    let lookup = !call.fetch.template.many && call.fetch.template.page().is_none();
    if reply.status == StatusCode::NOT_FOUND && lookup && ask.soap.is_none() {
        return Ok(PageEnd::default());
    }
    if !reply.status.is_success() {
        return Err(refused(call, &reader, reply, ask.soap.is_some()));
    }
    let text = as_json(call, ask, reply)?;
    reader.answer(Bytes::from(text), out)
}

fn decoded(call: &Call<'_>, reply: Reply) -> Result<String, Failure> {
    let connection = call.connection();
    let xml = connection.format == Format::Xml;
    charset::decode(reply.body, connection.encoding, reply.content_type.as_deref(), xml)
}

/// The answer's text as JSON, whatever it was written in; of SOAP, what stands in its body.
pub(crate) fn as_json(call: &Call<'_>, ask: &HttpAsk, reply: Reply) -> Result<String, Failure> {
    let text = decoded(call, reply)?;
    let text = if call.connection().format == Format::Xml { xml::to_json(&text)? } else { text };
    if ask.soap.is_some() { soap::body(&text, call) } else { Ok(text) }
}

/// An answer with an error status; the source's message where its body is as the binding says.
pub(crate) fn refused(call: &Call<'_>, reader: &Reader<'_>, reply: Reply, soap: bool) -> Failure {
    let what = format!("the source answered with HTTP status {}", reply.status.as_u16());
    if reply.status.is_redirection() {
        return Failure::new(ErrorCode::SourceError, format!("{what}; redirects are not followed: see `base_url`"));
    }
    let down = reply.status.is_server_error();
    let plain = Failure { down, ..Failure::new(ErrorCode::SourceError, what.clone()) };
    let Ok(text) = decoded(call, reply) else { return plain };
    let text = if call.connection().format == Format::Xml { xml::to_json(&text).unwrap_or_default() } else { text };
    if soap {
        return soap::fault(&text, call).unwrap_or(plain);
    }
    match json::check(text.as_bytes()) {
        Ok(text) => Failure { down, ..reader.refused(text, &what) },
        Err(_) => plain,
    }
}

/// The request that asks for a page with these values.
pub(crate) fn outgoing(call: &Call<'_>, ask: &HttpAsk, values: &Values<'_>, at: &PageAt) -> Result<Outgoing, Failure> {
    if let PageAt::Link(address) = at {
        return linked(call, ask, address);
    }
    let in_body = matches!(&ask.body, Some(Body::Json(Node::Object(_)) | Body::Form(_)));
    let parameters = page_parameters(call, at);
    let encoding = call.connection().encoding;
    let mut query = self::parameters(&ask.query, values)?;
    if !in_body {
        query.extend(parameters.iter().map(|(name, value, _)| ((*name).to_owned(), value.clone())));
    }
    let url = url(call.base_url(), ask, values, &query, encoding)?;
    let mut headers = headers(ask, values)?;
    let mut form = None;
    let (json, body) = match &ask.body {
        None => (None, Vec::new()),
        Some(Body::Json(node)) => {
            let more: Vec<(&str, String)> =
                parameters.iter().filter(|_| in_body).map(|(name, _, json)| (*name, json.clone())).collect();
            let mut text = String::new();
            node.fill_object(values, &more, &mut text)?;
            match encoding {
                Encoding::Auto => content_type(&mut headers, "application/json")?,
                // JSON is UTF-8 where nothing else is said.
                _ => content_type(&mut headers, &format!("application/json; charset={}", charset::name(encoding)))?,
            }
            (Some(text.clone()), charset::encode(text, encoding, false)?)
        }
        Some(Body::Form(template)) => {
            let mut own = self::parameters(template, values)?;
            own.retain(|(name, _)| parameters.iter().all(|(page, _, _)| page != name));
            own.extend(parameters.iter().map(|(name, value, _)| ((*name).to_owned(), value.clone())));
            let kind = "application/x-www-form-urlencoded";
            match encoding {
                Encoding::Auto => content_type(&mut headers, kind)?,
                _ => content_type(&mut headers, &format!("{kind}; charset={}", charset::name(encoding)))?,
            }
            let body = charset::parameters(&own, encoding)?.into_bytes();
            form = Some(own);
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
            content_type(&mut headers, &format!("{kind}; charset={}", charset::name(encoding)))?;
            (None, charset::encode(text, encoding, true)?)
        }
    };
    headers.entry(ACCEPT).or_insert(accept(call));
    let method = if ask.post { Method::POST } else { Method::GET };
    Ok(Outgoing { method, url, query, headers, json, form, body: Bytes::from(body) })
}

/// The next page, at the address that the one before told.
fn linked(call: &Call<'_>, ask: &HttpAsk, address: &str) -> Result<Outgoing, Failure> {
    let url = Url::parse(address).map_err(|_| Failure::bad("the next page's address is none"))?;
    let address = link::followed(call, &url, address)?;
    let url = Url::parse(&address).map_err(|_| Failure::bad("the next page's address is none"))?;
    let mut headers = headers(ask, &call.values())?;
    headers.entry(ACCEPT).or_insert(accept(call));
    let query = link::query(&url);
    Ok(Outgoing { method: Method::GET, url, query, headers, json: None, form: None, body: Bytes::new() })
}

fn accept(call: &Call<'_>) -> HeaderValue {
    let xml = call.connection().format == Format::Xml;
    HeaderValue::from_static(if xml { "text/xml, application/xml" } else { "application/json" })
}

fn content_type(headers: &mut HeaderMap, value: &str) -> Result<(), Failure> {
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, header(value)?);
    }
    Ok(())
}

fn headers(ask: &HttpAsk, values: &Values<'_>) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, text) in &ask.headers {
        headers.insert(name, header(&text.filled(values)?)?);
    }
    Ok(headers)
}

/// Of the query or a form, not encoded.
fn parameters(template: &Parameters, values: &Values<'_>) -> Result<Vec<(String, String)>, Failure> {
    let mut all = Vec::new();
    for (name, text) in template {
        if let Some((Hole::Keys(None), _, cipher)) = text.only_hole() {
            match cipher {
                Some(cipher) => all.extend(values.sealed_keys(cipher)?.into_iter().map(|key| (name.to_string(), key))),
                None => all.extend(values.keys.iter().map(|key| (name.to_string(), key.to_string()))),
            }
        } else {
            all.push((name.to_string(), text.filled(values)?));
        }
    }
    Ok(all)
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

fn url(
    base: &str,
    ask: &HttpAsk,
    values: &Values<'_>,
    query: &[(String, String)],
    encoding: Encoding,
) -> Result<Url, Failure> {
    let mut url = base.to_owned();
    url.push_str(&path(&ask.path, values)?);
    if !query.is_empty() {
        url.push('?');
        url.push_str(&charset::parameters(query, encoding)?);
    }
    Url::parse(&url).map_err(|_| Failure::new(ErrorCode::Internal, "the request's address is none; see `base_url`"))
}

/// A value in a path is one segment: it cannot be empty (that would ask for the list), nor `.` or `..`.
fn path(template: &Text, values: &Values<'_>) -> Result<String, Failure> {
    for hole in template.holes() {
        if matches!(values.of(hole)?.as_ref(), "" | "." | "..") {
            return Err(Failure::new(ErrorCode::ValueInvalid, "a value is none that can stand in a path"));
        }
    }
    let mut out = String::new();
    template.fill(values, &mut out, &percent)?;
    Ok(out)
}
