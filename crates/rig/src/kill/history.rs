//! What the server says after it was started again: its revision, its state, its whole history, and single old values.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{RangeRequest, WatchCreateRequest, WatchResponse, watch_request::RequestUnion},
    mvccpb::{Event, KeyValue},
};

use super::{ledger::Attempt, verdict::Fault};
use crate::{connect::Connection, watching::stream::WatchStream};

/// Everything read back.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The current revision.
    pub revision: i64,
    /// Every key that is there.
    pub state: Vec<KeyValue>,
    /// Every event since the beginning.
    pub history: Vec<Event>,
}

impl Evidence {
    /// Reads the state, and the history by a fresh watch from revision 1.
    ///
    /// # Errors
    ///
    /// When the server refuses, or its history does not reach its state.
    pub async fn read(connection: &mut Connection) -> Result<Self> {
        let everything = Bytes::from_static(b"\0");
        let request = RangeRequest { key: everything.clone(), range_end: everything.clone(), ..Default::default() };
        let response = connection.kv.range(request).await?.into_inner();
        let revision = response.header.context("a header")?.revision;
        let newest = response.kvs.iter().map(|kv| kv.mod_revision).max().unwrap_or_default();
        let mut stream = WatchStream::open(connection);
        let request = WatchCreateRequest {
            key: everything.clone(),
            range_end: everything,
            start_revision: 1,
            ..Default::default()
        };
        stream.send(RequestUnion::CreateRequest(request)).await?;
        // Every write of the rig puts something, so the newest revision is that of a living key.
        let reaches = |responses: &[WatchResponse]| {
            let last = responses.iter().rev().find_map(|response| response.events.last());
            last.map_or(0, revision_of) >= newest
        };
        stream.wait(reaches).await.with_context(|| format!("the history does not reach revision {newest}"))?;
        let responses = stream.responses();
        ensure!(!responses.iter().any(|response| response.canceled), "the history was cancelled: {responses:?}");
        let history = responses.into_iter().flat_map(|response| response.events).collect();
        Ok(Self { revision, state: response.kvs, history })
    }
}

/// Reads the keys of these writes as they were at the revision of the acknowledgement.
pub async fn read_back(connection: &mut Connection, sample: &[Attempt]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for attempt in sample {
        let Some(revision) = attempt.acknowledged else { continue };
        for key in &attempt.puts {
            let request = RangeRequest { key: key.clone(), revision, ..Default::default() };
            // A refusal is as bad as another value.
            let kvs = connection.kv.range(request).await.map(|response| response.into_inner().kvs).unwrap_or_default();
            let is_there = matches!(&kvs[..], [kv] if kv.value == attempt.value && kv.mod_revision == revision);
            if !is_there {
                faults.push(Fault::NotReadBack { revision, key: key.clone(), value: attempt.value.clone() });
            }
        }
    }
    faults
}

/// The revision of an event.
#[must_use]
pub fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}
