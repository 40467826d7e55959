//! SOAP 1.1: the envelope around a request, the body inside an answer, faults.

use super::connector::Call;
use super::failure::{Failure, redacted};
use super::{charset, json};
use crate::base::code::ErrorCode;
use crate::base::pointer::Pointer;
use crate::model::binding::format::Encoding;

pub(crate) fn declared(inside: &str, encoding: Encoding) -> String {
    format!("<?xml version=\"1.0\" encoding=\"{}\"?>{inside}", charset::name(encoding))
}

pub(crate) fn envelope(inside: &str, encoding: Encoding) -> String {
    let envelope = format!(
        "<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body>{inside}</soap:Body>\
         </soap:Envelope>"
    );
    declared(&envelope, encoding)
}

/// What stands in the answer's `Body`, as a JSON object; a fault is the source's error.
pub(crate) fn body(answer: &[u8], call: &Call<'_>) -> Result<String, Failure> {
    let text = json::check(answer)?;
    if let Some(fault) = fault(text.as_bytes(), call) {
        return Err(fault);
    }
    match json::find(text, &at("/Envelope/Body"))? {
        Some(body) if body.starts_with('{') => Ok(body.to_owned()),
        Some(_) => Ok("{}".to_owned()),
        None if json::find(text, &at("/Envelope"))?.is_some() => {
            Err(Failure::bad("the SOAP envelope of the answer has no Body"))
        }
        None => Err(Failure::bad("the answer is not a SOAP envelope")),
    }
}

/// The fault of an answer (its XML as JSON), if it is one.
pub(crate) fn fault(answer: &[u8], call: &Call<'_>) -> Option<Failure> {
    let text = json::check(answer).ok()?;
    let fault = json::find(text, &at("/Envelope/Body/Fault")).ok()??;
    let part = |pointer: &str| {
        let found = json::find(fault, &at(pointer)).ok().flatten()?;
        json::text(found).ok().map(|text| redacted(&text, call.fetch.keys, call.fetch.inputs))
    };
    let code = part("/faultcode").unwrap_or_default();
    let message = part("/faultstring").unwrap_or_default();
    Some(Failure::new(ErrorCode::SourceError, format!("SOAP fault {code}: {message}")))
}

/// Pointers written in this file are good ones.
fn at(pointer: &str) -> Pointer {
    Pointer::parse(pointer).unwrap_or_default()
}
