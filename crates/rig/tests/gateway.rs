//! The JSON gateway beside that of a real etcd: every call, streams in both directions, what is wrong with a request; and whom it lets in.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tombolo_rig::{
    http::{Exchange, Page},
    process::Server,
};

mod gateway {
    pub(crate) mod admission;
    pub(crate) mod identity;
    pub(crate) mod masked;
}

use gateway::masked::masked;

/// The same on both servers.
struct Pair {
    tombolo: Server,
    etcd: Server,
    /// Whether this etcd has the gateway of 3.5: 3.4 writes the fields of errors in another order, and has other statuses for some.
    is_newer: bool,
}

impl Pair {
    async fn start() -> Result<Option<Self>> {
        let Some(etcd) = Server::etcd() else { return Ok(None) };
        let (tombolo, etcd) = (Server::tombolo().in_memory().start().await?, etcd.in_memory().start().await?);
        let is_newer = !Page::get(etcd.address(), "/version")?.body.contains("\"etcdserver\":\"3.4.");
        Ok(Some(Self { tombolo, etcd, is_newer }))
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        [self.tombolo.address(), self.etcd.address()]
    }

    /// Compares what both answer, and returns ours.
    fn compare(&self, what: &str, ours: &Page, theirs: &Page) {
        let kind = |page: &Page| page.header("content-type").map(str::to_owned);
        assert_eq!(kind(ours), kind(theirs), "{what}: {ours:?} {theirs:?}");
        if self.is_newer || theirs.status == 200 {
            let seen = |page: &Page| (page.status, masked(&page.body));
            assert_eq!(seen(ours), seen(theirs), "{what}");
            let metadata = "grpc-metadata-content-type";
            assert_eq!(ours.header(metadata), theirs.header(metadata), "{what}");
        } else {
            assert_eq!(error(&ours.body), error(&theirs.body), "{what}");
        }
    }

    /// Sends every line of a script to both, but for what this etcd does not know or answers without a header.
    fn play(&self, script: &str) -> Result<usize> {
        let mut tokens: [Option<String>; 2] = [None, None];
        let mut count = 0;
        for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if !self.is_newer && NEWER.iter().any(|newer| line.starts_with(newer)) {
                continue;
            }
            let (path, body) = line.split_once(' ').context(line.to_owned())?;
            let mut pages = Vec::new();
            for (address, token) in self.addresses().into_iter().zip(&mut tokens) {
                let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
                headers.extend(token.as_deref().map(|token| ("authorization", token)));
                let page = Page::ask(address, "POST", &format!("/v3/{path}"), &headers, body.as_bytes())?;
                if let Some((_, rest)) = page.body.split_once("\"token\":\"") {
                    *token = rest.split('"').next().map(str::to_owned);
                }
                pages.push(page);
            }
            self.compare(line, &pages[0], &pages[1]);
            count += 1;
        }
        Ok(count)
    }
}

const NEWER: [&str; 2] = ["auth/status", "maintenance/alarm"];

/// An error's code and text, wherever they stand; the whole of what is none.
fn error(body: &str) -> (Option<String>, String) {
    let field =
        |name: &str| body.split_once(name).map(|(_, rest)| rest.split(['"', ',', '}']).next().unwrap_or_default());
    match field("\"error\":\"") {
        Some(text) => (field("\"code\":").map(str::to_owned), text.to_owned()),
        None => (None, body.to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_answered_as_etcds_gateway_does() -> Result<()> {
    let Some(pair) = Pair::start().await? else { return Ok(()) };
    assert!(pair.play(include_str!("gateway/calls.txt"))? > 60);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_roles_are_managed_as_through_etcds_gateway() -> Result<()> {
    let Some(pair) = Pair::start().await? else { return Ok(()) };
    assert!(pair.play(include_str!("gateway/auth.txt"))? > 30);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_and_elections_are_held_as_through_etcds_gateway() -> Result<()> {
    let Some(pair) = Pair::start().await? else { return Ok(()) };
    assert!(pair.play(include_str!("gateway/waiting.txt"))? > 10);
    Ok(())
}

/// What etcd says in the words of its JSON library: here the status and the code must do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_refused_as_etcds_gateway_does() -> Result<()> {
    let Some(pair) = Pair::start().await? else { return Ok(()) };
    let [ours, theirs] = pair.addresses();
    let deep = r#"{"success":[{"request_txn":"#.repeat(20) + "{}" + &"}]}".repeat(20);
    for (path, body) in [
        ("kv/put", "xx"),
        ("kv/put", "{"),
        ("kv/put", "[]"),
        ("kv/put", r#"{"key":1}"#),
        ("kv/put", r#"{"key":"Zm9v!"}"#),
        ("kv/put", r#"{"key":"Zm9v","lease":"x"}"#),
        ("kv/put", r#"{"key":"Zm9v","lease":9223372036854775808}"#),
        ("kv/range", r#"{"key":"Zm9v","sort_order":"SIDEWAYS"}"#),
        ("kv/txn", r#"{"success":{}}"#),
        ("kv/txn", deep.as_str()),
        ("lease/keepalive", "xx"),
        ("lease/keepalive", "{"),
        ("maintenance/snapshot", "xx"),
        ("watch", "7"),
    ] {
        let path = format!("/v3/{path}");
        let (ours, theirs) = (Page::post(ours, &path, body)?, Page::post(theirs, &path, body)?);
        assert_eq!(ours.status, theirs.status, "{path} {body}: {ours:?} {theirs:?}");
        assert_eq!(error(&ours.body).0, error(&theirs.body).0, "{path} {body}: {ours:?} {theirs:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_and_methods_are_those_of_etcds_gateway() -> Result<()> {
    let Some(pair) = Pair::start().await? else { return Ok(()) };
    let [ours, theirs] = pair.addresses();
    let body = r#"{"key":"Zm9v"}"#;
    for (method, path) in [
        ("POST", "/v3beta/kv/range"),
        ("POST", "/v3alpha/kv/range"),
        ("POST", "/v3/kv/nothing"),
        ("POST", "/v3/kv/range/"),
        ("POST", "/v4/kv/range"),
        ("GET", "/v3/kv/range"),
        ("PUT", "/v3/kv/range"),
        ("DELETE", "/v3/kv/nothing"),
        ("POST", "/v3/kv/range?key=eA=="),
    ] {
        let [ours, theirs] = [ours, theirs].map(|server| Page::ask(server, method, path, &[], body.as_bytes()));
        pair.compare(&format!("{method} {path}"), &ours?, &theirs?);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_is_told_and_changed_over_one_open_request() -> Result<()> {
    let Some(pair) = Pair::start().await? else { return Ok(()) };
    let told = pair.addresses().map(|server| -> Result<Vec<String>> {
        let mut watch = Exchange::post(server, "/v3/watch")?;
        watch.send(r#"{"create_request":{"key":"YQ==","range_end":"Yw==","prev_kv":true,"watch_id":"5"}}"#)?;
        let mut told = vec![watch.status()?.to_string(), watch.line()?.context("created")?];
        let mut told_of = |watch: &mut Exchange, path: &str, body: &str| -> Result<()> {
            Page::post(server, path, body)?;
            told.push(watch.line()?.context("an event")?);
            Ok(())
        };
        told_of(&mut watch, "/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#)?;
        watch.send("{\"create_request\":{\"key\":\"eA==\",\"start_revision\":1,\"filters\":[\"NODELETE\"]}")?;
        watch.send("} ")?;
        told.push(watch.line()?.context("created")?);
        // The client has said all; what it asked for goes on.
        watch.send(r#"{"cancel_request":{"watch_id":0}}"#)?;
        told.push(watch.line()?.context("cancelled")?);
        watch.finish()?;
        let mut told_of = |watch: &mut Exchange, path: &str, body: &str| -> Result<()> {
            Page::post(server, path, body)?;
            told.push(watch.line()?.context("an event")?);
            Ok(())
        };
        told_of(&mut watch, "/v3/kv/deleterange", r#"{"key":"YQ=="}"#)?;
        told_of(
            &mut watch,
            "/v3/kv/txn",
            r#"{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"Yg=="}}]}"#,
        )?;
        Ok(told.iter().map(|line| masked(line)).collect())
    });
    let [ours, theirs] = told;
    assert_eq!(ours?, theirs?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_from_before_a_compaction_is_cancelled_in_the_stream() -> Result<()> {
    let Some(pair) = Pair::start().await? else { return Ok(()) };
    let told = pair.addresses().map(|server| -> Result<Vec<String>> {
        for _ in 0..3 {
            Page::post(server, "/v3/kv/put", r#"{"key":"YQ=="}"#)?;
        }
        Page::post(server, "/v3/kv/compaction", r#"{"revision":3}"#)?;
        let mut watch = Exchange::post(server, "/v3/watch")?;
        watch.send(r#"{"create_request":{"key":"YQ==","start_revision":"2"}}"#)?;
        watch.status()?;
        // etcd leaves out the revision in the header of such an end.
        (0..2).map(|_| Ok(masked(&watch.line()?.context("a line")?).replace("\"revision\":\"4\",", ""))).collect()
    });
    let [ours, theirs] = told;
    assert_eq!(ours?, theirs?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_kept_over_one_open_request() -> Result<()> {
    let Some(pair) = Pair::start().await? else { return Ok(()) };
    let told = pair.addresses().map(|server| -> Result<Vec<String>> {
        Page::post(server, "/v3/lease/grant", r#"{"ID":7,"TTL":50}"#)?;
        let mut renewals = Exchange::post(server, "/v3/lease/keepalive")?;
        renewals.send(r#"{"ID":7}"#)?;
        let mut told = vec![renewals.status()?.to_string(), renewals.line()?.context("a renewal")?];
        renewals.send(r#"{"ID":"7"}{"ID":8}"#)?;
        told.extend([renewals.line()?.context("a renewal")?, renewals.line()?.context("no such lease")?]);
        renewals.finish()?;
        assert_eq!(renewals.line()?, None, "it ends with what the client says");
        Ok(told.iter().map(|line| masked(line)).collect())
    });
    let [ours, theirs] = told;
    assert_eq!(ours?, theirs?);
    Ok(())
}

/// Both limits: of what is written, and of what is decoded at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_too_large_is_refused_as_etcds_gateway_does() -> Result<()> {
    let Some(pair) = Pair::start().await? else { return Ok(()) };
    let [ours, theirs] = pair.addresses();
    for bytes in [1_600_000, 2_200_000] {
        let body = format!(r#"{{"key":"YQ==","value":"{}"}}"#, "A".repeat(bytes / 3 * 4));
        let [ours, theirs] = [ours, theirs].map(|server| Page::post(server, "/v3/kv/put", &body));
        pair.compare(&format!("{bytes} bytes"), &ours?, &theirs?);
    }
    let huge = "A".repeat(8 << 20);
    let refused = Page::post(ours, "/v3/kv/put", &format!(r#"{{"key":"YQ==","value":"{huge}"}}"#))?;
    assert_eq!((refused.status, error(&refused.body).0.as_deref()), (429, Some("8")), "{refused:?}");
    let endless = Page::post(ours, "/v3/watch", &format!(r#"{{"create_request":{{"key":"{huge}"#))?;
    assert_eq!((endless.status, error(&endless.body).0.as_deref()), (429, Some("8")), "{endless:?}");
    Ok(())
}
