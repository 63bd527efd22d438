//! A watch over every key of one site, followed from the site's own beginning, over as many connections as it takes.

use std::{cell::Cell, time::Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{WatchCreateRequest, WatchResponse},
    mvccpb::{Event, event::EventType},
};
use tombolo_rig::{connect::Connection, watching::stream::WatchStream};

use super::client::text;

/// One event as a watcher saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) revision: i64,
    pub(crate) key: String,
    /// `None` for a removal.
    pub(crate) value: Option<String>,
}

/// The watch, and what came of it so far.
#[derive(Debug)]
pub(crate) struct Follower {
    /// What the streams that are over have told.
    before: Vec<Seen>,
    stream: WatchStream,
}

impl Follower {
    /// Watches everything from the first revision of the site on.
    pub(crate) async fn start(connection: &Connection) -> Result<Self> {
        Ok(Self { before: Vec::new(), stream: open(connection, 1).await? })
    }

    /// Goes on behind the last revision that it was told of, as a client does after its connection broke.
    pub(crate) async fn resume(&mut self, connection: &Connection) -> Result<()> {
        self.before = self.seen();
        let next = self.before.last().map_or(1, |event| event.revision + 1);
        self.stream = open(connection, next).await?;
        Ok(())
    }

    /// Everything seen so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let mut seen = self.before.clone();
        self.stream.look(|responses| seen.extend(responses.iter().flat_map(|answer| &answer.events).filter_map(event)));
        seen
    }

    /// Waits until it is told that a key has this value, or with `None` that it is gone, and says when that was.
    pub(crate) async fn sees(&self, key: &str, value: Option<&str>) -> Result<Instant> {
        let is_it = |event: &Event| {
            let removed = event.r#type() == EventType::Delete;
            event.kv.as_ref().is_some_and(|pair| {
                pair.key == key
                    && if removed { value.is_none() } else { value.is_some_and(|value| pair.value == value) }
            })
        };
        // Each answer is looked at once, however many come before the right one.
        let looked_at = Cell::new(0);
        let told = |answers: &[WatchResponse]| {
            let fresh = &answers[looked_at.replace(answers.len())..];
            fresh.iter().flat_map(|answer| &answer.events).any(is_it)
        };
        self.stream.wait(told).await.with_context(|| format!("a watcher was not told that {key} is {value:?}"))?;
        Ok(Instant::now())
    }
}

async fn open(connection: &Connection, start_revision: i64) -> Result<WatchStream> {
    let everything = Bytes::from_static(b"\0");
    let request =
        WatchCreateRequest { key: everything.clone(), range_end: everything, start_revision, ..Default::default() };
    let mut stream = WatchStream::open(connection);
    stream.create(request).await.context("start a watch")?;
    let refused = stream.look(|responses| responses.iter().find(|answer| answer.canceled).cloned());
    match refused {
        Some(answer) => bail!("the watch from {start_revision} was refused: {}", answer.cancel_reason),
        None => Ok(stream),
    }
}

fn event(event: &Event) -> Option<Seen> {
    let removed = event.r#type() == EventType::Delete;
    let pair = event.kv.as_ref()?;
    let value = (!removed).then(|| text(&pair.value));
    Some(Seen { revision: pair.mod_revision, key: text(&pair.key), value })
}
