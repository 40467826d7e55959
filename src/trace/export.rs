//! Spans, out to the collector: OTLP over HTTP. A request never waits for it; what there is no room for is dropped and
//! counted.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::Context;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use reqwest::Url;
use tokio::sync::mpsc;

use super::Counts;
use crate::egress::{self, Client, Http};
use crate::model::binding::connection::TlsFiles;
use crate::model::config::traces::TracesConfig;

/// Spans of one request to the collector.
const BATCH_MAX: usize = 512;
/// How long spans are gathered before they go out.
const GATHER: Duration = Duration::from_millis(500);
/// How long the collector may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A collector that goes on failing is told of again this often.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Takes spans as they end.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    counts: Arc<Counts>,
}

impl Queue {
    /// Begins to export, until the queue is dropped; with what is said of this gateway with each span.
    pub fn start(config: &TracesConfig, counts: &Arc<Counts>) -> Result<(Self, Resource), String> {
        let failed = |error: String| format!("traces cannot be exported: {error}");
        let authorities = config.ca.as_ref().map(|pem| pem.read().map(String::from_utf8));
        let ca = match authorities {
            Some(Ok(Ok(text))) => Some(crate::model::binding::connection::sign::Secret::new(text)),
            Some(_) => return Err(failed("`ca` cannot be read".to_owned())),
            None => None,
        };
        let tls = TlsFiles { ca, ..TlsFiles::default() };
        let http = Http::new(&tls, &Arc::new(config.egress.clone())).map_err(failed)?;
        let collector = Collector(http.to([config.url.as_str()]).map_err(failed)?);
        let headers: HashMap<String, String> =
            config.headers.iter().map(|(name, value)| (name.to_string(), value.reveal().to_owned())).collect();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_headers(headers)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&config.url)
            .with_timeout(TIMEOUT)
            .build();
        let mut exporter = exporter.map_err(|error| failed(error.to_string()))?;
        let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource =
            Resource::builder_empty().with_service_name(config.service.clone()).with_attribute(version).build();
        exporter.set_resource(&resource);
        let (spans, ended) = mpsc::channel(config.queue_max);
        tokio::spawn(export(exporter, ended, Arc::clone(counts)));
        Ok((Self { spans, counts: Arc::clone(counts) }, resource))
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.counts.waiting.fetch_add(1, Relaxed);
        if self.spans.try_send(span).is_err() {
            self.counts.waiting.fetch_sub(1, Relaxed);
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

async fn export(exporter: SpanExporter, mut ended: mpsc::Receiver<SpanData>, counts: Arc<Counts>) {
    let mut told: Option<Instant> = None;
    while let Some(first) = ended.recv().await {
        tokio::time::sleep(GATHER).await;
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(next) = ended.try_recv()
        {
            batch.push(next);
        }
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let sent = tokio::time::timeout(TIMEOUT, exporter.export(batch)).await;
        counts.waiting.fetch_sub(count, Relaxed);
        let error = match sent {
            Ok(Ok(())) => {
                counts.exported.fetch_add(count, Relaxed);
                if told.take().is_some() {
                    tracing::info!("the collector takes traces again");
                }
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it did not answer in time".to_owned(),
        };
        counts.dropped.fetch_add(count, Relaxed);
        if told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
            told = Some(Instant::now());
            tracing::warn!(error, "the collector does not take traces; they are dropped");
        }
    }
}

/// The way to the collector, and to nobody else.
#[derive(Debug)]
struct Collector(Client);

impl HttpClient for Collector {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let url = Url::parse(&parts.uri.to_string())?;
            let mut request = egress::request(parts.method, &url)?.body(body)?;
            request.headers_mut().extend(parts.headers);
            let answered = tokio::time::timeout(TIMEOUT, self.0.send(request)).await??;
            // What it says beside its status is not read.
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = answered.status();
            Ok(response)
        })
    }
}
