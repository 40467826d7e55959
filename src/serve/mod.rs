//! HTTP: GraphQL over HTTP and over WebSockets, GraphiQL, health, metrics. What is behind it is a [`Gateway`].

mod addresses;
mod ask;
mod certificate;
mod door;
mod framing;
mod gateway;
mod graphiql;
mod graphql;
mod host;
mod ids;
mod kind;
mod listen;
mod login;
mod metrics;
mod negotiate;
mod origin;
pub mod refusals;
pub mod reload;
mod request;
mod socket;
mod stream;
mod turns;
mod unsent;
mod write_limit;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::middleware::{self, Next};
use axum::routing::{any, get};
use tokio::sync::watch;

pub use crate::answer::{Answer, Frame, Frames, GraphqlRequest, Halt, Outcome, StreamStanding};
pub use listen::{acceptor, run, stop_signal};
pub use turns::Turn;

use crate::admin::MetricsText;
use crate::base::code::ErrorCode;
use crate::base::current::Current;
use crate::engine::error::RequestError;
use crate::identify::rate::Meter;
use crate::identify::{ClientCertificate, ForwardedCertificates, Identity, Verifier};
use crate::model::config::cors::Cors;
use crate::model::config::hosts::Hosts;
use crate::model::config::{ClientCertificates, GatewayConfig, Limits, Networks};
use crate::trace::Parent;
use refusals::{Refusals, Refused, Summing};
use socket::Sockets;
use turns::Turns;
use unsent::Unsent;

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// What is no page loads nothing and stands in no frame.
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";
const ONLY_TLS: &str = "max-age=31536000";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What answers GraphQL requests.
pub trait Gateway: Send + Sync + 'static {
    /// The answer, audited. `trace` is what it belongs to (W3C Trace Context). The future is
    /// dropped when the client goes away; `turn` is held until nothing is worked on for it any more.
    fn answer(
        &self,
        identity: Identity,
        request: GraphqlRequest,
        request_id: String,
        trace: Option<Parent>,
        turn: Turn,
    ) -> impl Future<Output = Answer> + Send;

    /// The frames of a subscription, each audited before it comes. What is worked on ends when they are dropped; `standing` is
    /// asked between them, and `turn` is held until nothing is worked on any more.
    fn subscribe(
        &self,
        identity: Identity,
        request: GraphqlRequest,
        request_id: String,
        trace: Option<Parent>,
        turn: Turn,
        standing: impl StreamStanding,
    ) -> Frames;

    /// The answer of the gateway's own API, audited.
    fn admin(
        &self,
        identity: Identity,
        request: GraphqlRequest,
        request_id: String,
        turn: Turn,
    ) -> impl Future<Output = Answer> + Send;

    /// The text of a trusted document.
    fn document(&self, id: &str) -> Option<Arc<str>>;

    /// Whether there are trusted documents.
    fn has_documents(&self) -> bool;

    /// Records what was refused before it came here: how often which status, from one address or (`None`) from those that
    /// were too many to tell apart.
    fn refused(
        &self,
        address: Option<IpAddr>,
        networks: Vec<String>,
        counts: refusals::Counts,
    ) -> impl Future<Output = ()> + Send;

    /// Records that somebody logged in at an issuer's portal, or that a code got no token. Where it cannot be recorded,
    /// nothing is handed out.
    fn logged_in(&self, login: LoggedIn) -> impl Future<Output = Result<(), RequestError>> + Send;

    /// What is counted; for `/metrics`.
    fn metrics(&self) -> MetricsText;

    /// Whether requests can be answered now; for `/health/ready`.
    fn ready(&self) -> bool;
}

/// A code that was handed over, and what came of it.
#[derive(Debug, Clone)]
pub struct LoggedIn {
    /// From where, and whose the token is; nobody's, where there is none.
    pub identity: Identity,
    pub request_id: String,
    pub issuer: String,
    pub failed: Option<ErrorCode>,
}

/// A fault at the start of serving.
#[derive(Debug)]
pub struct ServeError(pub String);

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServeError {}

/// Who is at the other end of the connection; [`run`] puts it into every request.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub address: IpAddr,
    /// Verified in the handshake; of a proxy that ended TLS before us it is the proxy's own.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl Peer {
    fn new(address: IpAddr, certificate: Option<ClientCertificate>) -> Self {
        Self { address: address.to_canonical(), certificate: certificate.map(Arc::new) }
    }
}

#[derive(Debug, Clone)]
struct RequestId(Arc<str>);

struct App<G> {
    gateway: Current<G>,
    verifier: Arc<Verifier>,
    networks: Networks,
    /// The header in which listed proxies forward client certificates, and what verifies them.
    forwarded: Option<(HeaderName, ForwardedCertificates)>,
    limits: Limits,
    requests: Meter,
    turns: Turns,
    sockets: Arc<Sockets>,
    unsent: Arc<Unsent>,
    refusals: Arc<Refusals>,
    /// Closed with the application.
    _open: watch::Sender<()>,
    cors: Cors,
    hosts: Hosts,
    /// The listener ends TLS itself.
    is_tls: bool,
    /// No connection is taken without a client certificate.
    needs_certificate: bool,
    get_queries: bool,
    batch_max: usize,
}

/// The routes: `/graphql` (which can be upgraded to a WebSocket), `/admin/graphql` (if configured), `/login/NAME/start` and `/token` (if configured), `/graphiql`
/// (if configured), `/health/live`, `/health/ready`.
pub fn app<G: Gateway>(
    config: &GatewayConfig,
    verifier: Arc<Verifier>,
    gateway: impl Into<Current<G>>,
) -> Result<Router, ServeError> {
    Ok(application(config, verifier, gateway)?.router)
}

/// What is served.
pub struct Application {
    pub router: Router,
    /// The routes of `metrics.listen`: `/metrics`, `/health/live`, `/health/ready`.
    pub metrics: Router,
    /// To be waited for when the application is gone.
    pub summing: Summing,
}

/// As [`app`], with all that belongs to it.
pub fn application<G: Gateway>(
    config: &GatewayConfig,
    verifier: Arc<Verifier>,
    gateway: impl Into<Current<G>>,
) -> Result<Application, ServeError> {
    let gateway = gateway.into();
    let (open, closed) = watch::channel(());
    let refusals = Arc::new(Refusals::default());
    let app = Arc::new(App {
        gateway: gateway.clone(),
        verifier,
        networks: config.networks.clone(),
        forwarded: config.forwarded_certificate.as_ref().map(certificate::forwarded).transpose()?,
        limits: config.limits.clone(),
        requests: Meter::of_requests(&config.rates),
        turns: Turns::new(&config.admission),
        sockets: Sockets::new(&config.sockets, config.scans.time_max),
        unsent: Unsent::new(config.limits.unsent_bytes_max),
        refusals: Arc::clone(&refusals),
        _open: open,
        cors: config.cors.clone(),
        hosts: host::names(config)?,
        is_tls: config.tls.is_some(),
        needs_certificate: config
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_certificates == ClientCertificates::Required),
        get_queries: config.graphql.get_queries,
        batch_max: config.graphql.batch_max,
    });
    let every = Duration::from_millis(config.limits.refusals_every_ms);
    let summing = refusals::sum_up(refusals, gateway, config.networks.clone(), every, closed);
    let metrics = metrics_routes(Arc::clone(&app));
    Ok(Application { router: routes(config, app), metrics, summing })
}

fn routes<G: Gateway>(config: &GatewayConfig, app: Arc<App<G>>) -> Router {
    let mut router = Router::new()
        .route("/graphql", any(graphql::handle::<G>))
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready::<G>));
    if config.admin.is_some() {
        router = router.route("/admin/graphql", any(graphql::admin::<G>));
    }
    if config.issuers.iter().any(|issuer| issuer.login.is_some()) {
        router = router.route("/login/{name}/{step}", any(login::handle::<G>));
    }
    if config.graphql.graphiql {
        router = router.route("/graphiql", get(graphiql::page)).route("/graphiql/{file}", get(graphiql::file));
    }
    let around = middleware::from_fn_with_state(Arc::clone(&app), around::<G>);
    router.fallback(|| async { StatusCode::NOT_FOUND }).with_state(app).layer(around)
}

fn metrics_routes<G: Gateway>(app: Arc<App<G>>) -> Router {
    // Health stands here too: this listener can be reached when the other has all the connections it may.
    let router = Router::new()
        .route("/metrics", get(metrics::handle::<G>))
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready::<G>));
    let around = middleware::from_fn_with_state(Arc::clone(&app), around::<G>);
    router.fallback(|| async { StatusCode::NOT_FOUND }).with_state(app).layer(around)
}

async fn ready<G: Gateway>(State(app): State<Arc<App<G>>>) -> (StatusCode, &'static str) {
    if app.gateway.now().ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

/// Gives every request its id, and every response the headers that all have.
async fn around<G: Gateway>(
    State(app): State<Arc<App<G>>>,
    mut request: axum::extract::Request,
    next: Next,
) -> Response<Body> {
    let from_proxy = request.extensions().get::<Peer>().is_some_and(|peer| app.networks.is_proxy(peer.address));
    let sent = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let id: Arc<str> = match sent.filter(|id| from_proxy && ids::is_request_id(id)) {
        Some(id) => id.into(),
        None => ids::new_request_id().into(),
    };
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let address = door::address(&app, request.headers(), request.extensions().get::<Peer>());
    let checked = door::shape(&request, &app.limits).and_then(|()| host::check(&request, &app.hosts));
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refusal) => graphql::refused(&id, request.headers(), refusal),
    };
    if let Some(refused) = response.extensions_mut().remove::<Refused>() {
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        app.refusals.log(&id, address.unwrap_or(unknown), response.status(), &refused);
    }
    let headers = response.headers_mut();
    if is_chunked {
        // Nothing may hide behind its end.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(NO_PAGE));
    if app.is_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(ONLY_TLS));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

/// How long what answers may take beyond a request's deadline before nothing more is expected of it. The gateway's own
/// engine gives up earlier, and records that it did: this is for what does not come back at all.
const ENGINE_GRACE: Duration = Duration::from_secs(15);
