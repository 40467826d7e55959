//! One request of a source, compiled: paths split, placeholders parsed, names checked.

mod encrypted;
pub mod format;
pub mod graphql;
pub mod pages;
pub mod reading;
pub mod template;
pub mod ticket;
mod times;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::HeaderName;

use super::format::{Envelope, KeyType, Protocol, Request, Scalar};
use crate::base::fault::{Faults, Place, SourceText};
use crate::base::pointer::Pointer;
use crate::model::yaml::{self, Spanned};
use graphql::{GraphqlAsk, GraphqlField, GraphqlVariable, is_name, is_type, names_fields};
pub use pages::{Counted, PageBy, PageTemplate};
use reading::{Condition, Reading};
use template::{Hole, Node, Text, XmlText};
pub use ticket::TicketTemplate;
use times::Times;

const BATCH_DEFAULT: usize = 100;
const BATCH_MAX: usize = 5_000;

/// A compiled request template; see [`Request`] for what each part means.
#[derive(Debug, Clone)]
pub struct CallTemplate {
    pub many: bool,
    pub ask: Ask,
    pub reading: Reading,
    batch_max: usize,
    inputs: Box<[Arc<str>]>,
    page: Option<PageTemplate>,
    times: Times,
    /// Which of the connection's standbys is asked; absent: its own address.
    standby: Option<usize>,
    fallback: Option<Arc<CallTemplate>>,
    ticket: Option<Arc<TicketTemplate>>,
    encrypted: Arc<[(Pointer, Arc<str>)]>,
    key_cipher: Option<Arc<str>>,
}

#[derive(Debug, Clone)]
pub enum Ask {
    /// REST, and SOAP where `soap` is there.
    Http(Box<HttpAsk>),
    Graphql(GraphqlAsk),
    Sql(SqlAsk),
    Audit(AuditAsk),
}

/// Names and values, of the query or a form.
pub type Parameters = Box<[(Box<str>, Text)]>;

#[derive(Debug, Clone)]
pub struct HttpAsk {
    pub post: bool,
    pub path: Text,
    pub query: Parameters,
    pub headers: Box<[(HeaderName, Text)]>,
    pub body: Option<Body>,
    /// SOAP 1.1: the `SOAPAction`, perhaps empty.
    pub soap: Option<Box<str>>,
}

#[derive(Debug, Clone)]
pub enum Body {
    Json(Node),
    /// `application/x-www-form-urlencoded`.
    Form(Parameters),
    Xml(XmlText),
}

#[derive(Debug, Clone)]
pub struct SqlAsk {
    /// Quoted, schema and all.
    pub view: Box<str>,
    /// Not quoted; absent: every row (a listing).
    pub key_column: Option<Box<str>>,
    pub key_type: KeyType,
}

/// The audit records of entities.
#[derive(Debug, Clone)]
pub struct AuditAsk {
    /// The entity type, as it stands in the records.
    pub entity: Arc<str>,
}

impl HttpAsk {
    /// Its placeholders, but for those of an XML body.
    fn holes(&self) -> Vec<Hole> {
        let texts = self.query.iter().map(|(_, text)| text).chain(self.headers.iter().map(|(_, text)| text));
        let mut all: Vec<Hole> = self.path.holes().chain(texts.flat_map(Text::holes)).cloned().collect();
        match &self.body {
            Some(Body::Json(node)) => all.extend(node.holes()),
            Some(Body::Form(form)) => all.extend(form.iter().flat_map(|(_, text)| text.holes()).cloned()),
            Some(Body::Xml(_)) | None => {}
        }
        all
    }
}

impl CallTemplate {
    /// What stands between keys that are written into one text: a key that holds it is left out.
    pub fn separators(&self) -> Vec<String> {
        let Ask::Http(ask) = &self.ask else { return Vec::new() };
        let mut holes = ask.holes();
        if let Some(Body::Xml(xml)) = &ask.body {
            holes.extend(xml.holes().cloned());
        }
        let separator = |hole: Hole| match hole {
            Hole::Keys(Some(separator)) if !separator.is_empty() => Some(separator.to_string()),
            _ => None,
        };
        holes.into_iter().filter_map(separator).collect()
    }

    /// `None` where faults were added. `many`: the request is asked with several keys at once.
    pub fn compile(
        request: &Spanned<Request>,
        protocol: Protocol,
        many: bool,
        envelope: Option<&Envelope>,
        text: &Arc<SourceText>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let before = faults.len();
        let mut compiler = Compiler { request: &request.value, at: yaml::span(request), protocol, many, text, faults };
        compiler.strangers(envelope);
        let ask = compiler.ask();
        let envelope = envelope.filter(|_| !names_fields(protocol));
        let reading = Reading::compile(&request.value, envelope, text, compiler.faults);
        let page = compiler.page();
        let ticket = compiler.ticket();
        let batch_max = compiler.batch_max();
        let inputs = ask.as_ref().map(|ask| {
            compiler.keyed(ask);
            compiler.holes(ask)
        });
        compiler.no_ticket_yet(inputs.as_deref().unwrap_or_default());
        let (ask, mut reading, inputs) = (ask?, reading?, inputs?);
        if let Ask::Graphql(GraphqlAsk::Entities { key, .. }) = &ask {
            reading.item_key = reading.item_key.or_else(|| Pointer::parse(&format!("/{key}")).ok());
        }
        if faults.len() > before {
            return None;
        }
        let (ticket, of_poll) = ticket.unzip();
        let mut inputs: BTreeSet<Arc<str>> = inputs.into_iter().collect();
        inputs.extend(of_poll.into_iter().flatten());
        let inputs = inputs.into_iter().collect();
        let key_cipher = request.value.key_cipher.as_ref().map(|cipher| Arc::from(cipher.value.as_str()));
        Some(Self {
            many,
            ask,
            reading,
            batch_max,
            inputs,
            page,
            times: Times::default(),
            standby: None,
            fallback: None,
            ticket: ticket.map(Arc::new),
            encrypted: Arc::default(),
            key_cipher,
        })
    }

    /// The entity type whose records are asked for.
    pub fn of_entity(mut self, entity: &Arc<str>) -> Self {
        if let Ask::Audit(ask) = &mut self.ask {
            ask.entity = Arc::clone(entity);
        }
        self
    }

    /// Where a record tells its key, for a single read that does not say so itself: a record of another key is then no
    /// answer. SQL asks for the key's rows alone.
    pub fn with_key_at(mut self, at: Option<&Pointer>) -> Self {
        if !self.many && self.reading.item_key.is_none() && !matches!(self.ask, Ask::Sql(_) | Ask::Audit(_)) {
            self.reading.item_key = at.cloned();
        }
        self.fallback = self.fallback.map(|fallback| Arc::new(Self::clone(&fallback).with_key_at(at)));
        self
    }

    /// The same request, made at one of the connection's standbys.
    pub fn at_standby(mut self, standby: Option<usize>) -> Self {
        self.standby = standby;
        self
    }

    /// Asked instead where this one is not answered, or with an answer for which `on` holds.
    pub fn with_fallback(mut self, fallback: Self, on: Option<Condition>) -> Self {
        self.fallback = Some(Arc::new(fallback));
        self.reading.elsewhere = on;
        self
    }

    pub fn standby(&self) -> Option<usize> {
        self.standby
    }

    pub fn fallback(&self) -> Option<&Arc<Self>> {
        self.fallback.as_ref()
    }

    /// Its answer is a ticket.
    pub fn ticket(&self) -> Option<&TicketTemplate> {
        self.ticket.as_deref()
    }

    /// Keys one call takes at most; 1 where the request takes one key.
    pub fn batch_max(&self) -> usize {
        self.batch_max
    }

    /// GraphQL and SQL: only wanted fields are named upstream.
    pub fn selects_fields(&self) -> bool {
        matches!(self.ask, Ask::Graphql(_) | Ask::Sql(_))
    }

    /// Names of the placeholders beside the keys and the date, as `name` and `arg.name`; each once, sorted.
    pub fn needs_inputs(&self) -> &[Arc<str>] {
        &self.inputs
    }

    pub fn page(&self) -> Option<&PageTemplate> {
        self.page.as_ref()
    }
}

struct Compiler<'a> {
    request: &'a Request,
    at: Place,
    protocol: Protocol,
    many: bool,
    text: &'a Arc<SourceText>,
    faults: &'a mut Faults,
}

impl Compiler<'_> {
    fn fault(&mut self, at: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.add(self.text, at, message, hint);
    }

    /// Keys of another protocol.
    fn strangers(&mut self, envelope: Option<&Envelope>) {
        let r = self.request;
        let http = matches!(self.protocol, Protocol::Rest | Protocol::Soap);
        let graphql = self.protocol == Protocol::Graphql;
        let used: [(&str, bool, bool); 15] = [
            ("get", r.get.is_some(), self.protocol == Protocol::Rest),
            ("post", r.post.is_some(), http),
            ("query", !r.query.is_empty(), self.protocol == Protocol::Rest),
            ("headers", !r.headers.is_empty(), http),
            ("body", r.body.is_some(), self.protocol == Protocol::Rest),
            ("form", r.form.is_some(), self.protocol == Protocol::Rest),
            ("xml", r.xml.is_some(), http),
            ("action", r.action.is_some(), self.protocol == Protocol::Soap),
            ("field", r.field.is_some(), graphql),
            ("argument", r.argument.is_some(), graphql),
            ("aliases", r.aliases, graphql),
            ("constants", !r.constants.is_empty(), graphql),
            ("entities", r.entities.is_some(), graphql),
            ("view", r.view.is_some() || r.key_column.is_some(), self.protocol == Protocol::Sql),
            ("key_type", r.key_type.is_some(), self.protocol == Protocol::Sql),
        ];
        for (name, present, allowed) in used {
            if present && !allowed {
                let message = format!("`{name}` means nothing to a source with protocol {}", name_of(self.protocol));
                self.fault(self.at, message, "take it out, or correct `protocol`");
            }
        }
        let reads =
            r.items.is_some() || r.item_key.is_some() || r.items_by_key || r.columns.is_some() || r.pages.is_some();
        if self.protocol == Protocol::Audit && (reads || envelope.is_some()) {
            let message = "the gateway's own records are read as they are: one record an entry";
            self.fault(self.at, message, "write `many: {}`; see the reference for what an entry holds");
        }
        if names_fields(self.protocol) && envelope.is_some() {
            let message = format!("a {} source has no envelope", name_of(self.protocol));
            self.fault(self.at, message, "take `envelope` out; pointers start at the field's value, or at the row");
        }
    }

    fn ask(&mut self) -> Option<Ask> {
        match self.protocol {
            Protocol::Rest | Protocol::Soap => self.http().map(|ask| Ask::Http(Box::new(ask))),
            Protocol::Graphql => self.graphql().map(Ask::Graphql),
            Protocol::Sql => self.sql().map(Ask::Sql),
            Protocol::Audit => Some(Ask::Audit(AuditAsk { entity: "".into() })),
        }
    }

    fn http(&mut self) -> Option<HttpAsk> {
        let r = self.request;
        let soap = self.protocol == Protocol::Soap;
        let (post, path) = match (&r.get, &r.post) {
            (Some(get), None) => (false, get.value.as_str()),
            (None, Some(post)) => (true, post.value.as_str()),
            (None, None) if soap => (true, ""),
            _ => {
                self.fault(self.at, "the request has not exactly one of `get` and `post`", "write `get: /path`");
                return None;
            }
        };
        if path.contains('?') {
            self.fault(self.at, format!("the path `{path}` has parameters"), "write parameters under `query`");
        }
        if !path.is_empty() && !path.starts_with('/') {
            self.fault(self.at, format!("the path `{path}` does not start with `/`"), "it is relative to `base_url`");
        }
        let path = Text::parse(path);
        if path.holes().any(|hole| *hole == Hole::Keys(None)) {
            self.fault(self.at, "`{keys}` in a path needs a separator", "write `{keys:,}`");
        }
        let query = parameters(&r.query);
        let headers = self.headers();
        let body = self.body(post);
        let action = if soap { Some(r.action.as_deref().unwrap_or_default().into()) } else { None };
        Some(HttpAsk { post, path, query, headers, body, soap: action })
    }

    fn headers(&mut self) -> Box<[(HeaderName, Text)]> {
        let mut headers = Vec::new();
        for (name, value) in &self.request.headers {
            match super::headers::name(name) {
                Ok(name) => headers.push((name, Text::parse(&value.value))),
                Err((message, hint)) => self.fault(yaml::span(value), message, hint),
            }
        }
        headers.into()
    }

    fn body(&mut self, post: bool) -> Option<Body> {
        let r = self.request;
        if !post && (r.body.is_some() || r.xml.is_some()) {
            self.fault(self.at, "a `get` has no body", "write `post: /path`");
        }
        if let Some(form) = r.form.as_ref().filter(|_| !post) {
            let hint = "write `post: /path`; parameters of a `get` stand under `query`";
            self.fault(yaml::span(form), "a `get` has no form", hint);
        }
        if self.protocol == Protocol::Soap && r.xml.is_none() {
            self.fault(self.at, "the request has no `xml`", "write what stands inside `soap:Body`");
        }
        let second = match (&r.body, &r.form, &r.xml) {
            (Some(_), Some(form), _) => Some((yaml::span(form), "the request has both `body` and `form`")),
            (Some(_), None, Some(xml)) => Some((yaml::span(xml), "the request has both `body` and `xml`")),
            (None, Some(form), Some(_)) => Some((yaml::span(form), "the request has both `form` and `xml`")),
            _ => None,
        };
        if let Some((at, wrong)) = second {
            let hint = "a request has one body: `body` is JSON, `form` is what forms send, `xml` is XML";
            self.fault(at, wrong, hint);
        }
        let body = match (&r.body, &r.form, &r.xml) {
            (Some(body), _, _) => Node::parse(&body.value).map(Body::Json).map_err(|wrong| (yaml::span(body), wrong)),
            (None, Some(form), _) => Ok(Body::Form(parameters(&form.value))),
            (None, None, Some(xml)) => {
                XmlText::parse(&xml.value).map(Body::Xml).map_err(|wrong| (yaml::span(xml), wrong))
            }
            (None, None, None) => return None,
        };
        body.map_err(|(at, wrong)| self.fault(at, wrong, "")).ok()
    }

    fn graphql(&mut self) -> Option<GraphqlAsk> {
        let r = self.request;
        if let Some(entities) = &r.entities {
            if r.field.is_some() || r.argument.is_some() || r.aliases || !r.constants.is_empty() {
                self.fault(self.at, "`entities` goes without `field`, `argument`, `aliases` and `constants`", "");
            }
            if !is_name(&entities.typename) || !is_name(&entities.key) {
                self.fault(self.at, "`entities` needs a GraphQL type name and a field name", "");
                return None;
            }
            let (typename, key) = (entities.typename.as_str().into(), entities.key.as_str().into());
            return Some(GraphqlAsk::Entities { typename, key });
        }
        let Some(field) = &r.field else {
            self.fault(self.at, "the request names no root field", "write `field: students`, or `entities`");
            return None;
        };
        if !is_name(&field.value) {
            self.fault(yaml::span(field), format!("`{}` is not a GraphQL name", field.value), "");
            return None;
        }
        let field = GraphqlField { name: field.value.as_str().into(), constants: self.constants() };
        let Some(argument) = &r.argument else {
            if self.many {
                self.fault(self.at, "`many` needs the argument that takes the keys", "write `argument: {name, type}`");
            }
            return Some(GraphqlAsk::Plain { field });
        };
        if !is_name(&argument.name) || !is_type(&argument.kind) {
            self.fault(self.at, "`argument` needs a name and a type as in a document", "such as `\"[String!]!\"`");
            return None;
        }
        let kind = argument.kind.as_str();
        let list = kind.trim_start().starts_with('[');
        if self.many && list == r.aliases {
            let hint = if list { "write the type of one key" } else { "write a list type, or `aliases: true`" };
            self.fault(self.at, format!("the argument's type `{kind}` does not take the keys"), hint);
        }
        let argument = GraphqlVariable::new(&argument.name, kind);
        Some(match self.many && r.aliases {
            true => GraphqlAsk::Aliases { field, argument },
            false => GraphqlAsk::Argument { field, argument },
        })
    }

    fn sql(&mut self) -> Option<SqlAsk> {
        let r = self.request;
        let Some(view) = &r.view else {
            self.fault(self.at, "the request names no view", "write `view: v_houses`");
            return None;
        };
        let parts: Option<Vec<String>> = view.value.split('.').map(quoted_identifier).collect();
        let Some(parts) = parts.filter(|parts| parts.len() <= 3) else {
            let message = format!("`{}` is not the name of a view", view.value);
            self.fault(
                yaml::span(view),
                message,
                "letters, digits and `_`, perhaps with the schema: `public.v_houses`",
            );
            return None;
        };
        let key_column = r.key_column.as_ref();
        if let Some(column) = key_column.filter(|column| quoted_identifier(&column.value).is_none()) {
            self.fault(yaml::span(column), format!("`{}` is not the name of a column", column.value), "");
        }
        if self.many && key_column.is_none() {
            self.fault(self.at, "the request has no `key_column`", "name the column that holds the key");
        }
        let key_type = r.key_type.as_ref();
        if let Some(of) = key_type.filter(|_| key_column.is_none()) {
            self.fault(yaml::span(of), "`key_type` is of a `key_column`", "name the column that holds the key");
        }
        Some(SqlAsk {
            view: parts.join(".").into(),
            key_column: key_column.map(|column| column.value.as_str().into()),
            key_type: key_type.map_or(KeyType::Text, |of| of.value),
        })
    }

    fn batch_max(&mut self) -> usize {
        match self.request.batch_max {
            _ if !self.many => 1,
            Some(n) if (1..=BATCH_MAX).contains(&n) => n,
            None => BATCH_DEFAULT,
            Some(_) => {
                self.fault(self.at, format!("`batch_max` is between 1 and {BATCH_MAX}"), "");
                BATCH_DEFAULT
            }
        }
    }

    /// In `many` every record must tell its key.
    fn keyed(&mut self, ask: &Ask) {
        let reading = self.request;
        let by_itself = matches!(
            ask,
            Ask::Sql(_) | Ask::Audit(_) | Ask::Graphql(GraphqlAsk::Aliases { .. } | GraphqlAsk::Entities { .. })
        );
        if self.many && !by_itself && reading.item_key.is_none() && !reading.items_by_key {
            let hint = "write `item_key: /id` (where each record holds its key), or `items_by_key: true`";
            self.fault(self.at, "`many` does not say which key a record belongs to", hint);
        }
        if reading.items_by_key && reading.columns.is_some() {
            self.fault(self.at, "`items_by_key` and `columns` exclude each other", "");
        }
    }

    /// Checks where keys stand, and gives the names of all inputs.
    fn holes(&mut self, ask: &Ask) -> Box<[Arc<str>]> {
        let mut all: Vec<Hole> = Vec::new();
        if let Ask::Http(http) = ask {
            all.extend(http.holes());
            let mut outer_key = all.contains(&Hole::Key);
            if let Some(Body::Xml(xml)) = &http.body {
                outer_key |= xml.outer_holes().any(|hole| *hole == Hole::Key);
                all.extend(xml.holes().cloned());
                if xml.repeats() {
                    all.push(Hole::Keys(None));
                }
            }
            let keys = all.iter().any(|hole| matches!(hole, Hole::Keys(_)));
            if self.many && (outer_key || !keys) {
                let hint = "write `{keys}`, or in XML `{#keys}…{key}…{/keys}`";
                self.fault(self.at, "`many` does not ask with all keys", hint);
            }
        }
        let inputs: BTreeSet<Arc<str>> = all
            .into_iter()
            .filter_map(|hole| match hole {
                Hole::Input(name) => Some(name),
                _ => None,
            })
            .collect();
        inputs.into_iter().collect()
    }
}

fn parameters(written: &BTreeMap<String, Spanned<Scalar>>) -> Parameters {
    written.iter().map(|(name, value)| (name.as_str().into(), Text::parse(&value.value.0))).collect()
}

fn name_of(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Rest => "rest",
        Protocol::Graphql => "graphql",
        Protocol::Soap => "soap",
        Protocol::Sql => "sql",
        Protocol::Audit => "audit",
    }
}

/// Letters (of any script), digits and `_`, at most 128 characters, quoted as the SQL standard says.
pub fn quoted_identifier(name: &str) -> Option<String> {
    let fits = !name.is_empty()
        && name.chars().count() <= 128
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
        && !name.starts_with(|c: char| c.is_numeric());
    fits.then(|| format!("\"{name}\""))
}
