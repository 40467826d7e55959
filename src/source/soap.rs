//! SOAP 1.1: the envelope around a request, the body inside an answer, faults.

use super::connector::Call;
use super::failure::{Failure, redacted};
use super::{charset, json};
use crate::base::code::ErrorCode;
use crate::base::json::JsonValue;
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
pub(crate) fn body(answer: String, call: &Call<'_>) -> Result<String, Failure> {
    let answer = json::read(answer)?;
    if let Some(fault) = told(answer.root(), call) {
        return Err(fault);
    }
    match json::find(answer.root(), &at("/Envelope/Body")) {
        Some(body) if body.is_object() => Ok(body.raw().to_owned()),
        Some(_) => Ok("{}".to_owned()),
        None if json::find(answer.root(), &at("/Envelope")).is_some() => {
            Err(Failure::bad("the SOAP envelope of the answer has no Body"))
        }
        None => Err(Failure::bad("the answer is not a SOAP envelope")),
    }
}

/// The fault of an answer (its XML as JSON), if it is one.
pub(crate) fn fault(answer: String, call: &Call<'_>) -> Option<Failure> {
    told(json::read(answer).ok()?.root(), call)
}

fn told(answer: JsonValue<'_>, call: &Call<'_>) -> Option<Failure> {
    let fault = json::find(answer, &at("/Envelope/Body/Fault"))?;
    let part = |pointer: &str| {
        let found = json::find(fault, &at(pointer))?;
        json::text(found).ok().map(|text| redacted(&text, call.fetch.keys, call.fetch.inputs))
    };
    let code = part("/faultcode").unwrap_or_default();
    let message = part("/faultstring").unwrap_or_default();
    let detail = match standard(&code) {
        Some(code) => format!("the source answered with a SOAP fault ({code})"),
        None => "the source answered with a SOAP fault".to_owned(),
    };
    Some(Failure::new(ErrorCode::SourceError, detail).saying(Some(format!("{code}: {message}"))))
}

/// A code of the standard, by its name without a prefix; `Client.Authentication` is one of `Client`'s. Others may hold
/// anything.
fn standard(code: &str) -> Option<&'static str> {
    let code = code.rsplit(':').next()?.split('.').next()?;
    ["VersionMismatch", "MustUnderstand", "Client", "Server"].into_iter().find(|known| *known == code)
}

/// Pointers written in this file are good ones.
fn at(pointer: &str) -> Pointer {
    Pointer::parse(pointer).unwrap_or_default()
}
