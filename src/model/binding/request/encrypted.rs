//! What of requests and records is encrypted, and with which ciphers.

use std::sync::Arc;

use super::template::Text;
use super::{Ask, Body, CallTemplate, HttpAsk};
use crate::base::pointer::Pointer;

impl HttpAsk {
    /// The names of the ciphers it is made with.
    fn ciphers(&self) -> Vec<&Arc<str>> {
        let texts = self.query.iter().map(|(_, text)| text).chain(self.headers.iter().map(|(_, text)| text));
        let mut all: Vec<&Arc<str>> = std::iter::once(&self.path).chain(texts).flat_map(Text::ciphers).collect();
        match &self.body {
            Some(Body::Json(node)) => all.extend(node.ciphers()),
            Some(Body::Form(form)) => all.extend(form.iter().flat_map(|(_, text)| text.ciphers())),
            Some(Body::Xml(xml)) => all.extend(xml.ciphers()),
            None => {}
        }
        all
    }
}

impl CallTemplate {
    /// Values of records, by their places, are encrypted.
    pub fn with_encrypted(mut self, mut places: Vec<(Pointer, Arc<str>)>) -> Self {
        self.fallback = self.fallback.map(|fallback| Arc::new(Self::clone(&fallback).with_encrypted(places.clone())));
        if let Some((at, cipher)) = self.reading.item_key.clone().zip(self.key_cipher.clone()) {
            places.retain(|(place, _)| *place != at);
            places.push((at, cipher));
        }
        self.encrypted = places.into();
        self
    }

    /// The listing's answers tell at this place of their data how many there are in all.
    pub fn with_total(mut self, at: Pointer) -> Self {
        self.fallback = self.fallback.map(|fallback| Arc::new(Self::clone(&fallback).with_total(at.clone())));
        self.reading.total = Some(at);
        self
    }

    /// Where values of records are encrypted, and with which cipher; places in lists left out.
    pub fn encrypted(&self) -> &[(Pointer, Arc<str>)] {
        &self.encrypted
    }

    /// The cipher that keys of records are told in.
    pub fn key_cipher(&self) -> Option<&Arc<str>> {
        self.key_cipher.as_ref()
    }

    /// The ciphers that its requests are made with: of the request, and of the poll for a ticket.
    pub fn sealed_with(&self) -> [Vec<&Arc<str>>; 2] {
        let ask = match &self.ask {
            Ask::Http(ask) => ask.ciphers(),
            Ask::Graphql(_) | Ask::Sql(_) | Ask::Audit(_) => Vec::new(),
        };
        [ask, self.ticket().map(|ticket| ticket.poll.ciphers()).unwrap_or_default()]
    }
}
