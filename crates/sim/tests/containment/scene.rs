//! The sound side: replica 1 with its store, and its session with replica 2, as a server would drive it.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, Operation, ReplicaId, SignedHead};
use tombolo_net::{
    Batch, Equivocation, Event, Fault, Hello, IngestRefusal, IngestReport, Input, Limits, Loaded, Message, Moment,
    OPERATION_KIND_MAX, Output, Roster, RosterEntry, Session, Settings, Signer, Standing, SystemKey,
};
use tombolo_storage::{
    ArrivalBudget, BroughtSystem, Committer, Founding, IngestError, MeshId, OpenOptions, Provider, Pull, Put, Receiver,
    RefusedBatch, Request, Slot, Store, WallTime,
    engine::{Engine, memory::MemoryEngine},
};

use crate::villain::{Author, MESH, admissions, id, key, put};

pub(crate) const WALL_MS: u64 = 1_700_000_000_000;

/// Replica 1, which founded the mesh, and its session with replica 2. Replica 3 is a member, too, and far away.
pub(crate) struct Scene {
    pub(crate) engine: Arc<MemoryEngine>,
    pub(crate) store: Store,
    committer: Committer,
    session: Session,
    roster: Roster,
    signer: Signer,
    now: u64,
    deadline: Option<Moment>,
    pub(crate) closed: Option<Fault>,
    pub(crate) events: Vec<Event>,
    /// Everything that was said to the peer.
    pub(crate) said: Vec<Message>,
    /// The stream of the peer, which has two records here.
    pub(crate) two: Author,
    /// The stream of replica 3, which has two records here that came by the peer.
    pub(crate) three: Author,
    /// The stream of replica 1 as it is here.
    pub(crate) one: Author,
    /// The stream of a sound member, as that member has it.
    pub(crate) sound: Author,
}

/// Everything of a store that anybody could have changed.
pub(crate) type Snapshot = (Vec<(Bytes, Bytes)>, String);

impl Scene {
    /// Before the peer has said hello.
    pub(crate) fn silent() -> Self {
        let engine = Arc::new(MemoryEngine::new());
        let founding = Founding::Join { mesh: MeshId(MESH), replica: id(1), slot: Slot::FIRST };
        let options = OpenOptions { founding, ..OpenOptions::new(WallTime(WALL_MS), [7; 32]) };
        let (store, mut committer) = Store::open_on(Box::new(Arc::clone(&engine)), &options).unwrap();
        for value in ["1", "2", "3"] {
            write(&mut committer, "own", value);
        }
        let (mut two, mut three) = (Author::new(2), Author::new(3));
        for author in [&mut two, &mut three] {
            for value in ["1", "2"] {
                let record = author.write(vec![put("theirs", value)]);
                committer.ingest_batch(WallTime(WALL_MS), vec![record], vec![author.head()]).unwrap();
                committer.commit().unwrap();
            }
        }
        let session = session(&store, 2, 0);
        let one = Author { seq: 3, chain: store.standing().chains[&id(1)], ..Author::new(1) };
        let (closed, events, said) = (None, Vec::new(), Vec::new());
        let signer = Signer::new(MESH, id(1), key(1));
        let roster = roster(admissions());
        let mut scene = Self {
            engine,
            store,
            committer,
            session,
            roster,
            signer,
            now: 0,
            deadline: None,
            closed,
            events,
            said,
            sound: three.clone(),
            two,
            three,
            one,
        };
        scene.drain();
        scene
    }

    /// After both hellos, when all is quiet.
    pub(crate) fn open() -> Self {
        let mut scene = Self::silent();
        let hello = scene.hello();
        scene.say(Message::Hello(hello));
        assert_eq!(scene.closed, None);
        scene
    }

    /// A sound hello of the peer: it has what is here.
    pub(crate) fn hello(&self) -> Hello {
        self.hello_of(2)
    }

    fn hello_of(&self, replica: u64) -> Hello {
        let standing = standing(&self.store);
        Hello {
            mesh: MESH,
            replica: id(replica),
            wall_ms: WALL_MS,
            kinds: OPERATION_KIND_MAX,
            window: Limits::default().window_bytes,
            heads: standing.frontier.iter().map(|dot| (dot, standing.chains[&dot.replica])).collect(),
            floor: standing.floor.clone(),
            digest: standing.digest,
        }
    }

    /// The peer says something.
    pub(crate) fn say(&mut self, message: Message) {
        self.say_bytes(message.encode());
    }

    pub(crate) fn say_bytes(&mut self, payload: Bytes) {
        self.input(Input::Frame(payload));
    }

    /// The peer sends records, and heads behind them.
    pub(crate) fn send(&mut self, records: Vec<Bytes>, heads: Vec<SignedHead>) {
        self.say(Message::Records(records));
        self.say(Message::Heads(heads));
    }

    /// Time passes. The peer gives signs of life if it is `alive`.
    pub(crate) fn wait(&mut self, ms: u64, alive: bool) {
        let until = self.now + ms;
        while self.now < until && self.closed.is_none() {
            let next = self.deadline.map_or(until, |at| at.0.max(self.now + 1)).min(until).min(self.now + 500);
            self.now = next;
            if alive {
                self.input(Input::Arriving);
            }
            self.input(Input::Deadline);
        }
    }

    /// A write of this replica, to see that it still works.
    pub(crate) fn write(&mut self, value: &str) -> Dot {
        write(&mut self.committer, "own", value);
        self.advanced();
        self.drain();
        Dot::new(id(1), self.store.frontier().seq(id(1)))
    }

    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.committer.commit().unwrap();
        let store = &self.store;
        let rows = self.engine.snapshot().scan(&[0], &[0xff]).map(|row| row.unwrap()).collect();
        let shown = format!(
            "{:?} {:?} {:032x} {:?} {:?}",
            store.published(),
            store.frontier(),
            store.digest(),
            store.signed_heads(),
            store.system(b"")
        );
        (rows, shown)
    }

    /// Takes the state of a provider whose hand is `sign`, as servers do: everything is staged, proven and joined.
    pub(crate) fn take_state(
        &mut self,
        provider: &Provider,
        sign: impl Fn(Dot, Chain) -> Option<SignedHead>,
    ) -> Result<(), Box<dyn Error>> {
        let mut receiver = Receiver::resume(&self.store)?;
        loop {
            let pulls = receiver.next_pulls(3);
            if pulls.is_empty() {
                break;
            }
            for Pull { id, body } in pulls {
                let staged = receiver.take(id, provider.answer(Duration::ZERO, body, &sign)?)?;
                self.committer.stage(WallTime(WALL_MS), staged)?;
            }
            self.committer.commit()?;
        }
        let collected = receiver.complete()?.ok_or("something is missing")?;
        let proven = collected.prove(|collected| {
            self.roster.judge_heads(MESH, collected.heads(), || {
                let brought = collected.system(SystemKey::MEMBER_PREFIX.as_bytes())?;
                let entry = |BroughtSystem { key, element, value }| RosterEntry {
                    key,
                    author: element.dot.replica,
                    seq: element.dot.seq,
                    value,
                };
                Ok::<_, Box<dyn Error>>(brought.into_iter().map(entry).collect())
            })
        })?;
        self.committer.publish_transfer(WallTime(WALL_MS), proven)?;
        Ok(())
    }

    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// What readers, peers and watchers know of the store, without what is staged.
    pub(crate) fn shown(&mut self) -> String {
        self.snapshot().1
    }

    /// A sound member comes, and both end with what the other has written.
    #[track_caller]
    pub(crate) fn converges_with_a_sound_member(&mut self) {
        let peer = self.sound.replica;
        self.session = session(&self.store, peer, self.now);
        self.closed = None;
        self.drain();
        let hello = self.hello_of(peer);
        self.say(Message::Hello(hello));
        let (record, head) = (self.sound.write(vec![put("after", "theirs")]), self.sound.head());
        self.send(vec![record], vec![head]);
        let before = self.said.len();
        let written = self.write("after");
        assert_eq!(self.closed, None, "a sound member is not heard any more");
        assert!(self.store.frontier().covers(self.sound.dot()) && self.store.frontier().covers(written));
        let told = |message: &Message| matches!(message, Message::Heads(heads) if heads.iter().any(|head| head.dot == written));
        assert!(self.said[before..].iter().any(told), "nothing is said to a sound member any more");
    }

    fn input(&mut self, input: Input) {
        self.session.handle(Moment(self.now), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll() {
            assert_eq!(self.closed, None, "there is output after the close: {output:?}");
            match output {
                Output::Send(payload) => {
                    self.said.extend(Message::decode(payload, &Limits::default()).unwrap());
                }
                Output::Load { seen, from, commits, bytes } => {
                    let arrivals = self.store.arrivals(&seen, from, ArrivalBudget { commits, bytes }).unwrap();
                    let records: Vec<_> = arrivals.records.into_iter().map(|found| (found.dot, found.bytes)).collect();
                    let heads = self.signer.complete(&self.roster, &records, arrivals.heads).unwrap();
                    self.session
                        .handle(Moment(self.now), Input::Loaded(Ok(Loaded { records, heads, next: arrivals.next })));
                }
                Output::Ingest(batch) => {
                    let report = self.ingest(batch);
                    self.advanced();
                    self.session.handle(Moment(self.now), Input::Ingested(report));
                }
                Output::Deadline(at) => self.deadline = Some(at),
                Output::Event(event) => self.events.push(event),
                Output::Close(fault) => self.closed = Some(fault),
                _ => {}
            }
        }
    }

    fn ingest(&mut self, batch: Batch) -> IngestReport {
        let proven = match batch.prove(MESH, &self.roster) {
            Ok(proven) => proven,
            Err(report) => return report,
        };
        let (records, heads) = proven.into_parts();
        let count = records.len();
        match self.committer.ingest_batch(WallTime(WALL_MS), records, heads.clone()) {
            Ok(_) => {
                self.committer.commit().unwrap();
                IngestReport { passed: count, refused: None }
            }
            Err(RefusedBatch { at, why }) => {
                IngestReport { passed: at, refused: Some(refusal(why, &self.store, &heads)) }
            }
        }
    }

    fn advanced(&mut self) {
        let standing = standing(&self.store);
        self.session.handle(Moment(self.now), Input::Advanced { standing, wall_ms: WALL_MS + self.now });
    }
}

/// Plays an attack, and sees that it ends the session, leaves the store as it was, and is no harm to others. Returns the fault.
#[track_caller]
pub(crate) fn contained(mut scene: Scene, attack: impl FnOnce(&mut Scene)) -> Fault {
    let before = scene.snapshot();
    attack(&mut scene);
    let fault = scene.closed.take().expect("the session is closed");
    let Some(Message::Bye { code, .. }) = scene.said.last() else { panic!("the peer was not told: {fault}") };
    assert_eq!(*code, fault.code());
    assert_eq!(scene.snapshot(), before, "the store is not as it was: {fault}");
    scene.converges_with_a_sound_member();
    fault
}

/// Plays something that no rule forbids, and sees that the session goes on and the store is as it was.
#[track_caller]
pub(crate) fn harmless(mut scene: Scene, attack: impl FnOnce(&mut Scene)) -> Scene {
    let before = scene.snapshot();
    attack(&mut scene);
    assert_eq!(scene.closed, None);
    assert_eq!(scene.snapshot(), before);
    scene
}

fn session(store: &Store, peer: u64, now: u64) -> Session {
    let settings = Settings { mesh: MESH, own: id(1), peer: id(peer), limits: Limits::default() };
    Session::new(settings, standing(store), Moment(now), WALL_MS + now)
}

fn write(committer: &mut Committer, key: &'static str, value: &str) {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    let put = Put { key: key.into(), value, lease: Some(0), previous: false };
    committer.execute(WallTime(WALL_MS), Request::Put(put)).unwrap();
    committer.commit().unwrap();
}

fn standing(store: &Store) -> Arc<Standing> {
    let tombolo_storage::Standing { published, frontier, chains, digest, floor } = store.standing();
    Arc::new(Standing { commit: published.commit, frontier, chains, digest, floor })
}

pub(crate) fn roster(operations: Vec<Operation>) -> Roster {
    Roster::new(MESH, entries(id(1), operations))
}

/// What system data say when this author has written them.
pub(crate) fn entries(author: ReplicaId, operations: Vec<Operation>) -> Vec<RosterEntry> {
    let entry = |operation| match operation {
        Operation::SystemPut { key, value, .. } => Some(RosterEntry { key, author, seq: 1, value }),
        _ => None,
    };
    operations.into_iter().filter_map(entry).collect()
}

/// A refusal of the store in the protocol's words.
fn refusal(error: IngestError, store: &Store, heads: &[SignedHead]) -> IngestRefusal {
    match error {
        IngestError::BrokenChain { dot } => {
            let evidence = Equivocation::of(dot, store.signed_head(dot.replica), heads);
            evidence.map_or(IngestRefusal::BrokenChain, |found| IngestRefusal::Equivocated(Box::new(found)))
        }
        IngestError::Gap { expected, .. } => IngestRefusal::Gap { expected },
        IngestError::MissingContext { missing, .. } => IngestRefusal::MissingContext { missing },
        IngestError::OwnDot { .. } => IngestRefusal::OwnDot,
        IngestError::Frozen { last, .. } => IngestRefusal::Frozen { last },
        IngestError::Unsigned { .. } => IngestRefusal::Unsigned,
        IngestError::ContradictsContext(cause) => IngestRefusal::ContradictsContext(cause),
        IngestError::Malformed(cause) => IngestRefusal::Malformed(cause),
        IngestError::UnknownOperation { kind, .. } => IngestRefusal::UnknownOperation { kind },
        error => panic!("the store has failed: {error}"),
    }
}
