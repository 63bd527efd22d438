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

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: Entrance = Entrance { is_loopback: true, has_tls: false };
    const NETWORK: Entrance = Entrance { is_loopback: false, has_tls: false };
    const TLS: Entrance = Entrance { is_loopback: true, has_tls: true };

    fn these(names: &[&str]) -> Listed {
        Listed::These(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn config(origins: Listed, hosts: Option<Listed>) -> GatewayConfig {
        GatewayConfig { is_enabled: true, origins, hosts, own_hosts: vec!["node.example".to_owned()] }
    }

    fn is_known(config: &GatewayConfig, entrance: Entrance, host: &str) -> bool {
        let request = Request::builder().uri("/v3/kv/range").header(header::HOST, host).body(()).unwrap();
        Access::new(config, entrance).refused_host(&request).is_none()
    }

    fn with_origin(origin: &'static [u8]) -> HeaderMap {
        HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_bytes(origin).unwrap())])
    }

    #[test]
    fn names_are_checked_by_themselves_only_where_nobody_else_can_connect() {
        let config = config(Listed::default(), None);
        for (entrance, is_checked) in [(LOOPBACK, true), (NETWORK, false), (TLS, false)] {
            assert_eq!(is_known(&config, entrance, "evil.example:2379"), !is_checked, "{entrance:?}");
            assert!(is_known(&config, entrance, "node.example:2379") && is_known(&config, entrance, "[::1]:2379"));
        }
    }

    #[test]
    fn listed_names_are_checked_wherever_there_is_no_certificate() {
        let listed = config(Listed::default(), Some(these(&["etcd.example"])));
        for entrance in [LOOPBACK, NETWORK] {
            assert!(is_known(&listed, entrance, "etcd.example") && is_known(&listed, entrance, "node.example"));
            assert!(!is_known(&listed, entrance, "evil.example"), "{entrance:?}");
        }
        assert!(is_known(&listed, TLS, "evil.example"));
        let all = config(Listed::default(), Some(Listed::All));
        assert!(is_known(&all, LOOPBACK, "evil.example"));
    }

    #[test]
    fn a_name_is_found_in_the_target_of_the_newer_protocol_too() {
        let config = config(Listed::default(), None);
        let request = |uri: &str| Request::builder().uri(uri).body(()).unwrap();
        let access = Access::new(&config, LOOPBACK);
        assert!(access.refused_host(&request("http://evil.example:2379/v3/kv/put")).is_some());
        assert!(access.refused_host(&request("http://127.0.0.1:2379/v3/kv/put")).is_none());
        assert!(access.refused_host(&request("/v3/kv/put")).is_none(), "no browser leaves it out");
        let odd = Request::builder().uri("/").header(header::HOST, "a b\u{e9}").body(()).unwrap();
        assert!(access.refused_host(&odd).is_some());
    }

    #[test]
    fn an_origin_is_refused_unless_it_is_listed() {
        let access = |origins| Access::new(&config(origins, None), NETWORK);
        let console = with_origin(b"https://console.example");
        assert!(access(these(&[])).refused_origin(&HeaderMap::new()).is_none(), "no page");
        assert!(access(these(&[])).refused_origin(&console).is_some());
        assert!(access(these(&["https://console.example"])).refused_origin(&console).is_none());
        assert!(access(Listed::All).refused_origin(&console).is_none());
        for odd in [&b"null"[..], b"", b"\xff"] {
            assert!(access(these(&["https://console.example"])).refused_origin(&with_origin(odd)).is_some(), "{odd:?}");
        }
    }

    #[test]
    fn an_answer_says_who_may_read_it_only_to_who_is_listed() {
        let allowed = |origins, origin: Option<HeaderValue>| {
            let mut headers = HeaderMap::new();
            Access::new(&config(origins, None), NETWORK).allow(origin, &mut headers);
            headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|origin| origin.to_str().unwrap().to_owned())
        };
        let console = HeaderValue::from_static("https://console.example");
        assert_eq!(allowed(these(&[]), None), None);
        assert_eq!(allowed(these(&["https://console.example"]), None), None);
        assert_eq!(
            allowed(these(&["https://console.example"]), Some(console)).as_deref(),
            Some("https://console.example")
        );
        assert_eq!(allowed(Listed::All, None).as_deref(), Some("*"));
    }
}
