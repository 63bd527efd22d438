//! What each message does to a session.

use bytes::Bytes;
use tombolo_crdt::{SignedHead, VersionVector};

use super::{
    Open, Session,
    heartbeat::Heartbeat,
    hello::Hello,
    intake::Intake,
    message::Message,
    offer::Offer,
    output::{Event, Output},
    packing::Unpacker,
    peer::Peer,
    questions::Questions,
    standing::Moment,
    status::Readiness,
};
use crate::Fault;

impl Session {
    /// Takes in one frame. O(frame), but for the hello and the heartbeat, which compare frontiers.
    pub(super) fn take_frame(&mut self, now: Moment, payload: Bytes) -> Result<(), Fault> {
        let kind = payload.first().copied().unwrap_or_default();
        let message = Message::decode(payload, &self.settings.limits)?;
        match message {
            Some(Message::Bye { code, text }) => return Err(Fault::PeerClosed { code, text }),
            Some(Message::Hello(hello)) if self.open.is_none() => self.establish(now, &hello)?,
            Some(Message::Hello(_)) => return Err(Fault::OutOfTurn { kind }),
            _ if self.open.is_none() => return Err(Fault::OutOfTurn { kind }),
            Some(Message::Records(records)) => self.take_records(now, records)?,
            Some(Message::Packed { bytes, packed }) => self.take_packed(now, bytes, &packed)?,
            Some(Message::Heads(heads)) => self.take_heads(heads)?,
            Some(Message::Have(raised)) => self.take_have(now, &raised)?,
            Some(Message::Heartbeat(heartbeat)) => self.take_heartbeat(now, heartbeat),
            Some(Message::Ask { id, body }) => self.take_ask(id, body)?,
            Some(Message::Answer { id, body }) => self.take_answer(id, body)?,
            Some(Message::Link(link)) => self.take_link(link),
            Some(Message::Pull { id, body }) => self.take_pull(now, id, body)?,
            Some(Message::Page { id, body }) => self.take_page(now, id, body)?,
            Some(Message::Floor(floor)) => self.take_floor(floor)?,
            None => {}
        }
        self.heard_at = now;
        Ok(())
    }

    fn establish(&mut self, now: Moment, hello: &Hello) -> Result<(), Fault> {
        hello.judge(&self.settings, &self.standing)?;
        let peer = Peer::new(now, hello);
        // What is sent waits in this replica's memory until the link takes it.
        let window = hello.window.min(self.settings.limits.window_bytes);
        let offer = Offer::new(self.settings.peer, &peer.frontier, window);
        self.outputs.push_back(Output::Event(Event::Established { kinds: hello.kinds }));
        self.open = Some(Open {
            peer,
            offer,
            intake: Intake::default(),
            unpacker: Unpacker::default(),
            asks: Questions::default(),
            pulls: Questions::default(),
            told_floor: self.said_floor.clone(),
        });
        self.note_floor();
        self.compare(now, hello.wall_ms, hello.digest);
        self.heartbeat_at = now.after(self.settings.limits.heartbeat_ms);
        Ok(())
    }

    fn take_packed(&mut self, now: Moment, bytes: u64, packed: &[u8]) -> Result<(), Fault> {
        let Some(Open { unpacker, .. }) = &mut self.open else { return Ok(()) };
        let records = unpacker.unpack(bytes, packed, &self.settings.limits)?;
        self.take_records(now, records)
    }

    fn take_records(&mut self, now: Moment, records: Vec<Bytes>) -> Result<(), Fault> {
        let Some(Open { peer, offer, intake, .. }) = &mut self.open else { return Ok(()) };
        // Its haves come behind what it sends, which may be much for the link.
        offer.excuse(now);
        self.links.arrived_at = Some(now);
        for dot in intake.receive(now, records, &self.settings.limits)? {
            peer.note_sent(dot);
            offer.note_has(dot);
        }
        peer.check_size(&self.settings.limits)?;
        peer.lead.note(now, &peer.frontier);
        // The same record may have been under way in both directions.
        offer.acked(now, &peer.frontier);
        Ok(())
    }

    fn take_heads(&mut self, heads: Vec<SignedHead>) -> Result<(), Fault> {
        match &mut self.open {
            Some(open) => open.intake.signed(heads),
            None => Ok(()),
        }
    }

    fn take_have(&mut self, now: Moment, raised: &VersionVector) -> Result<(), Fault> {
        let Some(Open { peer, offer, .. }) = &mut self.open else { return Ok(()) };
        peer.raise(raised, self.settings.own, &self.standing, &self.settings.limits)?;
        raised.iter().for_each(|dot| offer.note_has(dot));
        peer.lead.note(now, &peer.frontier);
        offer.acked(now, &peer.frontier);
        Ok(())
    }

    fn take_heartbeat(&mut self, now: Moment, heartbeat: Heartbeat) {
        let Heartbeat { wall_ms, readiness, digest, rows } = heartbeat;
        self.compare(now, wall_ms, digest);
        let Some(Open { peer, offer, .. }) = &mut self.open else { return };
        peer.readiness = readiness;
        if readiness != Readiness::Ready {
            offer.excuse(now);
        }
        rows.iter().for_each(|row| self.relay.drop_known(row));
        let mut learned: Vec<_> = peer.row(self.settings.peer).into_iter().collect();
        // Of itself the peer has just spoken, and of us it can tell us nothing.
        let others = rows.into_iter().filter(|row| ![self.settings.peer, self.settings.own].contains(&row.member));
        learned.extend(others);
        if !learned.is_empty() {
            self.outputs.push_back(Output::Event(Event::Rows(learned)));
        }
        self.lead.acked(&peer.frontier);
        peer.lead.acked(&self.standing.frontier);
    }

    /// Compares clocks, and digests: the peer's frontier is at this point exactly what its digest belongs to.
    fn compare(&mut self, now: Moment, wall_ms: u64, digest: u128) {
        let ours_ms = self.wall_ms(now);
        let Some(Open { peer, .. }) = &mut self.open else { return };
        let skew = peer.note_clock(wall_ms, ours_ms, &self.settings.limits);
        let corrupt = self.comparison.compare(now, &peer.frontier, digest);
        self.outputs.extend(skew.into_iter().chain(corrupt).map(Output::Event));
    }
}
