//! Who can speak to a listener with TLS, and how long somebody may take to begin.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::Result;
use tombolo_rig::{connect::Connection, http::Page, ports::free_port, process::Server};

use crate::support::{Place, gets_answer, gets_page, metric, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_port_serves_grpc_and_pages_to_old_and_new_clients() -> Result<()> {
    let place = Place::new()?;
    let server = place.open_to_all(Server::tombolo()).start().await?;
    let modern = place.stranger();
    for (trust, who) in [
        (modern.clone(), "TLS 1.3"),
        (modern.clone().old(), "TLS 1.2"),
        (modern.clone().offering(&[]), "no ALPN"),
        (modern.clone().old().offering(&[]), "TLS 1.2 without ALPN"),
        (modern.clone().offering(&["h2", "http/1.1"]), "both protocols"),
    ] {
        assert!(gets_answer(&trust, server.address()).await, "{who}: {}", server.output());
    }
    for path in ["/version", "/health", "/metrics", "/readyz"] {
        assert!(gets_page(&modern, server.address(), path).await, "{path}");
        assert!(gets_page(&modern.clone().old(), server.address(), path).await, "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_serves_clients_without_alpn_too() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    let place = Place::new()?;
    let server = place.open_to_all(etcd).start().await?;
    assert!(gets_answer(&place.stranger().old(), server.address()).await);
    assert!(gets_page(&place.stranger(), server.address(), "/version").await);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_with_and_without_tls_are_served_at_once_on_one_port_or_on_two() -> Result<()> {
    let place = Place::new()?;
    let other = format!("127.0.0.1:{}", free_port()?);
    let mut server = place.open_to_all(Server::tombolo()).start().await?;
    let both = format!("https://{0},http://{0},http://{other}", server.address());
    server.set("--listen-client-urls", &both);
    server.restart().await?;
    put(&mut server.connect().await?, "with").await?;
    put(&mut Connection::open(&format!("http://{}", server.address())).await?, "without").await?;
    put(&mut Connection::open(&format!("http://{other}")).await?, "elsewhere").await?;
    assert_eq!(Page::get(server.address(), "/health")?.status, 200);
    assert!(gets_page(&place.stranger(), server.address(), "/health").await);
    assert!(!gets_answer(&place.stranger(), other.parse()?).await, "that one has no TLS");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plaintext_gets_nothing_where_tls_is_spoken() -> Result<()> {
    let place = Place::new()?;
    let server = place.open_to_all(Server::tombolo()).start().await?;
    assert!(Page::get(server.address(), "/health").is_err());
    let mut plain = Connection::open(&format!("http://{}", server.address())).await;
    let refused = match &mut plain {
        Ok(connection) => put(connection, "any").await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    assert!(metric(&server, "tombolo_tls_handshakes_failed_total")? >= 1.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_and_suites_can_be_narrowed() -> Result<()> {
    let place = Place::new()?;
    let mut server = place.open_to_all(Server::tombolo()).with("--tls-min-version", "TLS1.3").start().await?;
    assert!(gets_answer(&place.stranger(), server.address()).await);
    assert!(!gets_answer(&place.stranger().old(), server.address()).await);
    server.set("--tls-min-version", "TLS1.2");
    server.set("--tls-max-version", "TLS1.2");
    server.set("--cipher-suites", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    server.restart().await?;
    let stream = place.stranger().connect(server.address()).await?;
    let suite = stream.get_ref().1.negotiated_cipher_suite().map(|suite| suite.suite());
    assert_eq!(suite, Some(rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_stalls_is_cut_on_every_listener() -> Result<()> {
    let place = Place::new()?;
    let mut server = place.open_to_all(Server::tombolo()).start().await?;
    server.set("--listen-metrics-urls", &format!("https://{}", server.metrics_address()));
    server.restart().await?;
    let since = Instant::now();
    let mut stalled = Vec::new();
    for address in [server.address(), server.metrics_address()] {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(12)))?;
        // The head of a record of a hundred bytes that never come.
        socket.write_all(&[0x16, 3, 1, 0, 100])?;
        stalled.push(socket);
    }
    for mut socket in stalled {
        let ended = socket.read_to_end(&mut Vec::new());
        assert!(ended.is_ok() || ended.is_err_and(|why| why.kind() == std::io::ErrorKind::ConnectionReset));
        let after = since.elapsed();
        assert!(after > Duration::from_secs(4) && after < Duration::from_secs(9), "{after:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_and_falls_silent_keeps_nobody_out() -> Result<()> {
    let place = Place::new()?;
    let server = place.for_guests(Server::tombolo()).start().await?;
    let mut silent = Vec::new();
    for _ in 0..1_500 {
        let Ok(mut socket) = TcpStream::connect_timeout(&server.address(), Duration::from_secs(2)) else { break };
        let _ = socket.write_all(&[0x16]);
        silent.push(socket);
    }
    let since = Instant::now();
    assert!(gets_answer(&place.guest(), server.address()).await, "{}", server.output());
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    drop(silent);
    Ok(())
}
