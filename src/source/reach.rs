//! Where a source is asked over HTTP: its client, its addresses taken apart, and the headers that every request there has.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{ACCEPT, HeaderName, HeaderValue};

use crate::egress::{Address, Client, Http};
use crate::model::binding::connection::Connection;
use crate::model::binding::connection::sign::Secret;
use crate::model::binding::format::{Format, Protocol};

#[derive(Debug)]
pub(crate) struct Reach {
    pub client: Client,
    #[expect(dead_code, reason = "kept for as long as the client is used")]
    http: Arc<Http>,
    own: Target,
    standbys: Box<[Target]>,
}

/// One address.
#[derive(Debug)]
pub(crate) struct Target {
    pub address: Address,
    /// With those of the binding, over which no request's own goes.
    pub headers: HeaderMap,
}

impl Reach {
    /// The error names no address.
    pub fn new(connection: &Connection, client: Client, http: Arc<Http>) -> Result<Self, String> {
        let target = |url| Target::new(connection, url);
        let standbys: Result<Box<[Target]>, String> = connection.standbys.iter().map(target).collect();
        Ok(Self { client, http, own: target(&connection.base_url)?, standbys: standbys? })
    }

    /// The source's own address, or one of its standbys.
    pub fn target(&self, standby: Option<usize>) -> &Target {
        standby.and_then(|at| self.standbys.get(at)).unwrap_or(&self.own)
    }
}

impl Target {
    fn new(connection: &Connection, url: &Secret) -> Result<Self, String> {
        let address = Address::parse(url.reveal()).map_err(|unfit| unfit.to_string())?;
        let mut headers = address.headers().clone();
        headers.insert(ACCEPT, accept(connection));
        for (name, value) in &connection.headers {
            headers.insert(name, value.clone());
        }
        Ok(Self { address, headers })
    }
}

fn accept(connection: &Connection) -> HeaderValue {
    HeaderValue::from_static(match (connection.protocol, connection.format) {
        (Protocol::Graphql, _) => "application/graphql-response+json, application/json;q=0.9",
        (_, Format::Xml) => "text/xml, application/xml",
        _ => "application/json",
    })
}

/// Whether the binding says what it is in all requests.
pub(crate) fn is_own(connection: &Connection, name: &HeaderName) -> bool {
    connection.headers.iter().any(|(own, _)| own == name)
}
