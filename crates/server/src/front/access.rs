//! Who may speak to the server through somebody's browser: nobody, unless the operator said so.
//!
//! A browser sends requests to any address for any page, and names the page's origin in all that can change something. So a request that names an
//! origin is refused unless `--cors` has it, whatever its path: gRPC's frames too can be sent by a script. Against names that are made to point at this
//! server after a page was loaded from them ("DNS rebinding"), the `Host` of plain requests is checked as well: always where the operator listed names, and
//! by itself on listeners that only this machine can reach. Who listens there relies on no stranger being able to, and a browser beside it is one;
//! the names such a listener has are known. Elsewhere they are not (a proxy, a container, a service of Kubernetes), and with TLS a certificate is the check.

use std::{net::IpAddr, sync::Arc};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, uri::Authority};

use crate::config::{GatewayConfig, Listed};

/// The rules of one listener; clones are cheap.
#[derive(Clone)]
pub(crate) struct Access {
    origins: Arc<Listed>,
    /// The names that requests may call this listener by, if that matters.
    hosts: Option<Arc<Listed>>,
}

/// Where a connection has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entrance {
    /// Whether only this machine can connect.
    pub(crate) is_loopback: bool,
    /// Whether all connections have TLS.
    pub(crate) has_tls: bool,
}

impl Access {
    pub(crate) fn new(config: &GatewayConfig, entrance: Entrance) -> Self {
        let known = match (&config.hosts, entrance) {
            (_, Entrance { has_tls: true, .. }) | (None, Entrance { is_loopback: false, .. }) => None,
            (Some(Listed::All), _) => None,
            (None, Entrance { is_loopback: true, .. }) => Some(config.own_hosts.clone()),
            (Some(Listed::These(given)), _) => Some(given.iter().chain(&config.own_hosts).cloned().collect()),
        };
        Self { origins: Arc::new(config.origins.clone()), hosts: known.map(|known| Arc::new(Listed::These(known))) }
    }

    /// The answer to a request that no page may send.
    pub(crate) fn refused_origin(&self, headers: &HeaderMap) -> Option<Response<Body>> {
        let origin = headers.get(header::ORIGIN)?;
        if origin.to_str().is_ok_and(|origin| self.origins.has(origin)) {
            return None;
        }
        let origin = String::from_utf8_lossy(origin.as_bytes());
        Some(refusal(
            StatusCode::FORBIDDEN,
            format!("tombolo: pages of {origin:?} may not send requests; --cors lists those that may\n"),
        ))
    }

    /// The answer to a request that calls this server by a name which is not its own.
    pub(crate) fn refused_host<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let known = self.hosts.as_deref()?;
        let given = match request.uri().authority() {
            Some(authority) => authority.as_str(),
            // Without any name it is no browser.
            None => request.headers().get(header::HOST)?.to_str().unwrap_or("?"),
        };
        let host =
            given.parse::<Authority>().map_or_else(|_| given.to_owned(), |authority| authority.host().to_owned());
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok() || bare.eq_ignore_ascii_case("localhost") || known.has(bare) {
            return None;
        }
        Some(refusal(
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "tombolo: {host:?} is not a name of this server; add it with --host-whitelist, or use TLS.\n\
                 Requests are checked so that no web page can reach a server on its reader's machine by \"DNS rebinding\".\n"
            ),
        ))
    }

    /// The answer to a browser that asks beforehand whether a page may send a request. It says yes: who may not was refused before.
    pub(crate) fn preflight(&self, method: &Method) -> Option<Response<Body>> {
        (method == Method::OPTIONS).then(Response::default)
    }

    /// Says who may read an answer.
    pub(crate) fn allow(&self, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
        let origin = match (&*self.origins, origin) {
            (Listed::All, _) => HeaderValue::from_static("*"),
            (Listed::These(_), Some(origin)) => origin,
            (Listed::These(_), None) => return,
        };
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        headers
            .insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let allowed = HeaderValue::from_static("accept, content-type, authorization");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
}

fn refusal(status: StatusCode, why: String) -> Response<Body> {
    let mut response = Response::new(Body::from(why));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
