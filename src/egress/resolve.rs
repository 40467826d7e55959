//! Names: resolved as the system does, without the addresses that may not be connected to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt as _};
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use crate::model::config::egress::{EgressConfig, Refused};

/// Why a name led to no address.
#[derive(Debug)]
pub struct Unresolved(pub String);

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unresolved {}

/// Within the operator's bounds.
#[derive(Debug, Clone)]
pub(super) struct Bounded(pub Arc<EgressConfig>);

impl Service<Name> for Bounded {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Unresolved;
    type Future = BoxFuture<'static, Result<Self::Response, Unresolved>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let rule = Arc::clone(&self.0);
        async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found = found.map_err(|_| Unresolved("its host name is not known here".to_owned()))?;
            let permitted: Vec<_> = found.filter(|at| rule.permits(at.ip())).collect();
            if permitted.is_empty() {
                return Err(Unresolved(Refused::Address.to_string()));
            }
            Ok(permitted.into_iter())
        }
        .boxed()
    }
}
