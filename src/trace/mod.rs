//! Traces of requests, for whoever runs the gateway: how long its steps and its calls to sources took, and how each ended.
//!
//! A span holds what the files declare (sources, endpoints, roles), codes, counts and times, and keyed digests as they stand
//! in audit records; never a value, a key, an address with one, or a text of a caller. Where traces are off, or a request
//! is not chosen, nothing is made for it.

mod export;
mod parent;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::base::code::ErrorCode;
use crate::model::config::traces::TracesConfig;
use export::Queue;
pub use parent::{Parent, random};

/// How long the spans of the last requests may take to get out.
const SETTLE_MAX: Duration = Duration::from_secs(3);

/// Where the spans of one gateway go. Off by default; cheap to clone.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<On>>);

struct On {
    tracer: SdkTracer,
    counts: Arc<Counts>,
    config: TracesConfig,
    /// Its end ends the exporting.
    _provider: SdkTracerProvider,
}

/// What became of spans.
#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicU64,
    exported: AtomicU64,
    dropped: AtomicU64,
}

/// Spans since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    pub exported: u64,
    /// There was no room for them, or the collector did not take them.
    pub dropped: u64,
}

impl Traces {
    /// Begins to export, within a runtime. The error is for operators.
    pub fn start(config: Option<&TracesConfig>) -> Result<Self, String> {
        let Some(config) = config else { return Ok(Self::default()) };
        let counts = Arc::new(Counts::default());
        let (queue, resource) = Queue::start(config, &counts)?;
        let provider = SdkTracerProvider::builder()
            // Which requests are traced is decided before: see `Traces::request`.
            .with_sampler(opentelemetry_sdk::trace::Sampler::AlwaysOn)
            .with_resource(resource)
            .with_span_processor(queue)
            .build();
        let tracer = opentelemetry::trace::TracerProvider::tracer(&provider, "huxiang");
        Ok(Self(Some(Arc::new(On { tracer, counts, config: config.clone(), _provider: provider }))))
    }

    /// The span of a request, if it is chosen; and the `traceparent` for departments.
    pub fn request(&self, parent: Option<Parent>) -> (Span, Option<String>) {
        let Some(on) = &self.0 else { return (Span::default(), parent.map(|parent| parent.passed_on(false))) };
        let decided = parent.and_then(|parent| parent.decided(on.config.trust_parents));
        if !decided.unwrap_or_else(|| parent::chosen(on.config.ratio)) {
            return (Span::default(), parent.map(|parent| parent.passed_on(true)));
        }
        let above = parent.and_then(|parent| parent.above()).unwrap_or(SpanContext::NONE);
        let span = Span::begin(&on.tracer, above, "request", SpanKind::Server);
        let traceparent = span.trace().traceparent();
        (span, traceparent)
    }

    /// None: traces are off.
    pub fn exported(&self) -> Option<Exported> {
        let counts = &self.0.as_ref()?.counts;
        Some(Exported { exported: counts.exported.load(Relaxed), dropped: counts.dropped.load(Relaxed) })
    }

    /// Waits until what has ended is out, for some seconds at most.
    pub async fn settle(&self) {
        let Some(on) = &self.0 else { return };
        let until = tokio::time::Instant::now() + SETTLE_MAX;
        while on.counts.waiting.load(Relaxed) > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Where spans are begun: below one span of one request, or nowhere. Cheap to clone.
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<Place>>);

struct Place {
    tracer: SdkTracer,
    above: SpanContext,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Trace(on)" } else { "Trace(off)" })
    }
}

impl Trace {
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A step of the gateway's own.
    pub fn step(&self, name: &'static str) -> Span {
        self.begin(name, SpanKind::Internal)
    }

    /// Something that is asked of another system.
    pub fn call(&self, name: &'static str) -> Span {
        self.begin(name, SpanKind::Client)
    }

    fn begin(&self, name: &'static str, kind: SpanKind) -> Span {
        match &self.0 {
            Some(place) => Span::begin(&place.tracer, place.above.clone(), name, kind),
            None => Span::default(),
        }
    }

    /// As it is passed on (W3C Trace Context): what is asked now is below this span.
    pub fn traceparent(&self) -> Option<String> {
        let above = &self.0.as_ref()?.above;
        Some(format!("00-{}-{}-{:02x}", above.trace_id(), above.span_id(), above.trace_flags().to_u8()))
    }
}

/// A span under way, or none; it ends when it is dropped.
#[derive(Default)]
pub struct Span(Option<Box<Begun>>);

struct Begun {
    span: opentelemetry_sdk::trace::Span,
    tracer: SdkTracer,
}

impl Span {
    fn begin(tracer: &SdkTracer, above: SpanContext, name: &'static str, kind: SpanKind) -> Self {
        let context = Context::new().with_remote_span_context(above);
        let span = tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), &context);
        Self(Some(Box::new(Begun { span, tracer: tracer.clone() })))
    }

    /// Where spans below this one are begun.
    pub fn trace(&self) -> Trace {
        let place = |begun: &Begun| Place { tracer: begun.tracer.clone(), above: begun.span.span_context().clone() };
        Trace(self.0.as_ref().map(|begun| Arc::new(place(begun))))
    }

    /// What is told of it; made only where there is a span.
    pub fn tell<V: Into<Value>>(&mut self, name: &'static str, value: impl FnOnce() -> V) {
        if let Some(begun) = &mut self.0 {
            begun.span.set_attribute(KeyValue::new(name, value()));
        }
    }

    /// How many there were of something.
    pub fn count(&mut self, name: &'static str, count: usize) {
        self.tell(name, || i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// It failed, and so the span is one of an error.
    pub fn failed(&mut self, code: ErrorCode) {
        self.tell("error.type", || code.as_str());
        if let Some(begun) = &mut self.0 {
            begun.span.set_status(Status::error(code.as_str()));
        }
    }
}
