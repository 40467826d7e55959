//! A GraphQL server describes itself.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::Url;
use serde_json::{Value, json};

use super::super::{Stop, runtime};
use crate::base::fault::SourceText;
use crate::draft;
use crate::egress::{self, Client, Http, Unread};
use crate::model::binding::connection::TlsFiles;
use crate::model::config::egress::EgressConfig;

const DEADLINE: Duration = Duration::from_secs(30);
const BYTES_MAX: usize = 64 << 20;

/// The schema of the server at an address, asked at that host and nowhere else. A subgraph gives its own SDL; others
/// answer introspection.
pub fn ask(address: &str) -> Result<Arc<SourceText>, Stop> {
    let failed = |why: &str| {
        let hint = "save the schema to a file, and import that, where the server does not describe itself";
        Stop::failed(format!("error: {address} {why}\nhint: {hint}"))
    };
    let url = Url::parse(address).map_err(|_| failed("is not an address"))?;
    let http = Http::new(&TlsFiles::default(), &Arc::new(EgressConfig::default())).map_err(|why| failed(&why))?;
    let client = http.to([address]).map_err(|why| failed(&why))?;
    let asked = runtime()?.block_on(async {
        let mut last = "answers no introspection".to_owned();
        for question in draft::QUESTIONS {
            match tokio::time::timeout(DEADLINE, answer(&client, &url, question)).await {
                Ok(Ok(answer)) => match draft::introspected(&answer) {
                    Ok(sdl) => return Ok(sdl),
                    Err(why) => last = format!("does not describe itself: {why}"),
                },
                Ok(Err(why)) => last = why,
                Err(_) => return Err(format!("does not answer in {} seconds", DEADLINE.as_secs())),
            }
        }
        Err(last)
    });
    Ok(SourceText::new(address, asked.map_err(|why| failed(&why))?))
}

/// What the server says; the token of `SOURCE_TOKEN` goes with the question, if there is one.
async fn answer(client: &Client, url: &Url, question: &str) -> Result<Value, String> {
    let request = egress::request(http::Method::POST, url).map_err(|unfit| unfit.to_string())?;
    let mut request = request.header(CONTENT_TYPE, "application/json").header(ACCEPT, "application/json");
    if let Ok(token) = std::env::var("SOURCE_TOKEN") {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(json!({"query": question}).to_string().into()).map_err(|error| error.to_string())?;
    let answer = client.send(request).await.map_err(|error| format!("cannot be asked: {error}"))?;
    let (head, body) = answer.bytes(BYTES_MAX).await.map_err(|unread| match unread {
        Unread::TooLarge => format!("answers more than {BYTES_MAX} bytes"),
        unread => format!("breaks off: {unread}"),
    })?;
    let status = head.status.as_u16();
    serde_json::from_slice(&body).map_err(|_| format!("answers with HTTP status {status} and no JSON"))
}
