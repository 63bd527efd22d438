//! The loop around one session: it reads, asks the host, writes, and waits.
//!
//! Nothing here waits for one thing alone. Loads, ingests and answers run beside the reading, so that a slow disk never keeps an
//! acknowledgement from being heard; writing goes on as the transport takes it, several frames at a time; and of several
//! standings that came meanwhile only the newest is told.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use quinn::{Chunk, ReadError, VarInt, WriteError};
use tokio::{
    sync::{oneshot, watch},
    time::{sleep_until, timeout},
};
use tombolo_crdt::VersionVector;

use super::{
    Shared,
    ask::{Asking, News},
    outbox::Outbox,
    pace::Pace,
    peers::Peer,
    stream::{CHUNK_BYTES_MAX, LAST_WORDS, Stream},
};
use crate::{
    Event, Fault, Host, IngestReport, Input, Link, LoadFailure, Loaded, Moment, Output, PeerError, Roster, Session,
    Settings, Standing,
};

/// Runs a session over `stream` until one side ends it. Returns why it ended.
pub(crate) async fn run<H: Host>(shared: &Shared<H>, peer: &Peer, stream: Stream, dialed: bool) -> PeerError {
    let mut standing = shared.host.standing();
    let settings = Settings {
        mesh: shared.config.mesh,
        own: shared.config.own,
        peer: peer.replica,
        limits: shared.config.limits.clone(),
    };
    let newest = standing.borrow_and_update().clone();
    let session = Session::new(settings, newest, shared.peers.now(), shared.host.wall_ms());
    let session = Arc::new(Mutex::new(session));
    let serial = shared.next_serial();
    let (asks, asking) = Asking::new(shared.config.limits.asks_max);
    let (pulls, pulling) = Asking::new(shared.config.limits.pulls_max);
    let (link, links) = watch::channel(None);
    let superseded = peer.enter(serial, dialed, stream.connection.clone(), session.clone(), [asks, pulls], link);
    shared.connected(peer, &stream, dialed);

    let mut stream = stream;
    stream.assembler.set_payload_max(shared.config.limits.frame_bytes_max);
    let mut driver = Driver {
        shared,
        peer,
        serial,
        session,
        stream,
        outbox: Outbox::default(),
        asking,
        pulling,
        pace: Pace::new(peer.bucket.iter().chain(&shared.bucket).cloned()),
        paced: None,
        load_waiting: None,
        load: None,
        ingest: None,
        deadline: None,
        frame_began: None,
        ended: None,
    };
    let sources = Sources {
        standing,
        roster: shared.host.roster(),
        news: shared.relay.subscribe(),
        stop: shared.stop.clone(),
        superseded,
        links,
        is_listed: false,
        rows_seen: 0,
    };
    let cause = driver.run(sources).await;
    let now = shared.peers.now();
    driver.pace.release(now);
    let mut tree = shared.tree.lock();
    if peer.leave(serial, cause.clone(), now) {
        tree.left(peer.replica);
    }
    drop(tree);
    shared.disconnected(peer, &cause);
    shared.judge(peer, driver.stream.key, &cause);
    cause
}

type Answer<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// A session and all that it has asked for.
struct Driver<'a, H> {
    shared: &'a Shared<H>,
    peer: &'a Peer,
    /// Names this connection among all of this node's.
    serial: u64,
    session: Arc<Mutex<Session>>,
    stream: Stream,
    outbox: Outbox,
    asking: Asking,
    pulling: Asking,
    pace: Pace,
    /// When what waits for its turn to be sent may be looked at again.
    paced: Option<Moment>,
    /// A load that waits until what was loaded before is on its way.
    load_waiting: Option<(VersionVector, u64, usize, usize)>,
    load: Answer<Result<Loaded, LoadFailure>>,
    ingest: Answer<IngestReport>,
    deadline: Option<Moment>,
    /// When the frame that is not whole began to arrive, and what came of it since.
    frame_began: Option<(Moment, usize)>,
    ended: Option<PeerError>,
}

/// Where news comes from that is not of this connection.
struct Sources {
    standing: watch::Receiver<Arc<Standing>>,
    roster: watch::Receiver<Arc<Roster>>,
    news: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    superseded: oneshot::Receiver<Fault>,
    /// What is to be said of the link.
    links: watch::Receiver<Option<Link>>,
    /// Whether the roster has listed this peer since the connection began.
    is_listed: bool,
    rows_seen: u64,
}

/// What happened next.
enum Wake {
    Read(Result<Option<Chunk>, ReadError>),
    Written(Result<(), WriteError>),
    Asking(News),
    Pulling(News),
    Loaded(Result<Loaded, LoadFailure>),
    Ingested(IngestReport),
    Deadline,
    Standing,
    Roster,
    Rows,
    Link,
    Superseded(Fault),
    Stop,
}

impl<H: Host> Driver<'_, H> {
    async fn run(&mut self, mut sources: Sources) -> PeerError {
        self.perform();
        // Before anything is heard, so that no peer begins to send what all others send, too.
        let link = self.shared.tree.lock().joined(self.shared.peers.now(), self.peer.replica);
        if let Some(link) = link {
            self.handle(Input::Link(link));
        }
        // What is there already counts as changed.
        sources.roster.mark_changed();
        sources.news.mark_changed();
        // What came along with the last message of the handshake is waited for by nobody else.
        self.arrived(Bytes::new(), &mut sources);
        loop {
            if let Some(cause) = self.ended.take() {
                self.last_words(&cause).await;
                return cause;
            }
            let wake = self.wake(&mut sources).await;
            self.note(wake, &mut sources);
        }
    }

    /// Waits for whatever comes first. Losing the race costs none of them anything.
    async fn wake(&mut self, sources: &mut Sources) -> Wake {
        let deadline = self.deadline.map(|moment| self.shared.peers.instant(moment));
        let stalled = self.frame_began.map(|(began, bytes)| self.shared.peers.instant(frame_due(began, bytes)));
        let paced = self.paced.map(|moment| self.shared.peers.instant(moment));
        let until = [deadline, stalled, paced].into_iter().flatten().min();
        tokio::select! {
            read = self.stream.recv.read_chunk(CHUNK_BYTES_MAX, true) => Wake::Read(read),
            written = self.outbox.write(&mut self.stream.send) => Wake::Written(written),
            news = self.asking.next() => Wake::Asking(news),
            news = self.pulling.next() => Wake::Pulling(news),
            loaded = answer(&mut self.load) => Wake::Loaded(loaded),
            report = answer(&mut self.ingest) => Wake::Ingested(report),
            () = async { match until { Some(until) => sleep_until(until).await, None => pending().await } } => {
                Wake::Deadline
            }
            Ok(()) = sources.standing.changed() => Wake::Standing,
            Ok(()) = sources.roster.changed() => Wake::Roster,
            Ok(()) = sources.news.changed() => Wake::Rows,
            Ok(()) = sources.links.changed() => Wake::Link,
            Ok(fault) = &mut sources.superseded => Wake::Superseded(fault),
            _ = sources.stop.wait_for(|stop| *stop) => Wake::Stop,
        }
    }

    fn note(&mut self, wake: Wake, sources: &mut Sources) {
        match wake {
            Wake::Read(Ok(Some(chunk))) => self.arrived(chunk.bytes, sources),
            Wake::Read(Ok(None) | Err(ReadError::Reset(_))) => self.ended = Some(PeerError::StreamEnded),
            Wake::Read(Err(_)) => self.ended = Some(self.stream.lost()),
            Wake::Written(Ok(())) => {
                self.count();
                self.begin_load();
            }
            // The peer asks for nothing more, or the connection is gone: the reading side says which.
            Wake::Written(Err(_)) => self.ended = Some(self.stream.lost()),
            Wake::Asking(News::Ask(token, body)) => self.handle(Input::Ask { token, body }),
            Wake::Asking(News::Answer(id, body)) => self.handle(Input::Answer { id, body }),
            Wake::Pulling(News::Ask(token, body)) => self.handle(Input::Pull { token, body }),
            Wake::Pulling(News::Answer(id, body)) => {
                self.pace.give(self.shared.peers.now(), body.len() as u64);
                self.handle(Input::Page { id, body });
            }
            Wake::Loaded(loaded) => {
                self.pace.release(self.shared.peers.now());
                let records = loaded.iter().flat_map(|loaded| &loaded.records);
                self.shared.sizes.note(records.map(|(_, bytes)| bytes.len()));
                self.handle(Input::Loaded(loaded));
            }
            Wake::Ingested(report) => {
                self.newest(sources);
                self.handle(Input::Ingested(report));
            }
            Wake::Deadline => self.deadline_came(),
            Wake::Standing => self.advanced(sources),
            Wake::Roster => self.check_membership(sources),
            Wake::Rows => {
                // The cursor was moved when it woke us: what is learned from now on wakes us again.
                let (rows, seen) = self.shared.relay.news(sources.rows_seen, self.serial);
                sources.rows_seen = seen;
                if !rows.is_empty() {
                    self.handle(Input::Rows(rows));
                }
            }
            Wake::Link => {
                let link = sources.links.borrow_and_update().clone();
                link.into_iter().for_each(|link| self.handle(Input::Link(link)));
            }
            Wake::Superseded(fault) => self.close(fault),
            Wake::Stop => self.handle(Input::Stop),
        }
    }

    /// Takes bytes from the stream and hands in every frame that is whole.
    fn arrived(&mut self, bytes: Bytes, sources: &mut Sources) {
        let now = self.shared.peers.now();
        if let Some((_, came)) = &mut self.frame_began {
            *came += bytes.len();
        }
        self.stream.assembler.push(bytes);
        let mut frames = 0_usize;
        while self.ended.is_none() {
            match self.stream.assembler.next() {
                Ok(Some(payload)) => {
                    self.newest(sources);
                    self.handle(Input::Frame(payload));
                    frames += 1;
                }
                Ok(None) => break,
                Err(error) => self.close(Fault::FrameTooLarge { bytes: error.bytes, max: error.max }),
            }
        }
        match self.stream.assembler.held() {
            0 => self.frame_began = None,
            held if frames > 0 || self.frame_began.is_none() => self.frame_began = Some((now, held)),
            _ => {}
        }
        if self.frame_began.is_some() && frames == 0 && self.ended.is_none() {
            self.handle(Input::Arriving);
        }
    }

    fn deadline_came(&mut self) {
        let now = self.shared.peers.now();
        if self.frame_began.is_some_and(|(began, bytes)| now >= frame_due(began, bytes)) {
            return self.close(Fault::Stalled);
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.deadline = None;
            self.handle(Input::Deadline);
        }
        if self.paced.is_some_and(|at| now >= at) {
            self.paced = None;
            self.begin_load();
        }
    }

    /// Hands in the newest standing, if there is one that was not.
    fn newest(&mut self, sources: &mut Sources) {
        if sources.standing.has_changed().unwrap_or(false) {
            self.advanced(sources);
        }
    }

    fn advanced(&mut self, sources: &mut Sources) {
        let standing = sources.standing.borrow_and_update().clone();
        let wall_ms = self.shared.host.wall_ms();
        self.handle(Input::Advanced { standing, wall_ms });
    }

    /// Closes when the roster has lost the peer, or by now knows it under another key, or somebody in its place.
    fn check_membership(&mut self, sources: &mut Sources) {
        let roster = sources.roster.borrow_and_update().clone();
        if roster.has_lost_its_place(self.peer.replica) {
            return self.close(Fault::NotAMember);
        }
        let known = self.shared.gate(&roster).known_key(self.peer.replica);
        if roster.is_removed(self.peer.replica) {
            return self.close(Fault::NotAMember);
        }
        match known {
            Some(key) if key != self.stream.key => self.close(Fault::NotAMember),
            Some(_) => sources.is_listed = true,
            None if sources.is_listed => self.close(Fault::NotAMember),
            // It came in with a chain of admissions; the record of its own has not arrived here.
            None => {}
        }
    }

    fn close(&mut self, fault: Fault) {
        self.session.lock().close(fault);
        self.perform();
    }

    fn handle(&mut self, input: Input) {
        self.session.lock().handle(self.shared.peers.now(), input);
        self.perform();
    }

    /// Does what the session says, until it says nothing more.
    fn perform(&mut self) {
        loop {
            let output = self.session.lock().poll();
            match output {
                None => break,
                Some(Output::Send(payload)) => self.send(payload),
                Some(Output::Load { seen, from, commits, bytes }) => {
                    self.load_waiting = Some((seen, from, commits, bytes));
                    self.begin_load();
                }
                Some(Output::Ingest(batch)) => {
                    self.shared.sizes.note(batch.records.iter().map(Bytes::len));
                    let (host, peer) = (self.shared.host.clone(), self.peer.replica);
                    let mesh = self.shared.config.mesh;
                    self.ingest = Some(Box::pin(async move {
                        let roster = host.roster().borrow().clone();
                        match batch.prove(mesh, &roster) {
                            Ok(proven) => host.ingest(peer, proven).await,
                            Err(report) => report,
                        }
                    }));
                }
                Some(Output::Deadline(moment)) => self.deadline = Some(moment),
                Some(Output::Asked { id, body }) => {
                    let (host, peer) = (self.shared.host.clone(), self.peer.replica);
                    self.asking.work(id, async move { host.answer(peer, body).await });
                }
                Some(Output::Answered { token, answer }) => self.asking.answered(token, answer),
                Some(Output::Linked(link)) => {
                    self.shared.tree.lock().heard(self.shared.peers.now(), self.peer.replica, link);
                }
                Some(Output::PullAsked { id, body }) => self.serve(id, body),
                Some(Output::Pulled { token, page }) => self.pulling.answered(token, page),
                Some(Output::Event(event)) => self.event(event),
                Some(Output::Close(fault)) => self.ended = Some(PeerError::Session(fault)),
            }
        }
    }

    fn send(&mut self, payload: Bytes) {
        self.outbox.push(payload);
        if self.outbox.bytes() > OUTGOING_BYTES_MAX {
            // Records are bounded by the window; what is beyond is small talk that the peer has not read for long.
            self.ended = Some(PeerError::Session(Fault::Stalled));
        }
    }

    /// Works at a page for the peer, when more may be sent.
    fn serve(&mut self, id: u64, body: Bytes) {
        let (host, peer) = (self.shared.host.clone(), self.peer.replica);
        let turn = self.pace.turn(self.shared.peers.clone());
        self.pulling.work(id, async move {
            let turn = turn.await;
            let page = host.page(peer, body).await;
            turn.spend(page.len() as u64);
            page
        });
    }

    /// Counts what has been sent.
    fn count(&mut self) {
        if !self.pace.is_limited() {
            return;
        }
        let went_out = self.stream.connection.stats().udp_tx.bytes;
        self.pace.count(self.shared.peers.now(), self.outbox.written(), went_out);
    }

    /// Begins the load that waits, once what was loaded before is nearly gone and more may be sent.
    fn begin_load(&mut self) {
        if self.outbox.bytes() > OUTGOING_BYTES_LOW || self.load_waiting.is_none() {
            return;
        }
        self.count();
        let now = self.shared.peers.now();
        let ready_at = self.pace.ready_at(now);
        if ready_at > now {
            self.paced = Some(ready_at);
            return;
        }
        if let Some((seen, from, commits, bytes)) = self.load_waiting.take() {
            let bytes = self.pace.reserve(now, bytes);
            let host = self.shared.host.clone();
            self.load = Some(Box::pin(async move { host.load(seen, from, commits, bytes).await }));
        }
    }

    fn event(&self, event: Event) {
        if let Event::Rows(rows) = &event {
            self.shared.relay.learn(self.serial, rows);
        }
        self.shared.host.event(self.peer.replica, event);
    }

    /// Sends what is left to send, and closes. What the peer ended needs no words.
    async fn last_words(&mut self, cause: &PeerError) {
        let (code, text) = match cause {
            PeerError::Session(fault) => (fault.code(), fault.to_string()),
            _ => (0, String::new()),
        };
        if !matches!(cause, PeerError::Session(Fault::PeerClosed { .. }))
            && self.stream.connection.close_reason().is_none()
        {
            let said = async {
                while !self.outbox.is_empty() {
                    self.outbox.write(&mut self.stream.send).await.ok()?;
                }
                self.stream.send.finish().ok()?;
                self.stream.send.stopped().await.ok()
            };
            // A peer that does not listen is not waited for.
            let _ = timeout(LAST_WORDS, said).await;
        }
        self.stream.connection.close(VarInt::from_u32(code.into()), text.as_bytes());
    }
}

/// Waits for an answer that was asked for, for ever when none was.
async fn answer<T>(asked: &mut Answer<T>) -> T {
    let Some(future) = asked else { return pending().await };
    let answer = future.await;
    *asked = None;
    answer
}

/// Until when a frame must be whole that began at `began` and of which `bytes` have come.
fn frame_due(began: Moment, bytes: usize) -> Moment {
    Moment(began.0 + FRAME_GRACE_MS + bytes as u64 / FRAME_BYTES_PER_MS_MIN)
}

/// How long a frame may take at least.
const FRAME_GRACE_MS: u64 = 10_000;
/// How fast it must come beyond that: 4 KiB a second, a quarter of the slowest link that sessions reckon with.
const FRAME_BYTES_PER_MS_MIN: u64 = 4;
/// Bytes that may wait for the transport: a session's window, its largest frame and much small talk.
const OUTGOING_BYTES_MAX: usize = 24 << 20;
/// Bytes that may wait when more is loaded.
const OUTGOING_BYTES_LOW: usize = 1 << 20;
