//! Health: `/health` as etcd answers it, and the probes `/livez` and `/readyz` with one line for each check.
//!
//! Alive is a server that answers reads; ready is one that also takes writes and has its data whole. A full disk does not make it unready, since
//! deletes and reads are what an operator needs then; it shows in `/health`, where it can be excluded by name.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::json;
use tombolo_storage::{Health, KeyRange, RangeQuery};
use tracing::warn;

use super::query;
use crate::{
    keeper::{self, Alarms, Fill},
    replica::Replica,
};

type Checks = [(&'static str, Check)];
type Check = fn(&Replica) -> Result<(), String>;

const LIVE: &Checks = &[("serializable_read", can_read)];
const READY: &Checks = &[
    ("data_corruption", can_read),
    ("serializable_read", can_read),
    ("linearizable_read", can_read),
    ("store_writable", is_writable),
];

/// `/health`: one object, with a reason when it is not well.
pub(super) async fn health(State(replica): State<Arc<Replica>>, RawQuery(query): RawQuery) -> Response {
    let excluded = |alarm: &str| query::values(query.as_deref(), "exclude").any(|name| name == alarm);
    let serializable = query::values(query.as_deref(), "serializable").any(|value| value == "true");
    let alarms: BTreeSet<&str> =
        Alarms::all(&replica).into_iter().map(|alarm| alarm.kind.to_etcd().as_str_name()).collect();
    let reason = alarms.iter().find(|alarm| !excluded(alarm)).map(|alarm| format!("ALARM {alarm}"));
    let reason = reason.or_else(|| match replica.store.health() {
        Health::Poisoned if !serializable => Some("STORE TAKES NO WRITES".to_owned()),
        _ => can_read(&replica).err().map(|why| format!("RANGE ERROR:{why}")),
    });
    let reason = reason.or_else(|| {
        let mut disputes = replica.mesh.disputes().into_iter();
        disputes.find(|alarm| !excluded(alarm)).map(|alarm| format!("ALARM {alarm}"))
    });
    let counter = if reason.is_none() { &replica.metrics.healthy } else { &replica.metrics.unhealthy };
    counter.add(1);
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = json!({ "health": reason.is_none().to_string(), "reason": reason.unwrap_or_default() });
    if query::values(query.as_deref(), "verbose").next().is_some() {
        body["warnings"] = json!(warnings(&replica));
    }
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// What an operator should know before it makes the server unwell.
fn warnings(replica: &Replica) -> Vec<String> {
    let shortage = replica.store.shortage().map(|cause| keeper::shortage(cause).to_owned());
    let fill = Fill::of(&replica.store.sizes()).filter(|fill| fill.is_high());
    shortage.into_iter().chain(fill.map(Fill::text)).collect()
}

pub(super) async fn livez(State(replica): State<Arc<Replica>>, RawQuery(query): RawQuery) -> Response {
    probe(&replica, LIVE, query.as_deref())
}

pub(super) async fn livez_one(
    State(replica): State<Arc<Replica>>,
    Path(check): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    probe_one(&replica, LIVE, &check, query.as_deref())
}

pub(super) async fn readyz(State(replica): State<Arc<Replica>>, RawQuery(query): RawQuery) -> Response {
    probe(&replica, READY, query.as_deref())
}

pub(super) async fn readyz_one(
    State(replica): State<Arc<Replica>>,
    Path(check): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    probe_one(&replica, READY, &check, query.as_deref())
}

fn probe_one(replica: &Replica, checks: &Checks, name: &str, query: Option<&str>) -> Response {
    match checks.iter().find(|(known, _)| *known == name) {
        Some(check) => probe(replica, &[*check], query),
        None => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
    }
}

fn probe(replica: &Replica, checks: &Checks, query: Option<&str>) -> Response {
    let mut report = String::new();
    let mut well = true;
    for (name, check) in checks {
        if query::values(query, "exclude").any(|excluded| excluded == *name) {
            continue;
        }
        match check(replica) {
            Ok(()) => report += &format!("[+]{name} ok\n"),
            Err(why) => {
                well = false;
                report += &format!("[-]{name} failed: {why}\n");
            }
        }
    }
    if !well {
        warn!(%report, "a health probe failed");
        return (StatusCode::SERVICE_UNAVAILABLE, report).into_response();
    }
    let verbose = query::values(query, "verbose").next().is_some();
    let report = if verbose { report } else { String::new() };
    ([(header::X_CONTENT_TYPE_OPTIONS, "nosniff")], report + "ok\n").into_response()
}

fn can_read(replica: &Replica) -> Result<(), String> {
    let key = KeyRange::single(Bytes::from_static(b"\0"));
    replica
        .store
        .range(&RangeQuery { keys_only: true, ..RangeQuery::all(key) })
        .map(drop)
        .map_err(|why| why.to_string())
}

fn is_writable(replica: &Replica) -> Result<(), String> {
    match replica.store.health() {
        Health::Ok | Health::NoSpace => Ok(()),
        Health::Poisoned => Err("the store takes no writes until it is reopened".to_owned()),
    }
}
