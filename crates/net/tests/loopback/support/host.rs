//! The program around a node, made of a toy store: membership lies in its records, as in a real one.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tombolo_crdt::{Operation, Record, ReplicaId, VersionVector};
use tombolo_net::{
    Admission, AdmissionTerms, Announcement, Event, Host, IngestReport, Invitation, JoinRefusal, JoinRequest, KeyPair,
    LoadFailure, Loaded, ProvenBatch, Report, Roster, RosterEntry, Standing, SystemKey, TicketId,
};

use super::{
    site::MESH,
    toy_store::{ToyStore, id},
};

pub(crate) struct ToyHost {
    own: ReplicaId,
    key: KeyPair,
    store: Mutex<ToyStore>,
    standing: watch::Sender<Arc<Standing>>,
    roster: watch::Sender<Arc<Roster>>,
    brought: Vec<RosterEntry>,
    pub(crate) events: Mutex<Vec<(ReplicaId, Event)>>,
    pub(crate) reports: Mutex<Vec<Report>>,
    /// Records handed in, those that were known included.
    pub(crate) ingested: AtomicUsize,
    answering: AtomicUsize,
    /// The most questions that were worked at together.
    pub(crate) answering_max: AtomicUsize,
    paging: AtomicUsize,
    /// The most pages that were worked at together.
    pub(crate) paging_max: AtomicUsize,
    pub(crate) invitations: Mutex<BTreeMap<TicketId, Invitation>>,
    redeemed: Mutex<BTreeMap<TicketId, Admission>>,
    pub(crate) wall_ms: AtomicU64,
}

/// What the wall clock shows in the beginning. It stands still.
pub(crate) const WALL_MS: u64 = 1_700_000_000_000;

impl ToyHost {
    pub(crate) fn new(number: u64, key: KeyPair) -> Self {
        Self::bringing(number, key, &[])
    }

    /// One that came in with these admissions: it believes who founded its mesh before it has heard of anybody.
    pub(crate) fn bringing(number: u64, key: KeyPair, chain: &[Admission]) -> Self {
        let store = ToyStore::new(number);
        let brought = chain.last().into_iter().map(|admission| RosterEntry {
            key: SystemKey::Admission(admission.terms.replica).to_string().into(),
            author: admission.terms.issuer,
            seq: 0,
            value: admission.encode().into(),
        });
        let brought: Vec<_> = brought.collect();
        Self {
            roster: watch::Sender::new(Arc::new(Roster::new(MESH, brought.clone()))),
            brought,
            own: id(number),
            key,
            standing: watch::Sender::new(store.standing()),
            store: Mutex::new(store),
            events: Mutex::default(),
            reports: Mutex::default(),
            ingested: AtomicUsize::new(0),
            answering: AtomicUsize::new(0),
            answering_max: AtomicUsize::new(0),
            paging: AtomicUsize::new(0),
            paging_max: AtomicUsize::new(0),
            invitations: Mutex::default(),
            redeemed: Mutex::default(),
            wall_ms: AtomicU64::new(WALL_MS),
        }
    }

    pub(crate) fn write(&self, bytes: usize) {
        let mut store = self.store.lock();
        store.write(bytes);
        self.standing.send_replace(store.standing());
    }

    /// Writes what cannot be compressed.
    pub(crate) fn write_noise(&self, bytes: usize) {
        let mut state = self.own.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.frontier().seq(self.own);
        let noise = (0..bytes).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        });
        let value = noise.collect::<Vec<_>>().into();
        let put = Operation::Put { key: "k".into(), value, lease: None, supersedes: vec![] };
        let mut store = self.store.lock();
        store.write_operation(put);
        self.standing.send_replace(store.standing());
    }

    pub(crate) fn write_admission(&self, admission: &Admission) {
        self.write_system(SystemKey::Admission(admission.terms.replica), admission.encode());
    }

    /// Says who admitted it, as a newcomer does before anything else.
    pub(crate) fn introduce(&self, chain: &[Admission]) {
        self.write_system(SystemKey::Proof(self.own), Admission::encode_chain(chain));
    }

    pub(crate) fn announce(&self, address: SocketAddr) {
        let announcement = Announcement { addresses: vec![address.to_string()], ..Default::default() };
        self.write_system(SystemKey::Announcement(self.own), announcement.encode());
    }

    /// A roster from elsewhere than the store.
    pub(crate) fn set_roster(&self, roster: Roster) {
        self.roster.send_replace(Arc::new(roster));
    }

    pub(crate) fn frontier(&self) -> VersionVector {
        self.store.lock().frontier().clone()
    }

    fn write_system(&self, key: SystemKey, value: Vec<u8>) {
        let key = key.to_string().into();
        let put = Operation::SystemPut { key, value: value.into(), supersedes: vec![] };
        let mut store = self.store.lock();
        store.write_operation(put);
        self.publish(&store);
    }

    /// The membership first: who is admitted must be known before anybody hears of the record.
    fn publish(&self, store: &ToyStore) {
        let roster = Arc::new(Roster::new(MESH, roster_entries(store).into_iter().chain(self.brought.iter().cloned())));
        self.roster.send_if_modified(|known| {
            let is_new = **known != *roster;
            *known = roster;
            is_new
        });
        self.standing.send_replace(store.standing());
    }
}

impl Host for ToyHost {
    fn standing(&self) -> watch::Receiver<Arc<Standing>> {
        self.standing.subscribe()
    }

    fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.subscribe()
    }

    async fn load(&self, seen: VersionVector, from: u64, commits: usize, bytes: usize) -> Result<Loaded, LoadFailure> {
        tokio::task::yield_now().await;
        self.store.lock().load(&seen, from, commits, bytes)
    }

    async fn ingest(&self, _: ReplicaId, batch: ProvenBatch) -> IngestReport {
        // A disk takes its time.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.ingested.fetch_add(batch.records().len(), Ordering::Relaxed);
        let mut store = self.store.lock();
        let report = store.ingest_batch(&batch);
        if batch.records().iter().any(is_of_the_system) {
            self.publish(&store);
        } else {
            self.standing.send_replace(store.standing());
        }
        report
    }

    async fn redeem(&self, request: JoinRequest) -> Result<Admission, JoinRefusal> {
        if let Some(admission) = self.redeemed.lock().get(&request.ticket) {
            let same = (admission.terms.replica, admission.terms.key) == (request.replica, request.key);
            return if same { Ok(*admission) } else { Err(JoinRefusal::Reused) };
        }
        let mut invitations = self.invitations.lock();
        let invitation = invitations.get(&request.ticket).ok_or(JoinRefusal::UnknownTicket)?;
        if !invitation.is_opened_by(request.ticket, &request.secret) {
            return Err(JoinRefusal::WrongSecret);
        }
        if invitation.has_expired(self.wall_ms()) {
            return Err(JoinRefusal::Expired);
        }
        let terms = AdmissionTerms {
            mesh: MESH,
            replica: request.replica,
            key: request.key,
            slots: invitation.slots,
            ticket: request.ticket,
            issuer: self.own,
        };
        let admission = Admission::sign(terms, &self.key);
        invitations.remove(&request.ticket);
        self.redeemed.lock().insert(request.ticket, admission);
        self.write_admission(&admission);
        Ok(admission)
    }

    async fn answer(&self, peer: ReplicaId, question: Bytes) -> Bytes {
        let under_way = self.answering.fetch_add(1, Ordering::Relaxed) + 1;
        self.answering_max.fetch_max(under_way, Ordering::Relaxed);
        let answer = match &question[..] {
            b"who?" => Bytes::from(format!("{peer} asks {}", self.own)),
            b"never" => std::future::pending().await,
            b"unknown" => Bytes::new(),
            _ => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                question
            }
        };
        self.answering.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    /// As many bytes as the pull has in words of eight, none of which repeats.
    async fn page(&self, _: ReplicaId, pull: Bytes) -> Bytes {
        let under_way = self.paging.fetch_add(1, Ordering::Relaxed) + 1;
        self.paging_max.fetch_max(under_way, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
        let words: u64 = std::str::from_utf8(&pull).ok().and_then(|words| words.parse().ok()).unwrap_or(0);
        let scrambled = |word: u64| (word + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        self.paging.fetch_sub(1, Ordering::Relaxed);
        (0..words).flat_map(scrambled).collect::<Vec<u8>>().into()
    }

    fn event(&self, peer: ReplicaId, event: Event) {
        self.events.lock().push((peer, event));
    }

    fn report(&self, report: Report) {
        self.reports.lock().push(report);
    }

    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::Relaxed)
    }
}

/// Whether membership may lie in a record.
fn is_of_the_system(record: &Bytes) -> bool {
    let operations = Record::decode(record.clone()).map(|record| record.operations).unwrap_or_default();
    operations.iter().any(|operation| matches!(operation, Operation::SystemPut { .. }))
}

fn roster_entries(store: &ToyStore) -> Vec<RosterEntry> {
    let log = store.load(&VersionVector::new(), 0, usize::MAX, usize::MAX).unwrap().records;
    let mut entries = Vec::new();
    for (dot, bytes) in log {
        for operation in Record::decode(bytes).unwrap().operations {
            if let Operation::SystemPut { key, value, .. } = operation {
                entries.push(RosterEntry { key, author: dot.replica, seq: dot.seq, value });
            }
        }
    }
    // Winners first: the toy's log ends with the newest.
    entries.reverse();
    entries
}
