//! Replicas in one thread: toy stores, sessions between them, virtual time, links with delay that can be cut.
//!
//! Whatever the scenario, a few promises are watched on every link: a session has one load and one ingest out at a time, sends
//! nothing that is not durable or that its peer has said or sent, and never more than a window unacknowledged.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use tombolo_crdt::{Dot, RecordHeader, ReplicaId, VersionVector};
use tombolo_net::{
    AskFailure, Batch, Event, Fault, Input, Limits, LoadFailure, Loaded, Message, Moment, Output, PeerStatus, Session,
    Settings, Stability, StabilityRow, Standing, Tree, Unpacker,
};

use super::toy_store::{MESH, ToyStore, proven};

/// What the wall clock shows at moment 0.
pub(crate) const WALL_MS: u64 = 1_700_000_000_000;

pub(crate) struct Mesh {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    pub(crate) limits: Limits,
    /// What will happen, by moment and order.
    agenda: BTreeMap<(u64, u64), Happening>,
    order: u64,
}

pub(crate) struct Node {
    pub(crate) store: ToyStore,
    pub(crate) stability: Stability,
    /// Every frontier that it ever had.
    frontiers: Vec<VersionVector>,
    /// How long an ingest takes.
    pub(crate) ingest_ms: u64,
    /// How far this replica's wall clock is off.
    pub(crate) wall_offset_ms: i64,
    /// Whether its log cannot be read: it hears and says what it has, and sends nothing.
    pub(crate) is_unreadable: bool,
    /// Decides about its links, if anybody does.
    pub(crate) tree: Option<Tree>,
    /// Its ends of links.
    ends: Vec<(usize, usize)>,
}

/// A connection of two nodes.
pub(crate) struct Link {
    pub(crate) ends: [End; 2],
    pub(crate) delay_ms: u64,
    /// Whether everything that is sent is lost, which nobody notices for a while.
    pub(crate) is_dark: bool,
    /// Counts connections: what was under way on an earlier one never arrives.
    generation: u64,
    /// Frames that will still arrive before the link is cut.
    pub(crate) frames_left: Option<u64>,
    /// Frames that arrived, of all connections.
    pub(crate) frames_arrived: u64,
}

pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) session: Session,
    pub(crate) events: Vec<Event>,
    /// Questions of the peer, with their numbers.
    pub(crate) asked: Vec<(u64, Bytes)>,
    /// What came of this end's questions.
    pub(crate) answered: Vec<(u64, Result<Bytes, AskFailure>)>,
    /// What the peer said of the link.
    pub(crate) linked: Vec<tombolo_net::Link>,
    pub(crate) closed: Option<Fault>,
    /// Pulls of the peer, with their numbers.
    pub(crate) pull_asked: Vec<(u64, Bytes)>,
    /// What came of this end's pulls.
    pub(crate) pulled: Vec<(u64, Result<Bytes, AskFailure>)>,
    /// Every message this end has sent, with its moment. Packed records are there as plain ones.
    pub(crate) sent: Vec<(u64, Message)>,
    /// Bytes of the stream that this end has sent, with the lengths of frames.
    pub(crate) stream_bytes: u64,
    /// Reads what this end sends.
    unpacker: Unpacker,
    deadline: Option<Moment>,
    watch: Watch,
}

/// What the promises are checked against.
#[derive(Default)]
struct Watch {
    is_loading: bool,
    is_ingesting: bool,
    standing: Arc<Standing>,
    /// What the peer has said or sent.
    peer_has: VersionVector,
    /// Records that the peer has sent.
    received: BTreeSet<Dot>,
    unacked: VecDeque<(Dot, u64)>,
    unacked_bytes_max: u64,
}

pub(crate) enum Happening {
    Frame { link: usize, end: usize, generation: u64, payload: Bytes, message: Message },
    Loaded { link: usize, end: usize, generation: u64, answer: Result<Loaded, LoadFailure> },
    Ingest { link: usize, end: usize, generation: u64, batch: Batch },
    Deadline { link: usize, end: usize, generation: u64, at: Moment },
    Tick { node: usize },
}

impl Mesh {
    /// Replicas 1 to `count`, not connected.
    pub(crate) fn new(count: u64, limits: Limits) -> Self {
        let nodes = (1..=count).map(Node::new);
        Self { now: 0, nodes: nodes.collect(), links: Vec::new(), limits, agenda: BTreeMap::new(), order: 0 }
    }

    /// Two replicas, connected with 5 ms each way.
    pub(crate) fn pair() -> Self {
        let mut mesh = Self::new(2, Limits::default());
        mesh.connect(0, 1, 5);
        mesh
    }

    /// What a node knows to be applied by all.
    pub(crate) fn stable(&mut self, node: usize) -> VersionVector {
        let members: BTreeSet<ReplicaId> = self.nodes.iter().map(|node| node.store.own).collect();
        let Node { store, stability, .. } = &mut self.nodes[node];
        stability.stable(&members, store.own, store.frontier())
    }

    pub(crate) fn connect(&mut self, left: usize, right: usize, delay_ms: u64) -> usize {
        let ends = [self.end(left, right), self.end(right, left)];
        self.links.push(Link { ends, delay_ms, is_dark: false, generation: 0, frames_left: None, frames_arrived: 0 });
        let link = self.links.len() - 1;
        self.nodes[left].ends.push((link, 0));
        self.nodes[right].ends.push((link, 1));
        self.begin(link);
        link
    }

    /// Ends a connection without a word; what was under way is lost.
    pub(crate) fn cut(&mut self, link: usize) {
        self.links[link].generation += 1;
        for end in &mut self.links[link].ends {
            end.closed.get_or_insert(Fault::Silent);
        }
        self.left(link);
    }

    /// Connects again, with new sessions.
    pub(crate) fn reconnect(&mut self, link: usize) {
        self.cut(link);
        let [left, right] = [self.links[link].ends[0].node, self.links[link].ends[1].node];
        self.links[link].ends = [self.end(left, right), self.end(right, left)];
        self.links[link].frames_left = None;
        self.links[link].is_dark = false;
        self.begin(link);
    }

    pub(crate) fn write(&mut self, node: usize, bytes: usize) -> Dot {
        let dot = self.nodes[node].store.write(bytes);
        self.advanced(node);
        dot
    }

    /// Tells a node's sessions where it stands.
    pub(crate) fn advanced(&mut self, node: usize) {
        let standing = self.nodes[node].store.standing();
        self.nodes[node].frontiers.push(standing.frontier.clone());
        let wall_ms = self.wall_ms(node);
        for (link, end) in self.ends_of(node) {
            self.links[link].ends[end].watch.standing = Arc::clone(&standing);
            self.input(link, end, Input::Advanced { standing: Arc::clone(&standing), wall_ms });
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(entry) = self.agenda.first_entry() {
            let (moment, _) = *entry.key();
            if moment > until {
                break;
            }
            let happening = entry.remove();
            self.now = self.now.max(moment);
            self.happen(happening);
        }
        self.now = until;
    }

    /// Lets time pass until all nodes hold the same; fails after a minute.
    pub(crate) fn run_until_converged(&mut self) -> u64 {
        let begin = self.now;
        while !self.is_converged() {
            assert!(self.now - begin < 60_000, "not converged: {:?}", self.frontiers());
            self.run(1);
        }
        self.now - begin
    }

    pub(crate) fn is_converged(&self) -> bool {
        let frontier = self.nodes[0].store.frontier();
        if self.nodes.iter().any(|node| node.store.frontier() != frontier) {
            return false;
        }
        let first = self.nodes[0].store.standing();
        let same = |node: &Node| {
            let standing = node.store.standing();
            standing.frontier == first.frontier && standing.digest == first.digest
        };
        self.nodes.iter().all(same)
    }

    pub(crate) fn frontiers(&self) -> Vec<&VersionVector> {
        self.nodes.iter().map(|node| node.store.frontier()).collect()
    }

    pub(crate) fn status(&self, link: usize, end: usize) -> PeerStatus {
        self.links[link].ends[end].session.status(Moment(self.now))
    }

    pub(crate) fn input(&mut self, link: usize, end: usize, input: Input) {
        if self.links[link].ends[end].closed.is_some() {
            return;
        }
        let now = Moment(self.now);
        self.links[link].ends[end].session.handle(now, input);
        self.drain(link, end);
    }

    fn end(&self, own: usize, peer: usize) -> End {
        let store = &self.nodes[own].store;
        let (own_id, peer_id, standing) = (store.own, self.nodes[peer].store.own, store.standing());
        let settings = Settings { mesh: MESH, own: own_id, peer: peer_id, limits: self.limits.clone() };
        let watch = Watch { standing: Arc::clone(&standing), ..Watch::default() };
        let session = Session::new(settings, standing, Moment(self.now), self.wall_ms(own));
        let (events, sent) = (Vec::new(), Vec::new());
        End {
            node: own,
            session,
            events,
            asked: Vec::new(),
            answered: Vec::new(),
            linked: Vec::new(),
            pull_asked: Vec::new(),
            pulled: Vec::new(),
            closed: None,
            sent,
            stream_bytes: 0,
            unpacker: Unpacker::default(),
            deadline: None,
            watch,
        }
    }

    fn begin(&mut self, link: usize) {
        for end in 0..2 {
            self.drain(link, end);
            let node = self.links[link].ends[end].node;
            let rows = self.nodes[node].stability.rows().collect();
            self.input(link, end, Input::Rows(rows));
            self.joined(link, end);
        }
    }

    fn wall_ms(&self, node: usize) -> u64 {
        (WALL_MS + self.now).saturating_add_signed(self.nodes[node].wall_offset_ms)
    }

    pub(crate) fn ends_of(&self, node: usize) -> Vec<(usize, usize)> {
        self.nodes[node].ends.clone()
    }

    pub(crate) fn schedule(&mut self, after_ms: u64, happening: Happening) {
        self.order += 1;
        self.agenda.insert((self.now + after_ms, self.order), happening);
    }

    fn is_current(&self, link: usize, end: usize, generation: u64) -> bool {
        self.links[link].generation == generation && self.links[link].ends[end].closed.is_none()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Frame { link, .. } if self.links[link].is_dark => {}
            Happening::Frame { link, end, generation, payload, message } if self.is_current(link, end, generation) => {
                match &mut self.links[link].frames_left {
                    Some(0) => return self.cut(link),
                    Some(left) => *left -= 1,
                    None => {}
                }
                self.links[link].frames_arrived += 1;
                self.links[link].ends[end].watch.heard(&message);
                self.input(link, end, Input::Frame(payload));
            }
            Happening::Loaded { link, end, generation, answer } if self.is_current(link, end, generation) => {
                self.links[link].ends[end].watch.is_loading = false;
                self.input(link, end, Input::Loaded(answer));
            }
            Happening::Ingest { link, end, generation, batch } => {
                let node = self.links[link].ends[end].node;
                let report =
                    proven(batch).map_or_else(|report| report, |batch| self.nodes[node].store.ingest_batch(&batch));
                self.advanced(node);
                if self.is_current(link, end, generation) {
                    self.links[link].ends[end].watch.is_ingesting = false;
                    self.input(link, end, Input::Ingested(report));
                }
            }
            Happening::Deadline { link, end, generation, at } if self.is_current(link, end, generation) => {
                let is_wanted = self.links[link].ends[end].deadline == Some(at);
                if is_wanted {
                    self.input(link, end, Input::Deadline);
                }
            }
            Happening::Tick { node } => self.tick(node),
            _ => {}
        }
    }

    /// Takes note of rows as a host does, and passes on what is news.
    fn learn(&mut self, node: usize, from: usize, mut rows: Vec<StabilityRow>) {
        for row in &rows {
            let member = self.nodes.iter().find(|node| node.store.own == row.member).unwrap();
            let is_true = member.frontiers.contains(&row.frontier);
            assert!(is_true, "{} never stood at {:?}", row.member, row.frontier);
        }
        rows.retain(|row| self.nodes[node].stability.learn(row));
        for (link, end) in self.ends_of(node).into_iter().filter(|(link, _)| *link != from) {
            self.input(link, end, Input::Rows(rows.clone()));
        }
    }

    fn drain(&mut self, link: usize, end: usize) {
        while let Some(output) = self.links[link].ends[end].session.poll() {
            assert!(self.links[link].ends[end].closed.is_none(), "there was output after the close: {output:?}");
            self.perform(link, end, output);
        }
    }

    fn perform(&mut self, link: usize, end: usize, output: Output) {
        let generation = self.links[link].generation;
        let (delay_ms, window) = (self.links[link].delay_ms, self.limits.window_bytes);
        let this = &mut self.links[link].ends[end];
        match output {
            Output::Send(payload) => {
                let message = this.read(payload.clone(), &self.limits);
                this.watch.said(&message, window);
                this.sent.push((self.now, message.clone()));
                this.stream_bytes += 4 + payload.len() as u64;
                self.schedule(delay_ms, Happening::Frame { link, end: 1 - end, generation, payload, message });
            }
            Output::Load { seen, from, commits, bytes } => {
                assert!(!std::mem::replace(&mut this.watch.is_loading, true), "two loads at a time");
                let node = &self.nodes[this.node];
                let answer = match node.is_unreadable {
                    true => Err(LoadFailure::Unreadable { cause: "a trouble of this test".to_owned() }),
                    false => node.store.load(&seen, from, commits, bytes),
                };
                self.schedule(1, Happening::Loaded { link, end, generation, answer });
            }
            Output::Ingest(batch) => {
                assert!(!std::mem::replace(&mut this.watch.is_ingesting, true), "two ingests at a time");
                let after_ms = self.nodes[this.node].ingest_ms;
                self.schedule(after_ms, Happening::Ingest { link, end, generation, batch });
            }
            Output::Deadline(at) => {
                // Whoever asks for a moment that has come would be called again and again, and nothing else would ever happen.
                assert!(at.0 > self.now, "at {} the session asks to be called at {}", self.now, at.0);
                this.deadline = Some(at);
                let after_ms = at.0.saturating_sub(self.now);
                self.schedule(after_ms, Happening::Deadline { link, end, generation, at });
            }
            Output::Event(event) => {
                this.events.push(event.clone());
                if let Event::Rows(rows) = event {
                    let node = this.node;
                    self.learn(node, link, rows);
                }
            }
            Output::Asked { id, body } => this.asked.push((id, body)),
            Output::Answered { token, answer } => this.answered.push((token, answer)),
            Output::Linked(said) => {
                this.linked.push(said.clone());
                self.heard(link, end, said);
            }
            Output::PullAsked { id, body } => this.pull_asked.push((id, body)),
            Output::Pulled { token, page } => this.pulled.push((token, page)),
            Output::Close(fault) => {
                this.closed = Some(fault);
                self.left(link);
            }
        }
    }
}

impl Node {
    fn new(own: u64) -> Self {
        let (store, stability, frontiers) = (ToyStore::new(own), Stability::new(), vec![VersionVector::new()]);
        Self {
            store,
            stability,
            frontiers,
            ingest_ms: 1,
            wall_offset_ms: 0,
            is_unreadable: false,
            tree: None,
            ends: vec![],
        }
    }
}

impl End {
    /// What a frame of this end says.
    fn read(&mut self, payload: Bytes, limits: &Limits) -> Message {
        match Message::decode(payload, limits).unwrap().unwrap() {
            Message::Packed { bytes, packed } => {
                Message::Records(self.unpacker.unpack(bytes, &packed, limits).unwrap())
            }
            message => message,
        }
    }
}

impl Link {
    /// Moments at which an end sent messages that `is_meant` takes.
    pub(crate) fn sent(&self, end: usize, is_meant: impl Fn(&Message) -> bool) -> Vec<u64> {
        let meant = self.ends[end].sent.iter().filter(|(_, message)| is_meant(message));
        meant.map(|(moment, _)| *moment).collect()
    }

    /// The names of the records that an end has sent, in order.
    pub(crate) fn records_sent(&self, end: usize) -> Vec<Dot> {
        self.ends[end].sent.iter().flat_map(|(_, message)| dots(message)).map(|(dot, _)| dot).collect()
    }

    /// The most that an end had under way unacknowledged.
    pub(crate) fn unacked_bytes_max(&self, end: usize) -> u64 {
        self.ends[end].watch.unacked_bytes_max
    }
}

impl Watch {
    fn heard(&mut self, message: &Message) {
        match message {
            Message::Hello(hello) => self.peer_has.join(&hello.frontier()),
            Message::Have(raised) => self.peer_has.join(raised),
            _ => {}
        }
        for (dot, _) in dots(message) {
            self.received.insert(dot);
            self.peer_has.raise(dot.replica, dot.seq);
        }
        self.unacked.retain(|(dot, _)| !self.peer_has.covers(*dot));
    }

    fn said(&mut self, message: &Message, window: u64) {
        for (dot, bytes) in dots(message) {
            assert!(self.standing.frontier.covers(dot), "{dot} was offered and is not known to be durable");
            assert!(!self.received.contains(&dot), "{dot} was sent back to where it came from");
            assert!(!self.peer_has.covers(dot), "{dot} was sent to a peer that has it");
            self.unacked.push_back((dot, bytes));
        }
        let bytes = self.unacked.iter().map(|(_, bytes)| bytes).sum();
        assert!(bytes <= window || self.unacked.len() == 1, "{bytes} bytes are unacknowledged");
        self.unacked_bytes_max = self.unacked_bytes_max.max(bytes);
    }
}

fn dots(message: &Message) -> Vec<(Dot, u64)> {
    let Message::Records(records) = message else { return Vec::new() };
    let named = records.iter().map(|bytes| (RecordHeader::decode(bytes.clone()).unwrap().dot, bytes.len() as u64));
    named.collect()
}
