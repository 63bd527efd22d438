//! The providing side: it holds on to a moment of its store for whoever takes it, and answers.
//!
//! What it remembers is the moment: the engine's snapshot of it, and the list of its elements. A receiver that comes back finds it as it was,
//! until it has not asked for [`PINNED_FOR`].

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tombolo_crdt::{Chain, Dot, Operation, SignedHead, VersionVector};

use super::{
    ElementRange, PAGE_BYTES, Refusal, TransferFault,
    body::{Ask, Half, NAMES_MAX, Names, Page, check_of},
    fragment,
    header::Header,
    list::{Listed, Moment, fingerprint, within},
    meet,
};
use crate::{
    ReadError, Store,
    row::commit::{CommitRow, Layer, Part},
    view::read_row,
};

/// How long a moment is held on to after it was last asked for.
pub(crate) const PINNED_FOR: Duration = Duration::from_secs(600);
/// How long a moment that is not asked for is held on to when somebody else wants its place.
const PINNED_AT_LEAST: Duration = Duration::from_secs(30);
/// Moments that are held on to at a time.
const PINS_MAX: usize = 2;

/// Answers the pulls of receivers. Any thread may ask it; an answer reads the disk.
pub struct Provider {
    store: Store,
    pins: Mutex<Vec<Pin>>,
}

struct Pin {
    used: Duration,
    pinned: Arc<Pinned>,
}

/// A moment that is held on to.
struct Pinned {
    snapshot: u64,
    header: Header,
    moment: Moment,
    above: Vec<Listed>,
    within: Vec<Listed>,
}

impl Provider {
    /// A provider of this store that holds on to nothing.
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), pins: Mutex::new(Vec::new()) }
    }

    /// Answers a pull with a page, at a moment of a clock that never goes back. What it cannot give it refuses in a page as well.
    ///
    /// `sign` makes the heads that no peer has given us: of records of our own, and of those of whom we speak for. A moment of which some author did not sign
    /// the last record is given to nobody.
    ///
    /// The answer to an opening takes as long as it takes to look at every key, and the others as long as reading a page from the disk does.
    ///
    /// # Errors
    ///
    /// [`Malformed`](TransferFault::Malformed): the peer breaks the protocol. [`Read`](TransferFault::Read): a row of ours is damaged; the peer is to be told
    /// [`refusal`](Self::refusal).
    pub fn answer(
        &self,
        now: Duration,
        pull: Bytes,
        sign: impl Fn(Dot, Chain) -> Option<SignedHead>,
    ) -> Result<Bytes, TransferFault> {
        let page = match Ask::decode(pull)? {
            Ask::Open(vector) => self.open(now, vector, sign)?,
            Ask::Resume(snapshot) => {
                let found = self.find(now, snapshot);
                found.map_or(Page::Refusal(Refusal::Gone), |pinned| pinned.header_page())
            }
            Ask::Close(snapshot) => {
                self.forget(snapshot);
                Page::Refusal(Refusal::Gone)
            }
            Ask::Elements { snapshot, half, from, to } => match self.find(now, snapshot) {
                None => Page::Refusal(Refusal::Gone),
                // In this moment the row stays damaged, also when it is put back: whoever comes again gets another moment.
                Some(pinned) => {
                    let page = self.store.shared().noting(pinned.elements(half, from, to));
                    page.inspect_err(|_| self.forget(snapshot))?
                }
            },
            Ask::Fingerprints { snapshot, half, ranges } => match self.find(now, snapshot) {
                None => Page::Refusal(Refusal::Gone),
                Some(pinned) => {
                    let sums = ranges.iter().map(|range| {
                        let (first, found) = within(pinned.half(half), range);
                        (first as u64, fingerprint(found))
                    });
                    Page::Fingerprints { snapshot, sums: sums.collect() }
                }
            },
            Ask::Names { snapshot, half, ranges } => match self.find(now, snapshot) {
                None => Page::Refusal(Refusal::Gone),
                Some(pinned) => Page::Names { snapshot, names: pinned.names(half, &ranges) },
            },
            Ask::Meet(vector) => meet::page(&self.store, &vector)?,
        };
        Ok(page.encode())
    }

    /// The page that tells a peer why it gets none.
    pub fn refusal(why: Refusal) -> Bytes {
        Page::Refusal(why).encode()
    }

    /// Lets go of what nobody has asked for lately. Returns the moments that are still held on to.
    pub fn expire(&self, now: Duration) -> usize {
        let mut pins = self.pins.lock();
        pins.retain(|pin| now.saturating_sub(pin.used) < PINNED_FOR);
        pins.len()
    }

    fn open(
        &self,
        now: Duration,
        asked: VersionVector,
        sign: impl Fn(Dot, Chain) -> Option<SignedHead>,
    ) -> Result<Page, TransferFault> {
        if !self.make_room(now) {
            return Ok(Page::Refusal(Refusal::Busy));
        }
        let Some(pinned) = Pinned::of(Moment::of(&self.store)?, asked, sign).map(Arc::new) else {
            return Ok(Page::Refusal(Refusal::Unproven));
        };
        let page = pinned.header_page();
        let mut pins = self.pins.lock();
        pins.retain(|pin| pin.pinned.snapshot != pinned.snapshot);
        if pins.len() >= PINS_MAX {
            return Ok(Page::Refusal(Refusal::Busy));
        }
        pins.push(Pin { used: now, pinned });
        Ok(page)
    }

    /// Whether there is a place, that of a moment nobody has asked for lately if there is no other.
    fn make_room(&self, now: Duration) -> bool {
        self.expire(now);
        let mut pins = self.pins.lock();
        if pins.len() >= PINS_MAX
            && let Some(oldest) = pins.iter().map(|pin| pin.used).min()
            && now.saturating_sub(oldest) >= PINNED_AT_LEAST
        {
            pins.retain(|pin| pin.used != oldest);
        }
        pins.len() < PINS_MAX
    }

    fn forget(&self, snapshot: u64) {
        self.pins.lock().retain(|pin| pin.pinned.snapshot != snapshot);
    }

    fn find(&self, now: Duration, snapshot: u64) -> Option<Arc<Pinned>> {
        let mut pins = self.pins.lock();
        let pin = pins.iter_mut().find(|pin| pin.pinned.snapshot == snapshot)?;
        pin.used = now;
        Some(Arc::clone(&pin.pinned))
    }
}

impl Pinned {
    /// `None` when something in the moment is not signed.
    fn of(mut moment: Moment, asked: VersionVector, sign: impl Fn(Dot, Chain) -> Option<SignedHead>) -> Option<Self> {
        let elements = std::mem::take(&mut moment.elements);
        let all = elements.len() as u64;
        let (within, above): (Vec<_>, Vec<_>) =
            elements.into_iter().partition(|listed| asked.covers_element(listed.element));
        let mut header = Header {
            vector: moment.vector.clone(),
            streams: moment.streams.clone(),
            heads: Vec::new(),
            digest: moment.digest,
            bytes: moment.row_bytes / all.max(1) * above.len() as u64,
            above: fingerprint(&above),
            within: fingerprint(&within),
            asked,
        };
        let stored = std::mem::take(&mut moment.heads);
        let head = |(dot, chain)| {
            let known = stored.iter().find(|head| (head.dot, head.chain) == (dot, chain)).copied();
            known.or_else(|| sign(dot, chain))
        };
        header.heads = header.brought().map(head).collect::<Option<_>>()?;
        Some(Self { snapshot: header.snapshot(), header, moment, above, within })
    }

    fn half(&self, half: Half) -> &[Listed] {
        match half {
            Half::Above => &self.above,
            Half::Within => &self.within,
        }
    }

    fn header_page(&self) -> Page {
        Page::Header { snapshot: self.snapshot, header: self.header.clone() }
    }

    /// What ranges hold, as far as there is room for it: at least a part of the first.
    fn names(&self, half: Half, ranges: &[ElementRange]) -> Vec<Names> {
        let mut room = NAMES_MAX;
        let mut told = Vec::new();
        for range in ranges {
            let (first, found) = within(self.half(half), range);
            if found.len() > room && !told.is_empty() {
                break;
            }
            let is_whole = found.len() <= room;
            let names: Vec<_> =
                found.iter().take(room).map(|listed| (listed.element, check_of(listed.share))).collect();
            room -= names.len();
            told.push(Names { first: first as u64, is_whole, names });
            if !is_whole {
                break;
            }
        }
        told
    }

    fn elements(&self, half: Half, from: u64, to: u64) -> Result<Page, ReadError> {
        let all = self.half(half);
        let place = |at: u64| usize::try_from(at).map_or(all.len(), |at| at.min(all.len()));
        let wanted = &all[place(from)..place(to).max(place(from))];
        let mut out = Vec::new();
        let mut next = place(from);
        // Elements of one record are neighbours, and lie in one row.
        for record in wanted.chunk_by(|a, b| a.element.dot == b.element.dot && a.commit == b.commit) {
            let taken = self.put_some(&mut out, record)?;
            next += taken;
            if taken < record.len() {
                break;
            }
        }
        Ok(Page::Elements {
            snapshot: self.snapshot,
            from: place(from) as u64,
            next: next as u64,
            fragments: out.into(),
        })
    }

    /// Puts as many elements of a record on a page as it has room for, and returns how many. One that is larger than a page has a page of its own.
    fn put_some(&self, out: &mut Vec<u8>, record: &[Listed]) -> Result<usize, ReadError> {
        let (len, mut count) = (out.len(), record.len());
        while count > 0 {
            fragment::put(out, &self.remainder(&record[..count])?);
            if out.len() <= PAGE_BYTES || (len == 0 && count == 1) {
                break;
            }
            out.truncate(len);
            count = if len == 0 { count.div_ceil(2) } else { 0 };
        }
        Ok(count)
    }

    /// What the row of some elements, all of one record, holds of them. Its hash is checked: rot is not handed on.
    fn remainder(&self, record: &[Listed]) -> Result<Part, ReadError> {
        let Some(first) = record.first() else { return Err(ReadError::Rot { commit: 0 }) };
        if first.commit == 0 {
            return self.system(record);
        }
        let row: CommitRow = read_row(&*self.moment.snapshot, first.commit)?;
        let damaged = ReadError::Rot { commit: first.commit };
        let part = row.parts.iter().find(|part| part.dot() == first.element.dot);
        let Some(part) = part else { return Err(damaged) };
        let is_wanted = |element| record.binary_search_by_key(&element, |listed| listed.element).is_ok();
        let remainder = part.remainder(is_wanted);
        // What the index knows of them, and the receiver will hold the sum against.
        let is_known = fragment::elements(&remainder).eq(record.iter().map(|listed| (listed.element, listed.share)));
        if is_known { Ok(remainder) } else { Err(damaged) }
    }

    /// The same of the system's data, which is in memory.
    fn system(&self, record: &[Listed]) -> Result<Part, ReadError> {
        let (mut indices, mut operations, mut hlc) = (Vec::new(), Vec::new(), None);
        for listed in record {
            let (key, sibling) =
                self.moment.system.get(&listed.element).ok_or(ReadError::Rot { commit: self.moment.commit })?;
            hlc = Some(sibling.hlc);
            indices.push(listed.element.index);
            let (key, value) = (key.clone(), sibling.value.clone());
            operations.push(Operation::SystemPut { key, value, supersedes: Vec::new() });
        }
        let dot = record.first().map(|listed| listed.element.dot);
        let (Some(dot), Some(hlc)) = (dot, hlc) else { return Err(ReadError::Rot { commit: self.moment.commit }) };
        Ok(Part::of_remainder(Layer::Mesh, dot, hlc, operations, indices))
    }
}
