//! Whom the gateway lets in: clients, and no stranger's page in a browser.

use anyhow::{Context, Result};
use tombolo_rig::{http::Page, process::Server};

const PUT: &str = r#"{"key":"YQ==","value":"MQ=="}"#;

fn revision(server: &Server) -> Result<String> {
    let page = Page::post(server.address(), "/v3/kv/range", r#"{"key":"YQ=="}"#)?;
    let (_, rest) = page.body.split_once("\"revision\":\"").context(page.body.clone())?;
    Ok(rest.split('"').next().unwrap_or_default().to_owned())
}

fn put(server: &Server, headers: &[(&str, &str)]) -> Result<Page> {
    Page::ask(server.address(), "POST", "/v3/kv/put", headers, PUT.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_may_send_anything_unless_it_is_listed() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    for origin in ["http://evil.example", "null", "http://localhost:8080", "", &format!("http://{}", server.address())]
    {
        for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded", "application/grpc"] {
            let page = put(&server, &[("origin", origin), ("content-type", kind)])?;
            assert_eq!(page.status, 403, "{origin} {kind}: {page:?}");
            assert_eq!(page.header("access-control-allow-origin"), None);
        }
        let preflight = Page::ask(server.address(), "OPTIONS", "/v3/kv/put", &[("origin", origin)], b"")?;
        assert_eq!(preflight.status, 403, "{preflight:?}");
    }
    assert_eq!(revision(&server)?, "1", "nothing was written");
    for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"] {
        assert_eq!(put(&server, &[("content-type", kind)])?.status, 200, "{kind}, and no page");
    }
    assert_eq!(put(&server, &[])?.status, 200);
    assert_eq!(revision(&server)?, "6");
    Ok(())
}

/// A frame of gRPC can be sent by a script too, and over HTTP/1.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_cannot_speak_grpc_either() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let frame = b"\0\0\0\0\x06\x0a\x01a\x12\x011";
    let path = "/etcdserverpb.KV/Put";
    for (headers, status) in [
        (&[("content-type", "text/plain")][..], 404),
        (&[], 404),
        (&[("content-type", "text/plain"), ("origin", "http://evil.example")], 403),
        (&[("content-type", "application/grpc"), ("origin", "http://evil.example")], 403),
    ] {
        assert_eq!(Page::ask(server.address(), "POST", path, headers, frame)?.status, status, "{headers:?}");
    }
    assert_eq!(revision(&server)?, "1", "nothing was written");
    let grpc = Page::ask(server.address(), "POST", path, &[("content-type", "application/grpc")], frame);
    drop(grpc);
    assert_eq!(revision(&server)?, "2", "the frame is a good one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_page_is_let_in_and_told_so() -> Result<()> {
    let listed = "https://console.example";
    let server =
        Server::tombolo().in_memory().with("--cors", "https://console.example,http://b.example").start().await?;
    let page = put(&server, &[("origin", listed)])?;
    assert_eq!((page.status, page.header("access-control-allow-origin")), (200, Some(listed)));
    let preflight = Page::ask(server.address(), "OPTIONS", "/v3/kv/put", &[("origin", listed)], b"")?;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, Some(listed)));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("accept, content-type, authorization"));
    assert_eq!(put(&server, &[("origin", "https://evil.example")])?.status, 403);
    assert_eq!(put(&server, &[])?.header("access-control-allow-origin"), None);
    assert_eq!(revision(&server)?, "3");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_star_every_page_is_let_in_as_by_etcd() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    let etcd = etcd.in_memory().start().await?;
    let tombolo = Server::tombolo().in_memory().with("--cors", "*").with("--host-whitelist", "*").start().await?;
    for (method, headers) in [
        ("POST", &[("origin", "http://a.example")][..]),
        ("POST", &[]),
        ("OPTIONS", &[("origin", "http://a.example")]),
        ("POST", &[("host", "anything.example")]),
    ] {
        let pages =
            [&tombolo, &etcd].map(|server| Page::ask(server.address(), method, "/v3/kv/put", headers, PUT.as_bytes()));
        let [ours, theirs] = pages.map(|page| {
            let page = page?;
            let cors: Vec<_> =
                page.headers.iter().filter(|(name, _)| name.starts_with("access-control-")).cloned().collect();
            anyhow::Ok((page.status, std::collections::BTreeSet::from_iter(cors)))
        });
        assert_eq!(ours?, theirs?, "{method} {headers:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_of_this_machine_answers_to_this_machines_names() -> Result<()> {
    let server = Server::tombolo().in_memory().with("--host-whitelist", "etcd.example").start().await?;
    for path in ["/v3/kv/put", "/health", "/version", "/metrics"] {
        let method = if path.starts_with("/v3") { "POST" } else { "GET" };
        let ask = |host: &str| Page::ask(server.address(), method, path, &[("host", host)], PUT.as_bytes());
        for host in ["127.0.0.1", "127.0.0.1:2379", "[::1]:9", "10.1.2.3", "localhost", "LOCALHOST:7", "etcd.example:1"]
        {
            assert_eq!(ask(host)?.status, 200, "{host} {path}");
        }
        for host in [
            "evil.example",
            "evil.example:2379",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "etcd.example.evil",
        ] {
            let page = ask(host)?;
            assert_eq!(page.status, 421, "{host} {path}: {page:?}");
            assert!(page.body.contains("--host-whitelist"), "{page:?}");
        }
    }
    let default = Server::tombolo().in_memory().start().await?;
    assert_eq!(put(&default, &[("host", "etcd.example")])?.status, 421);
    assert_eq!(put(&default, &[("host", "localhost:2379")])?.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_be_switched_off() -> Result<()> {
    let server = Server::tombolo().in_memory().with("--enable-grpc-gateway", "false").start().await?;
    assert_eq!(put(&server, &[])?.status, 404);
    assert_eq!(Page::get(server.address(), "/version")?.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_counted_once_whichever_way_it_came() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    for _ in 0..3 {
        put(&server, &[])?;
    }
    let refused = Page::post(server.address(), "/v3/kv/put", "{}")?;
    assert_eq!(refused.status, 400);
    let metrics = Page::get(server.address(), "/metrics")?.body;
    for (code, count) in [("OK", "3"), ("InvalidArgument", "1")] {
        let of_code =
            |line: &&str| line.contains("grpc_method=\"Put\"") && line.contains(&format!("grpc_code=\"{code}\""));
        let line = metrics.lines().find(of_code).with_context(|| format!("no line for {code}"))?;
        assert!(line.ends_with(&format!(" {count}")), "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_gives_up_is_told_so() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let late = put(&server, &[("grpc-timeout", "1n")])?;
    assert_eq!(late.status, 504, "{late:?}");
    assert_eq!(late.body, r#"{"error":"context deadline exceeded","code":4,"message":"context deadline exceeded"}"#);
    let nonsense = put(&server, &[("grpc-timeout", "soon")])?;
    assert_eq!((nonsense.status, nonsense.body.contains("invalid grpc-timeout: soon")), (400, true), "{nonsense:?}");
    assert_eq!(put(&server, &[("grpc-timeout", "5S")])?.status, 200);
    Ok(())
}
