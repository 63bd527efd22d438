//! One stream of `Observe`. It reads only when the client wants the next answer, so a slow client costs a place in the hub's history.

use std::collections::VecDeque;

use tombolo_proto::{etcdserverpb::ResponseHeader, v3electionpb::LeaderResponse};
use tombolo_site::{Delivery, Heard, Leader};
use tombolo_storage::KeyValue;
use tonic::Status;

use super::super::{
    convert,
    line::{resumable, watch},
    status::{Fault, line::LineFault},
};
use crate::{
    gate::{Leave, Pass},
    watches::{Item, Subscription},
};

/// One stream of `Observe`.
pub(super) struct Observation {
    leader: Leader,
    leave: Leave,
    pass: Pass,
    /// What is watched; `None` when the line has to be read.
    watch: Option<Subscription>,
    ready: VecDeque<LeaderResponse>,
}

type Answer = Result<LeaderResponse, Status>;

impl Observation {
    pub(super) fn new(name: &[u8], leave: Leave, pass: Pass) -> Self {
        Self { leader: Leader::new(name), leave, pass, watch: None, ready: VecDeque::new() }
    }

    /// The next answer; what follows an error is the end.
    pub(super) async fn next(this: Option<Self>) -> Option<(Answer, Option<Self>)> {
        let mut this = this?;
        match this.advance().await {
            Ok(answer) => Some((Ok(answer), Some(this))),
            Err(why) => Some((Err(why.into()), None)),
        }
    }

    async fn advance(&mut self) -> Result<LeaderResponse, LineFault> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                // What has become a secret meanwhile is not told.
                self.pass.holds(&self.leave).await?;
                return Ok(answer);
            }
            let Some(watch) = &mut self.watch else {
                self.look().await?;
                continue;
            };
            match watch.outbox.recv().await {
                Some(Item::Deliver(delivery)) => {
                    watch.drained(delivery.cost);
                    self.hear(&delivery)?;
                }
                Some(Item::End(ending)) => {
                    resumable(&ending.cause)?;
                    self.watch = None;
                }
                Some(Item::Progress(progress)) => watch.drained(progress.cost),
                Some(Item::Control(_)) => {}
                // Every watch ends with the server.
                None => return Err(Fault::Stopped.into()),
            }
        }
    }

    /// Reads who leads, and watches from there on.
    async fn look(&mut self) -> Result<(), LineFault> {
        let replica = self.pass.replica();
        let answer = replica.reads.range(self.leader.query()).await.map_err(|why| Fault::from(&why))?;
        let revision = answer.revision.get();
        let (found, spec) = self.leader.found(answer);
        self.watch = Some(watch(replica, spec)?);
        if let Some(pair) = found {
            self.tell(pair, revision);
        }
        Ok(())
    }

    fn hear(&mut self, delivery: &Delivery) -> Result<(), LineFault> {
        for event in delivery.events() {
            match self.leader.hear(event) {
                Heard::Nothing => {}
                Heard::Proclaimed(pair) => self.tell(pair, delivery.revision.get()),
                Heard::Elected(pair) => {
                    let spec = self.leader.watch_of(&pair, pair.mod_revision);
                    self.watch = Some(watch(self.pass.replica(), spec)?);
                    let revision = pair.mod_revision;
                    self.tell(pair, revision);
                    return Ok(());
                }
                Heard::Departed => {
                    self.watch = None;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, pair: KeyValue, revision: i64) {
        let header = Some(ResponseHeader { revision, ..self.pass.replica().header_now() });
        self.ready.push_back(LeaderResponse { header, kv: Some(convert::pair(pair)) });
    }
}
