//! One writer at one site: it reads what others wrote, and writes, until its site is killed or the round is over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use tombolo_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request as Op,
};
use tonic::Status;

use super::ledger::{Attempt, Notes};
use crate::{connect::Connection, random::Random};

pub(super) struct Writer {
    name: String,
    site: usize,
    id: usize,
    random: Random,
    connection: Connection,
    over: Arc<AtomicBool>,
    notes: Notes,
    saw: Option<Bytes>,
}

impl Writer {
    pub(super) fn new(
        name: String,
        site: usize,
        id: usize,
        random: Random,
        connection: Connection,
        over: Arc<AtomicBool>,
    ) -> Self {
        Self { name, site, id, random, connection, over, notes: Notes::default(), saw: None }
    }

    /// Writes until it is over.
    ///
    /// # Errors
    ///
    /// When a request fails before that, or a revision goes back.
    pub(super) async fn run(mut self) -> Result<Notes> {
        while !self.over.load(Ordering::SeqCst) {
            match self.read_and_write().await {
                Ok(revision) => {
                    let seen = self.notes.seen_revision;
                    ensure!(revision >= seen, "{}: revision {revision} in a header after {seen}", self.name);
                    self.notes.seen_revision = revision;
                }
                Err(_) if self.over.load(Ordering::SeqCst) => break,
                Err(status) => bail!("{}: refused while its site was alive: {status}", self.name),
            }
            let breath = self.random.below(BREATH_US_MAX) as u64;
            tokio::time::sleep(Duration::from_micros(breath)).await;
        }
        Ok(self.notes)
    }

    async fn read_and_write(&mut self) -> Result<i64, Status> {
        if self.random.chance(50) {
            self.read().await?;
        }
        let (mut shared, mut others) = (Vec::new(), Vec::new());
        match self.random.below(100) {
            0..30 => (),
            30..60 => shared.push(self.shared_key()),
            60..80 => {
                shared.extend([self.shared_key(), self.shared_key(), self.shared_key()]);
                shared.sort_unstable();
                shared.dedup();
            }
            80..90 => others.push(Either::Put(self.fleeting_key())),
            _ => others.push(Either::Delete(self.fleeting_key())),
        }
        self.write(shared, others).await
    }

    async fn read(&mut self) -> Result<(), Status> {
        let request = RangeRequest { key: self.shared_key(), ..Default::default() };
        let response = self.connection.kv.range(request).await?.into_inner();
        if let [pair] = &response.kvs[..] {
            self.saw = Some(pair.value.clone());
        }
        Ok(())
    }

    async fn write(&mut self, shared: Vec<Bytes>, others: Vec<Either>) -> Result<i64, Status> {
        let (own, value) = self.note(shared.clone());
        let put = |key| Op::RequestPut(PutRequest { key, value: value.clone(), ..Default::default() });
        let other = |other| match other {
            Either::Put(key) => put(key),
            Either::Delete(key) => Op::RequestDeleteRange(DeleteRangeRequest { key, ..Default::default() }),
        };
        let ops = std::iter::once(put(own)).chain(shared.into_iter().map(put)).chain(others.into_iter().map(other));
        let success = ops.map(|request| RequestOp { request: Some(request) }).collect();
        let response = self.connection.kv.txn(TxnRequest { success, ..Default::default() }).await?.into_inner();
        let revision = response.header.map_or(0, |header| header.revision);
        let attempt = self.notes.attempts.last_mut().expect("it was noted before it was sent");
        attempt.acknowledged = Some(revision);
        Ok(revision)
    }

    /// Notes a write *before* it is sent, and makes its own key and its value.
    fn note(&mut self, shared: Vec<Bytes>) -> (Bytes, Bytes) {
        let padding = ".".repeat(self.random.below(100));
        let value = Bytes::from(format!("{}-{}{padding}", self.name, self.notes.attempts.len()));
        let own = Bytes::from(format!("own/{}/{}/{}", self.site, self.id, self.random.below(3)));
        self.notes.attempts.push(Attempt {
            site: self.site,
            value: value.clone(),
            own: own.clone(),
            shared,
            after: self.notes.attempts.last().map(|before| before.value.clone()),
            saw: self.saw.take(),
            acknowledged: None,
        });
        (own, value)
    }

    fn shared_key(&mut self) -> Bytes {
        Bytes::from(format!("shared/{}", self.random.below(6)))
    }

    /// A key that is put and deleted everywhere: an older value may show again when a newer one is deleted elsewhere.
    fn fleeting_key(&mut self) -> Bytes {
        Bytes::from(format!("fleeting/{}", self.random.below(4)))
    }
}

enum Either {
    Put(Bytes),
    Delete(Bytes),
}

/// Twelve writers on two cores shall leave time for the servers.
const BREATH_US_MAX: usize = 6_000;
