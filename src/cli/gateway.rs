//! A running gateway's own API, asked from the command line.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode, response};
use reqwest::Url;
use serde_json::{Value, json};

use super::Stop;
use super::holder::HolderArgs;
use crate::egress::{self, Client, Http, Unanswered, Unread};
use crate::model::binding::connection::TlsFiles;
use crate::model::binding::connection::sign::Secret;
use crate::model::config::egress::EgressConfig;
use crate::source::{Hindrance, Settings, reason};

/// Longer than the gateway takes for any request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER_MAX: usize = 32 << 20;

const WHERE: &str = "say where it is: --gateway URL, or HUXIANG_GATEWAY";
/// How this command's options are called.
const SETTINGS: Settings =
    Settings { authority: "--ca FILE", address: "--gateway URL", client: "this command shows none" };
/// Fields of the admin API that its messages name, and what shows the same here.
const COMMANDS: [(&str, &str); 1] = [("`sourceVersions`", "`huxiang source versions SOURCE`")];

/// Which gateway, and who asks it.
#[derive(Debug, Args)]
pub struct GatewayArgs {
    /// Where the gateway is; without it, the variable HUXIANG_GATEWAY, or http://127.0.0.1:8080
    #[arg(long, visible_alias = "url", value_name = "URL")]
    gateway: Option<String>,
    /// PEM of the authorities of the gateway's certificate, where they are not the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
    #[command(flatten)]
    holder: HolderArgs,
}

impl GatewayArgs {
    /// What the admin API answers: its `data`. An error of its own ends the command: 1, where it was refused.
    pub fn ask(&self, query: &str, variables: Value) -> Result<Value, Stop> {
        let token = self.holder.token()?;
        let body = json!({ "query": query, "variables": variables }).to_string();
        let door = self.door("admin/graphql", &token)?;
        let asked = super::runtime()?.block_on(door.post(&[], body, TIMEOUT));
        let (head, bytes) = asked.map_err(|unanswered| unanswered.stop)?;
        let status = head.status;
        let not_json = |_| {
            let hint = match status {
                StatusCode::NOT_FOUND => {
                    "a gateway answers so without `admin` in its config/gateway.yaml; else --gateway URL says where one is"
                }
                _ => WHERE,
            };
            let (url, status) = (self.url(), status.as_u16());
            Stop::failed(format!(
                "error: what answers at {url} (HTTP status {status}) is no admin API\n  = hint: {hint}"
            ))
        };
        let answer: Value = serde_json::from_slice(&bytes).map_err(not_json)?;
        let errors = answer.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if errors.is_empty() {
            return Ok(answer.get("data").cloned().unwrap_or_default());
        }
        let told = |error: &Value| {
            let message = error.get("message").and_then(Value::as_str).unwrap_or("an error");
            COMMANDS.iter().fold(message.to_owned(), |told, (field, command)| told.replace(field, command))
        };
        let messages: Vec<String> = errors.iter().map(|error| format!("error: {}", told(error).trim_end())).collect();
        Err(Stop::refused(messages.join("\n")))
    }

    fn url(&self) -> String {
        let set = || std::env::var("HUXIANG_GATEWAY").ok();
        self.gateway.clone().or_else(set).unwrap_or_else(|| "http://127.0.0.1:8080".to_owned())
    }

    /// The token of whoever asks.
    pub fn token(&self) -> Result<String, Stop> {
        self.holder.token()
    }

    /// One of the gateway's addresses, to be asked with a token as often as it takes.
    pub fn door(&self, path: &str, token: &str) -> Result<Door, Stop> {
        let base = self.url();
        let base = base.trim_end_matches('/');
        let base = base.strip_suffix("/graphql").unwrap_or(base).to_owned();
        let failed = |error: &dyn std::fmt::Display| cannot_ask(&base, error);
        let url = Url::parse(&format!("{base}/{path}")).map_err(|error| failed(&error))?;
        let unread = |path: &Path, error| Stop::failed(format!("error: {} cannot be read: {error}", path.display()));
        let ca = self.ca.as_ref().map(|path| std::fs::read_to_string(path).map_err(|error| unread(path, error)));
        let tls = TlsFiles { ca: ca.transpose()?.map(Secret::new), ..TlsFiles::default() };
        let http = Http::new(&tls, &Arc::new(EgressConfig::default())).map_err(|error| failed(&error))?;
        let client = http.to(std::iter::once(url.as_str())).map_err(|error| failed(&error))?;
        Ok(Door { base, url, client, token: token.to_owned() })
    }
}

/// An address of a gateway, and the token it is asked with.
pub struct Door {
    base: String,
    url: Url,
    client: Client,
    token: String,
}

/// Why a gateway did not answer.
pub struct Silent {
    pub stop: Stop,
    /// It may answer another time: nothing in the request or the settings is at fault.
    pub passes: bool,
}

/// A name or a certificate is as wrong the next time.
fn passes(error: &Unanswered) -> bool {
    !matches!(reason(error, &SETTINGS), Some((Hindrance::Name | Hindrance::Tls, _)))
}

fn cannot_ask(base: &str, error: &dyn std::fmt::Display) -> Stop {
    Stop::failed(format!("error: the gateway at {base} cannot be asked: {error}\n  = hint: {WHERE}"))
}

impl Door {
    /// Posts a body of JSON, with these headers beside the token.
    pub async fn post(
        &self,
        headers: &[(&'static str, &'static str)],
        body: String,
        timeout: Duration,
    ) -> Result<(response::Parts, Bytes), Silent> {
        let unfit = |error: &dyn std::fmt::Display| Silent { stop: cannot_ask(&self.base, error), passes: false };
        let passing = |error: &dyn std::fmt::Display| Silent { stop: cannot_ask(&self.base, error), passes: true };
        let request = egress::request(Method::POST, &self.url).map_err(|error| unfit(&error))?;
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.header("content-type", "application/json").body(body.into());
        let request = request.map_err(|error| unfit(&error))?;
        let asked = async {
            let sent = self.client.send(request).await;
            let answer = sent.map_err(|error| Silent { stop: self.unreached(&error), passes: passes(&error) })?;
            answer.bytes(ANSWER_MAX).await.map_err(|error| match error {
                Unread::TooLarge => unfit(&error),
                Unread::Cut | Unread::Broken => passing(&error),
            })
        };
        let late = |_| passing(&format!("no answer within {} s", timeout.as_secs()));
        tokio::time::timeout(timeout, asked).await.map_err(late)?
    }

    /// Why there is no answer, and the way out.
    fn unreached(&self, error: &Unanswered) -> Stop {
        let (why, hint) = match reason(error, &SETTINGS) {
            Some((Hindrance::Refused, why)) => (why, format!("start it (`huxiang serve`), or {WHERE}")),
            Some((Hindrance::Name, why)) => (why, WHERE.to_owned()),
            Some((Hindrance::Tls, why)) => (why, format!("--ca FILE names its certificate's authority; {WHERE}")),
            None if error.is_connect() => ("no connection is made".to_owned(), WHERE.to_owned()),
            None if matches!(error, Unanswered::Failed(_)) && self.base.starts_with("http://") => {
                let why = "it closed the connection, or does not speak HTTP there: is it `https://`?";
                (why.to_owned(), WHERE.to_owned())
            }
            None => ("it closed the connection".to_owned(), WHERE.to_owned()),
        };
        Stop::failed(format!("error: the gateway at {} cannot be reached: {why}\n  = hint: {hint}", self.base))
    }
}
