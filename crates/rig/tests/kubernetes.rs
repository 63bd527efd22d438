//! A real Kubernetes control plane on Tombolo: what kube-apiserver depends on, seen from the API's side.
//!
//! The same steps pass on a real etcd: `TOMBOLO_KUBERNETES_STORE=etcd` runs them there, which tells a fault of the rig from one of the store.

use std::{env, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tombolo_rig::{
    kubernetes::{ControlPlane, Programs, Reply, Watch},
    process::Server,
};

#[path = "kubernetes/objects.rs"]
mod objects;

use objects::{config_map, custom, definition, deployment, event, name, names, namespace, version};

/// Long enough for controllers, and for what happens once in ten seconds, on two cores that do everything else too.
const SOON: Duration = Duration::from_secs(60);
const MAPS: &str = "/api/v1/namespaces/rig/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn controllers_make_objects_of_objects() -> Result<()> {
    let Some(programs) = Programs::find() else { return Ok(()) };
    let store = store().await?;
    let mut plane = ControlPlane::start(&programs, &store.endpoint(), &[])?;
    plane.start_controllers()?;
    plane.api().ask("POST", "/api/v1/namespaces", &namespace())?.good()?;
    plane.api().wait("/api/v1/namespaces/rig/serviceaccounts/default", SOON, |reply| {
        reply.object["secrets"].as_array().is_some_and(|secrets| !secrets.is_empty())
    })?;
    plane.api().ask("POST", "/apis/apps/v1/namespaces/rig/deployments", &deployment(3))?.good()?;
    plane.api().wait("/api/v1/namespaces/rig/pods", SOON, |reply| names(reply).len() == 3)?;
    plane.api().ask("DELETE", "/apis/apps/v1/namespaces/rig/deployments/web", &Value::Null)?.good()?;
    plane.api().wait("/api/v1/namespaces/rig/pods", SOON, |reply| reply.status == 200 && names(reply).is_empty())?;
    plane.api().ask("DELETE", "/api/v1/namespaces/rig", &Value::Null)?.good()?;
    plane.api().wait("/api/v1/namespaces/rig", SOON, |reply| reply.status == 404)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_defined_listed_watched_and_updated_once() -> Result<()> {
    let Some(programs) = Programs::find() else { return Ok(()) };
    for cache in ["--watch-cache=true", "--watch-cache=false"] {
        let store = store().await?;
        let plane = ControlPlane::start(&programs, &store.endpoint(), &[cache])?;
        plane.api().ask("POST", "/api/v1/namespaces", &namespace())?.good()?;
        custom_resources_work(&plane).context("custom resources")?;
        pages_are_of_one_moment(&plane).context("pages")?;
        stale_updates_are_conflicts(&plane).context("conflicts")?;
        a_watch_tells_what_happened_since(&plane).context("watch")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compacted_is_gone_and_events_end() -> Result<()> {
    let Some(programs) = Programs::find() else { return Ok(()) };
    let store = store().await?;
    let flags = ["--etcd-compaction-interval=5s", "--event-ttl=10s", "--watch-cache=false"];
    let plane = ControlPlane::start(&programs, &store.endpoint(), &flags)?;
    plane.api().ask("POST", "/api/v1/namespaces", &namespace())?.good()?;
    let events = "/api/v1/namespaces/rig/events";
    let made = plane.api().ask("POST", events, &event("arrived"))?.good()?;
    let mut watch = plane.api().watch(&format!("{events}?watch=1&resourceVersion={}", version(&made)))?;
    for number in 0..6 {
        plane.api().ask("POST", MAPS, &config_map(&format!("page-{number}"), "a"))?.good()?;
    }
    let first = plane.api().get(&format!("{MAPS}?limit=2"))?.good()?;
    let next = format!("{MAPS}?limit=2&continue={}", first["metadata"]["continue"].as_str().context("a token")?);
    let ended = watch.event()?.context("the watch ended before its event did")?;
    ensure!(ended["type"] == "DELETED" && name(&ended["object"]) == "arrived", "not the end of the event: {ended}");
    // A token lives as long as its version; the answer brings another one that goes on from the newest.
    let expired = plane.api().wait(&next, SOON, |reply| reply.status == 410)?;
    ensure!(expired.object["reason"] == "Expired", "{expired:?}");
    let fresh = expired.object["metadata"]["continue"].as_str().context("a token to go on with")?;
    let rest = plane.api().get(&format!("{MAPS}?continue={fresh}"))?.good()?;
    ensure!(rest["items"].as_array().is_some_and(|items| items.len() >= 4), "{rest}");
    let mut stale = plane.api().watch(&format!("{events}?watch=1&resourceVersion={}", version(&made)))?;
    ensure!(is_gone(&mut stale)?, "a watch from a compacted version went on");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_plane_lives_on_when_its_store_or_its_server_is_killed() -> Result<()> {
    let Some(programs) = Programs::find() else { return Ok(()) };
    let mut store = store().await?;
    let mut plane = ControlPlane::start(&programs, &store.endpoint(), &[])?;
    plane.api().ask("POST", "/api/v1/namespaces", &namespace())?.good()?;
    let mut last = version(&plane.api().ask("POST", MAPS, &config_map("before", "a"))?.good()?);
    for round in 0..3 {
        let mut watch = plane.api().watch(&format!("{MAPS}?watch=1&resourceVersion={last}"))?;
        store.restart().await?;
        plane.wait_ready()?;
        let name_now = format!("after-{round}");
        let made = retried(|| plane.api().ask("POST", MAPS, &config_map(&name_now, "b")))?;
        ensure!(version(&made) > last, "versions went back: {last}, then {}", version(&made));
        let seen = watch.event()?.context("the watch ended")?;
        ensure!(seen["type"] == "ADDED" && name(&seen["object"]) == name_now, "{seen}");
        plane.restart()?;
        let kept = plane.api().get(MAPS)?;
        // A server that begins again knows of nothing before its first list.
        last = version(&kept.object);
        ensure!(last >= version(&made), "versions went back: {}, then {last}", version(&made));
        ensure!(names(&kept).iter().filter(|name| name.starts_with("after")).count() == round + 1, "{kept:?}");
        ensure!(names(&kept).contains(&"before".to_owned()), "{kept:?}");
    }
    Ok(())
}

async fn store() -> Result<Server> {
    let launch = match env::var("TOMBOLO_KUBERNETES_STORE").as_deref() {
        Ok("etcd") => Server::etcd().context("no etcd")?,
        _ => Server::tombolo(),
    };
    launch.start().await
}

fn custom_resources_work(plane: &ControlPlane) -> Result<()> {
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let tides = "/apis/rig.example/v1/namespaces/rig/tides";
    plane.api().ask("POST", definitions, &definition())?.good()?;
    plane.api().wait(tides, SOON, |reply| reply.status == 200)?;
    let made = plane.api().ask("POST", tides, &custom("spring", 4))?.good()?;
    let mut watch = plane.api().watch(&format!("{tides}?watch=1&resourceVersion={}", version(&made)))?;
    let mut higher = made.clone();
    higher["spec"]["metres"] = json!(5);
    plane.api().ask("PUT", &format!("{tides}/spring"), &higher)?.good()?;
    let seen = watch.event()?.context("the watch ended")?;
    ensure!(seen["type"] == "MODIFIED" && seen["object"]["spec"]["metres"] == 5, "{seen}");
    plane.api().ask("DELETE", &format!("{definitions}/tides.rig.example"), &Value::Null)?.good()?;
    plane.api().wait(tides, SOON, |reply| reply.status == 404)?;
    Ok(())
}

/// The pages of a list show the moment of the first one, whatever happens meanwhile.
fn pages_are_of_one_moment(plane: &ControlPlane) -> Result<()> {
    for number in 0..1_200 {
        plane.api().ask("POST", MAPS, &config_map(&format!("page-{number:04}"), "a"))?.good()?;
    }
    let (mut path, mut seen, mut versions) = (format!("{MAPS}?limit=500"), Vec::new(), Vec::new());
    loop {
        let page = plane.api().get(&path)?;
        let list = page.clone().good()?;
        seen.extend(names(&page).into_iter().filter(|name| name.starts_with("page-")));
        versions.push(version(&list));
        let Some(token) = list["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) else { break };
        let rest = list["metadata"]["remainingItemCount"].as_u64().context("how many are left")?;
        ensure!(rest as usize >= 1_200 - seen.len(), "{rest} are left after {}", seen.len());
        path = format!("{MAPS}?limit=500&continue={token}");
        let pages = versions.len();
        plane.api().ask("POST", MAPS, &config_map(&format!("page-1199-{pages}"), "late"))?.good()?;
        plane.api().ask("DELETE", &format!("{MAPS}/page-11{:02}", 90 + pages), &Value::Null)?.good()?;
    }
    ensure!(versions.len() == 3 && versions.iter().all(|version| *version == versions[0]), "{versions:?}");
    ensure!(seen.len() == 1_200 && seen.is_sorted(), "{} names", seen.len());
    Ok(())
}

fn stale_updates_are_conflicts(plane: &ControlPlane) -> Result<()> {
    let first = plane.api().ask("POST", MAPS, &config_map("contended", "0"))?.good()?;
    let path = format!("{MAPS}/contended");
    plane.api().ask("PUT", &path, &first)?.good()?;
    let mut second = first.clone();
    second["data"]["value"] = json!("1");
    let second = plane.api().ask("PUT", &path, &second)?.good()?;
    let mut stale = first;
    stale["data"]["value"] = json!("2");
    let refused = plane.api().ask("PUT", &path, &stale)?;
    ensure!(refused.status == 409 && refused.object["reason"] == "Conflict", "{refused:?}");
    ensure!(plane.api().get(&path)?.object["data"] == second["data"], "a refused update changed something");
    let again = plane.api().ask("POST", MAPS, &config_map("contended", "3"))?;
    ensure!(again.status == 409 && again.object["reason"] == "AlreadyExists", "{again:?}");
    Ok(())
}

fn a_watch_tells_what_happened_since(plane: &ControlPlane) -> Result<()> {
    let since = version(&plane.api().ask("POST", MAPS, &config_map("tide", "0"))?.good()?);
    let mut expected = Vec::new();
    for value in ["1", "2"] {
        let made = plane.api().ask("PUT", &format!("{MAPS}/tide"), &config_map("tide", value))?.good()?;
        expected.push(("MODIFIED".to_owned(), version(&made)));
    }
    plane.api().ask("DELETE", &format!("{MAPS}/tide"), &Value::Null)?.good()?;
    let mut watch = plane.api().watch(&format!("{MAPS}?watch=1&resourceVersion={since}"))?;
    for (kind, expected) in expected {
        let seen = watch.event()?.context("the watch ended")?;
        ensure!(seen["type"] == kind && version(&seen["object"]) == expected, "{seen}");
    }
    let seen = watch.event()?.context("the watch ended")?;
    ensure!(seen["type"] == "DELETED" && seen["object"]["data"]["value"] == "2", "{seen}");
    Ok(())
}

/// Whether a watch was refused, at once or by its first event, because its beginning is no longer known.
fn is_gone(watch: &mut Watch) -> Result<bool> {
    if watch.status == 410 {
        return Ok(true);
    }
    let told = watch.event()?.context("the watch ended without a word")?;
    Ok(told["type"] == "ERROR" && told["object"]["code"] == 410)
}

/// An API server answers a request that its store's end cut short with an error of its own; clients try again.
fn retried(ask: impl Fn() -> Result<Reply>) -> Result<Value> {
    for _ in 0..50 {
        let reply = ask()?;
        if reply.status < 500 {
            return reply.good();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    ask()?.good()
}
