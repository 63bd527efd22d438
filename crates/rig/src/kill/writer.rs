//! One of the writers: it writes as fast as it is answered, until the server is gone.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tombolo_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RequestOp, ResponseHeader, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request as Op,
};
use tonic::Status;

use super::ledger::{Attempt, Notes};
use crate::{connect::Connection, random::Random};

pub(super) struct Writer {
    name: String,
    id: usize,
    random: Random,
    connection: Connection,
    killed: Arc<AtomicBool>,
    notes: Notes,
}

impl Writer {
    pub(super) fn new(
        name: String,
        id: usize,
        random: Random,
        connection: Connection,
        killed: Arc<AtomicBool>,
    ) -> Self {
        Self { name, id, random, connection, killed, notes: Notes::default() }
    }

    /// Writes until the server is killed.
    ///
    /// # Errors
    ///
    /// When it fails before that, or when a revision goes back.
    pub(super) async fn run(mut self) -> Result<Notes> {
        loop {
            match self.write().await {
                Ok(header) => {
                    let revision = header.map_or(0, |header| header.revision);
                    let seen = self.notes.seen_revision;
                    ensure!(revision >= seen, "{}: revision {revision} in a header after {seen}", self.name);
                    self.notes.seen_revision = revision;
                }
                Err(_) if self.killed.load(Ordering::SeqCst) => return Ok(self.notes),
                Err(status) => anyhow::bail!("{}: refused while the server was alive: {status}", self.name),
            }
        }
    }

    async fn write(&mut self) -> Result<Option<ResponseHeader>, Status> {
        match self.random.below(100) {
            0..50 => {
                let key = self.own_key();
                self.put(key).await
            }
            50..70 => {
                let key = self.shared_key();
                self.put(key).await
            }
            70..85 => {
                let mut keys = vec![self.own_key()];
                keys.extend((0..4).map(|_| self.shared_key()));
                keys.sort_unstable();
                keys.dedup();
                self.txn(keys, Vec::new()).await
            }
            85..95 => {
                let (put, delete) = (self.own_key(), self.shared_key());
                self.txn(vec![put], vec![delete]).await
            }
            _ => self.guarded_by_nonsense().await,
        }
    }

    async fn put(&mut self, key: Bytes) -> Result<Option<ResponseHeader>, Status> {
        let value = self.note(vec![key.clone()], Vec::new());
        let response = self.connection.kv.put(PutRequest { key, value, ..Default::default() }).await?;
        Ok(self.acknowledge(response.into_inner().header))
    }

    async fn txn(&mut self, puts: Vec<Bytes>, deletes: Vec<Bytes>) -> Result<Option<ResponseHeader>, Status> {
        let value = self.note(puts.clone(), deletes.clone());
        let put = |key| Op::RequestPut(PutRequest { key, value: value.clone(), ..Default::default() });
        let delete = |key| Op::RequestDeleteRange(DeleteRangeRequest { key, ..Default::default() });
        let ops = puts.into_iter().map(put).chain(deletes.into_iter().map(delete));
        let success = ops.map(|request| RequestOp { request: Some(request) }).collect();
        let response = self.connection.kv.txn(TxnRequest { success, ..Default::default() }).await?;
        Ok(self.acknowledge(response.into_inner().header))
    }

    /// A transaction whose compare fails: it must leave no trace.
    async fn guarded_by_nonsense(&mut self) -> Result<Option<ResponseHeader>, Status> {
        let compare = vec![Compare {
            result: CompareResult::Equal as i32,
            target: CompareTarget::Version as i32,
            key: self.own_key(),
            target_union: Some(TargetUnion::Version(-1)),
            ..Default::default()
        }];
        let put = PutRequest { key: self.own_key(), value: Bytes::from_static(b"never"), ..Default::default() };
        let success = vec![RequestOp { request: Some(Op::RequestPut(put)) }];
        let response = self.connection.kv.txn(TxnRequest { compare, success, failure: Vec::new() }).await?;
        Ok(response.into_inner().header)
    }

    /// Notes a write *before* it is sent, and makes its value.
    fn note(&mut self, puts: Vec<Bytes>, deletes: Vec<Bytes>) -> Bytes {
        let padding = ".".repeat(self.random.below(200));
        let value = Bytes::from(format!("{}-{}{padding}", self.name, self.notes.attempts.len()));
        self.notes.attempts.push(Attempt { value: value.clone(), puts, deletes, acknowledged: None });
        value
    }

    fn acknowledge(&mut self, header: Option<ResponseHeader>) -> Option<ResponseHeader> {
        let attempt = self.notes.attempts.last_mut().expect("it was noted before it was sent");
        attempt.acknowledged = Some(header.as_ref().map_or(0, |header| header.revision));
        header
    }

    fn own_key(&mut self) -> Bytes {
        Bytes::from(format!("own/{}/{}", self.id, self.random.below(4)))
    }

    fn shared_key(&mut self) -> Bytes {
        Bytes::from(format!("shared/{}", self.random.below(20)))
    }
}
