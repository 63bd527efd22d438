//! One session, and a peer that says what a test tells it to.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_crdt::Chain;
use tombolo_net::{
    Event, Fault, Heartbeat, Hello, IngestReport, Input, Limits, Loaded, Message, Moment, OPERATION_KIND_MAX, Output,
    Readiness, Session, Settings, Standing, Unpacker,
};

use super::{
    mesh::WALL_MS,
    toy_store::{MESH, ToyStore, heads, id},
};

/// A session of replica 1 with replica 2.
pub(crate) struct Script {
    pub(crate) session: Session,
    pub(crate) now: u64,
    pub(crate) limits: Limits,
    /// The last deadline that was asked for.
    pub(crate) deadline: Option<u64>,
    pub(crate) deadlines: usize,
    unpacker: Unpacker,
}

impl Script {
    /// A session that has said its hello and heard none.
    pub(crate) fn new(store: &ToyStore, limits: Limits) -> Self {
        let settings = Settings { mesh: MESH, own: store.own, peer: id(2), limits: limits.clone() };
        let session = Session::new(settings, store.standing(), Moment(0), WALL_MS);
        let mut script = Self { session, now: 0, limits, deadline: None, deadlines: 0, unpacker: Unpacker::default() };
        let hello = script.drain();
        assert!(matches!(script.messages(&hello)[..], [Message::Hello(_)]), "{hello:?}");
        script
    }

    /// A session that has heard the hello of `peer`.
    pub(crate) fn open(store: &ToyStore, peer: &ToyStore) -> Self {
        Self::open_with(store, peer, Limits::default())
    }

    pub(crate) fn open_with(store: &ToyStore, peer: &ToyStore, limits: Limits) -> Self {
        let mut script = Self::new(store, limits);
        let outputs = script.say(Message::Hello(hello(peer)));
        assert!(outputs.contains(&Output::Event(Event::Established { kinds: OPERATION_KIND_MAX })), "{outputs:?}");
        script
    }

    /// The peer sends a message, and says who signed the records in it.
    pub(crate) fn say(&mut self, message: Message) -> Vec<Output> {
        let heads = match &message {
            Message::Records(records) => heads(records.iter()),
            _ => Vec::new(),
        };
        let mut outputs = self.say_only(message);
        if !heads.is_empty() {
            outputs.extend(self.say_only(Message::Heads(heads)));
        }
        outputs
    }

    /// The peer sends a message and nothing else.
    pub(crate) fn say_only(&mut self, message: Message) -> Vec<Output> {
        self.input(Input::Frame(message.encode()))
    }

    pub(crate) fn say_bytes(&mut self, bytes: &[u8]) -> Vec<Output> {
        self.input(Input::Frame(Bytes::copy_from_slice(bytes)))
    }

    pub(crate) fn input(&mut self, input: Input) -> Vec<Output> {
        self.session.handle(Moment(self.now), input);
        self.drain()
    }

    pub(crate) fn advance(&mut self, standing: Arc<Standing>) -> Vec<Output> {
        let wall_ms = WALL_MS + self.now;
        self.input(Input::Advanced { standing, wall_ms })
    }

    pub(crate) fn ingested(&mut self, report: IngestReport) -> Vec<Output> {
        self.input(Input::Ingested(report))
    }

    pub(crate) fn loaded(&mut self, mut loaded: Loaded) -> Vec<Output> {
        loaded.heads = heads(loaded.records.iter().map(|(_, record)| record));
        self.input(Input::Loaded(Ok(loaded)))
    }

    /// Lets time pass and calls at the deadlines asked for.
    pub(crate) fn run(&mut self, ms: u64) -> Vec<Output> {
        let until = self.now + ms;
        let mut outputs = Vec::new();
        while let Some(deadline) = self.deadline.filter(|at| *at <= until) {
            (self.now, self.deadline) = (self.now.max(deadline), None);
            outputs.extend(self.input(Input::Deadline));
        }
        self.now = until;
        outputs
    }

    /// The messages among outputs.
    pub(crate) fn messages(&self, outputs: &[Output]) -> Vec<Message> {
        let frames = outputs.iter().filter_map(|output| match output {
            Output::Send(frame) => Some(frame.clone()),
            _ => None,
        });
        frames.map(|frame| Message::decode(frame, &self.limits).unwrap().unwrap()).collect()
    }

    /// Puts plain records in the place of packed ones, which can be read but once.
    fn unpack(&mut self, output: &mut Output) {
        let Output::Send(frame) = output else { return };
        if let Ok(Some(Message::Packed { bytes, packed })) = Message::decode(frame.clone(), &self.limits) {
            *frame = Message::Records(self.unpacker.unpack(bytes, &packed, &self.limits).unwrap()).encode();
        }
    }

    fn drain(&mut self) -> Vec<Output> {
        let mut outputs: Vec<Output> = std::iter::from_fn(|| self.session.poll()).collect();
        for output in &mut outputs {
            self.unpack(output);
            if let Output::Deadline(at) = output {
                self.deadline = Some(at.0);
                self.deadlines += 1;
            }
        }
        outputs
    }
}

/// The hello of a store, as a session would say it.
pub(crate) fn hello(store: &ToyStore) -> Hello {
    let standing = store.standing();
    let chain = |replica| standing.chains.get(&replica).copied().unwrap_or(Chain::BEGINNING);
    Hello {
        mesh: MESH,
        replica: store.own,
        wall_ms: WALL_MS,
        kinds: OPERATION_KIND_MAX,
        window: Limits::default().window_bytes,
        heads: standing.frontier.iter().map(|dot| (dot, chain(dot.replica))).collect(),
        floor: standing.floor.clone(),
        digest: standing.digest,
    }
}

pub(crate) fn heartbeat(readiness: Readiness, digest: u128) -> Message {
    Message::Heartbeat(Heartbeat { wall_ms: WALL_MS, readiness, digest, rows: Vec::new() })
}

/// The records that outputs hand to the store.
pub(crate) fn ingests(outputs: &[Output]) -> Vec<Vec<Bytes>> {
    let ingests = outputs.iter().filter_map(|output| match output {
        Output::Ingest(batch) => Some(batch.records.clone()),
        _ => None,
    });
    ingests.collect()
}

pub(crate) fn load(outputs: &[Output]) -> Option<Output> {
    outputs.iter().find(|output| matches!(output, Output::Load { .. })).cloned()
}

pub(crate) fn events(outputs: &[Output]) -> Vec<Event> {
    let events = outputs.iter().filter_map(|output| match output {
        Output::Event(event) => Some(event.clone()),
        _ => None,
    });
    events.collect()
}

/// The fault that a session has closed with. It was its last word, and the peer was told.
#[track_caller]
pub(crate) fn closed(script: &Script, outputs: &[Output]) -> Fault {
    let Some((Output::Close(fault), before)) = outputs.split_last() else { panic!("not closed: {outputs:?}") };
    let Some(Message::Bye { code, text }) = script.messages(before).pop() else { panic!("no bye: {outputs:?}") };
    assert_eq!((code, &text), (fault.code(), &fault.to_string()));
    fault.clone()
}
