//! The receiving side: what is to be asked next, and what has come.
//!
//! It is a value that holds no connection. Whoever drives it sends what [`next_pulls`](Receiver::next_pulls) says, gives it the answers, in whatever
//! order they come, hands what [`take`](Receiver::take) returns to the committer, and says when a connection is [`cut`](Receiver::cut). It can be
//! dropped at any moment: [`resume`](Receiver::resume) finds on disk what had come.
//!
//! What is staged claims nothing. At every beginning it is compared with what the provider has, range by range, so that it is of
//! use whoever the next provider is.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::Ordering,
};

use bytes::Bytes;
use tombolo_crdt::{Dot, Element, SignedHead, VersionVector, codec::Reader, mutation::Mutation};

use super::{
    CollectedTransfer, CompleteTransfer, Fingerprint, Refusal, StagedPage, TransferFault,
    body::{Ask, Half, Page},
    compare::{Comparison, Question},
    fragment,
    header::Header,
    join::Holder,
    list::{Listed, Moment},
    mending::{MendCounts, Mending},
    staging::{Place, StagedElements, Staging},
};
use crate::{
    ReadError, Store,
    row::commit::{self, CommitRow},
};

/// Elements asked for at once, when their size is not known better.
const ELEMENTS_AT_ONCE: u64 = 4096;
/// Bytes of elements asked for at once, about.
const BYTES_AT_ONCE: u64 = 512 << 10;

/// Takes a transfer. There is at most one of a store at a time.
pub struct Receiver {
    store: Store,
    /// What is to be mended besides.
    mending: Option<Mending>,
    /// The ordinal of the next staged row.
    next_row: u64,
    staged: StagedElements,
    staged_bytes: u64,
    phase: Phase,
    outstanding: BTreeMap<u64, Asked>,
    next_pull: u64,
}

enum Phase {
    /// Nobody has been asked for this moment yet, or it may be held on to still.
    Opening {
        resumes: Option<(u64, Header)>,
    },
    Taking(Box<Taking>),
}

/// A moment that is being taken.
struct Taking {
    snapshot: u64,
    header: Header,
    /// Our last commit when it was asked for.
    since: u64,
    above: Comparison,
    within: Comparison,
    /// The keys of our elements of the system's data.
    system: HashMap<Element, Bytes>,
    /// Places of elements that are to be asked for; unknown before it is known what is staged already.
    missing: Option<Vec<(u64, u64)>>,
}

enum Asked {
    Opening { vector: VersionVector, commit: u64 },
    Resuming,
    Elements { half: Half, from: u64, to: u64 },
    Compared { half: Half, question: Question },
}

/// A body to be sent to the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Names the answer.
    pub id: u64,
    /// What is sent.
    pub body: Bytes,
}

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferProgress {
    /// Elements staged.
    pub elements: u64,
    /// Elements there will be, once that is known.
    pub elements_total: Option<u64>,
    /// Bytes staged.
    pub bytes: u64,
    /// About how many there will be, once that is known.
    pub bytes_total: Option<u64>,
}

impl Receiver {
    /// Begins, or goes on with what is staged. Reads all staged rows.
    ///
    /// # Errors
    ///
    /// The engine cannot read.
    pub fn resume(store: &Store) -> Result<Self, ReadError> {
        let shared = store.shared();
        let Staging { header, elements: staged, bytes, next } =
            Staging::read(&*shared.engine.snapshot(), shared.staged_from.load(Ordering::Acquire))?;
        Ok(Self {
            store: store.clone(),
            mending: None,
            next_row: next,
            staged,
            staged_bytes: bytes,
            phase: Phase::Opening { resumes: header },
            outstanding: BTreeMap::new(),
            next_pull: 0,
        })
    }

    /// Begins a transfer that mends this store, beginning with what is published now: what the provider holds of what is applied here takes the place of what
    /// this store holds of it. The provider must have applied [all of that](Self::asks_of) before it is asked. It is not gone on with after a
    /// restart. Looks at every key.
    ///
    /// # Errors
    ///
    /// The engine cannot read.
    pub fn mend(store: &Store) -> Result<Self, ReadError> {
        let receiver = Self::resume(store)?;
        let mending = Some(Mending::of(Moment::unproven(store)));
        Ok(Self { mending, phase: Phase::Opening { resumes: None }, ..receiver })
    }

    /// What a provider must have applied to be of use.
    pub fn asks_of(&self) -> Option<&VersionVector> {
        self.mending.as_ref().map(|mending| &mending.vector)
    }

    /// What would be mended, once it has been compared and before any of it is asked for.
    pub fn mends(&self) -> Option<MendCounts> {
        self.mending.as_ref().filter(|mending| mending.wanted.is_some()).map(|mending| mending.counts)
    }

    /// What is to be sent now, so that at most `outstanding_max` pulls are on their way; none when all that can be asked is.
    pub fn next_pulls(&mut self, outstanding_max: usize) -> Vec<Pull> {
        let mut pulls = Vec::new();
        while self.outstanding.len() < outstanding_max {
            let Some((ask, asked)) = self.ask() else { break };
            self.outstanding.insert(self.next_pull, asked);
            pulls.push(Pull { id: self.next_pull, body: ask.encode() });
            self.next_pull += 1;
        }
        pulls
    }

    /// What tells the provider that nothing more will be asked, so that it lets go of its moment. Nobody needs the answer.
    pub fn farewell(&self) -> Option<Bytes> {
        match &self.phase {
            Phase::Taking(taking) => Some(Ask::Close(taking.snapshot).encode()),
            Phase::Opening { .. } => None,
        }
    }

    /// The connection is gone, and with it every answer that has not come. The next one may lead to another provider.
    pub fn cut(&mut self) {
        let outstanding = std::mem::take(&mut self.outstanding);
        if let Phase::Taking(taking) = std::mem::replace(&mut self.phase, Phase::Opening { resumes: None }) {
            self.phase = Phase::Opening { resumes: Some((taking.since, taking.header)) };
        }
        drop(outstanding);
    }

    /// Takes the answer to a pull, and returns what is to be staged. A fault changes nothing but that the pull counts as answered:
    /// the provider is not to be asked any more.
    ///
    /// # Errors
    ///
    /// [`Refused`](TransferFault::Refused) is a provider's right. Every other fault but [`Read`](TransferFault::Read) says that it is at fault, or
    /// that we are.
    pub fn take(&mut self, pull: u64, page: Bytes) -> Result<Vec<StagedPage>, TransferFault> {
        let asked = self.outstanding.remove(&pull).ok_or(TransferFault::Unasked { pull })?;
        match (asked, Page::decode(page)?) {
            (Asked::Resuming, Page::Refusal(Refusal::Gone)) => {
                self.phase = Phase::Opening { resumes: None };
                Ok(Vec::new())
            }
            (_, Page::Refusal(why)) => Err(TransferFault::Refused(why)),
            (Asked::Opening { vector, commit }, Page::Header { snapshot, header }) => {
                if header.asked != vector {
                    return Err(TransferFault::WrongAnswer);
                }
                self.begin(snapshot, header, commit)
            }
            (Asked::Resuming, Page::Header { snapshot, header }) => match &self.phase {
                Phase::Opening { resumes: Some((since, known)) } if *known == header => {
                    let since = *since;
                    self.begin(snapshot, header, since)
                }
                _ => Err(TransferFault::WrongAnswer),
            },
            (Asked::Elements { half, from, to }, Page::Elements { snapshot, from: begins, next, fragments }) => {
                self.check_snapshot(snapshot)?;
                if begins != from || next > to || next < from {
                    return Err(TransferFault::WrongAnswer);
                }
                self.elements(half, (from, next, to), fragments)
            }
            (Asked::Compared { half, question }, answer) => self.compared(half, question, answer),
            _ => Err(TransferFault::WrongAnswer),
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> TransferProgress {
        let header = match &self.phase {
            Phase::Taking(taking) => Some(&taking.header),
            Phase::Opening { resumes } => resumes.as_ref().map(|(_, header)| header),
        };
        TransferProgress {
            elements: self.staged.places.len() as u64,
            elements_total: header.map(|header| header.above.count + self.mends().map_or(0, MendCounts::comes)),
            bytes: self.staged_bytes,
            bytes_total: header.map(|header| header.bytes),
        }
    }

    /// The vector up to which the transfer leads, once it is known.
    pub fn vector(&self) -> Option<&VersionVector> {
        match &self.phase {
            Phase::Taking(taking) => Some(&taking.header.vector),
            Phase::Opening { .. } => None,
        }
    }

    /// The heads in the provider's header. It is for the caller to verify them: at the latest when everything [has come](CollectedTransfer::prove).
    pub fn heads(&self) -> &[SignedHead] {
        match &self.phase {
            Phase::Taking(taking) => &taking.header.heads,
            Phase::Opening { .. } => &[],
        }
    }

    /// The whole transfer, to be [proven](CollectedTransfer::prove), once everything has come; `None` while something is missing.
    ///
    /// # Errors
    ///
    /// What came is not what the header promised.
    pub fn complete(&self) -> Result<Option<CollectedTransfer>, TransferFault> {
        let Phase::Taking(taking) = &self.phase else { return Ok(None) };
        let Some(within) = taking.within.done() else { return Ok(None) };
        let is_lacking = |missing: &Option<Vec<_>>| missing.as_ref().is_none_or(|missing| !missing.is_empty());
        let mends_more = self.mending.as_ref().is_some_and(|mending| is_lacking(&mending.wanted));
        if is_lacking(&taking.missing) || mends_more || !self.outstanding.is_empty() {
            return Ok(None);
        }
        let above = self.staged.places.iter().filter(|(element, _)| !taking.header.asked.covers_element(**element));
        let found: Fingerprint = above.map(|(_, place)| place.share).sum();
        if found != taking.header.above {
            return Err(TransferFault::Fingerprint { promised: taking.header.above, found });
        }
        let mut removed = within.only_here.clone();
        if Mutation::DotsForElements.is_on() {
            removed.dedup_by_key(|listed| listed.element.dot);
        }
        let mut removed = self.store.shared().noting(self.holders(&removed, &taking.system))?;
        if let Some(mending) = &self.mending {
            mending.prove(&taking.header, &within.only_here)?;
            let differing = self.store.shared().noting(self.holders(mending.differing(), &taking.system))?;
            removed.extend(differing.into_iter().filter(|(element, holder)| mending.is_elsewhere(*element, holder)));
        }
        let complete = CompleteTransfer {
            header: taking.header.clone(),
            since: taking.since,
            removed,
            mended: self.mending.as_ref().map(Mending::mended),
            staged: self.staged.clone(),
            crowded: self.staged.crowded(),
            end: self.next_row,
        };
        Ok(Some(CollectedTransfer::new(self.store.clone(), complete)))
    }

    fn ask(&mut self) -> Option<(Ask, Asked)> {
        let taking = match &mut self.phase {
            Phase::Opening { .. } if !self.outstanding.is_empty() => return None,
            Phase::Opening { resumes: Some((_, header)) } => {
                return Some((Ask::Resume(header.snapshot()), Asked::Resuming));
            }
            Phase::Opening { resumes: None } => {
                let standing = self.store.standing();
                let now = (standing.frontier, standing.published.commit);
                let (vector, commit) =
                    self.mending.as_ref().map_or(now, |mending| (mending.vector.clone(), mending.commit));
                return Some((Ask::Open(vector.clone()), Asked::Opening { vector, commit }));
            }
            Phase::Taking(taking) => taking,
        };
        let snapshot = taking.snapshot;
        for (half, comparison) in [(Half::Above, &mut taking.above), (Half::Within, &mut taking.within)] {
            if let Some(question) = comparison.ask() {
                return Some((question.clone().ask(snapshot, half), Asked::Compared { half, question }));
            }
        }
        let (half, from, to) = taking.next_elements(self.mending.as_mut())?;
        Some((Ask::Elements { snapshot, half, from, to }, Asked::Elements { half, from, to }))
    }

    fn begin(&mut self, snapshot: u64, header: Header, since: u64) -> Result<Vec<StagedPage>, TransferFault> {
        header.check()?;
        if snapshot != header.snapshot() {
            return Err(TransferFault::WrongAnswer);
        }
        check_streams(&self.store, &header)?;
        // What the provider does not know, or what we have by now, is not part of this transfer.
        let is_part = |e: &Element| header.vector.covers_element(*e) && !header.asked.covers_element(*e);
        self.staged.places.retain(|element, _| is_part(element));
        let listed = |(element, place): (&Element, &Place)| Listed { element: *element, commit: 0, share: place.share };
        let above = Comparison::new(self.staged.places.iter().map(listed).collect(), header.above);
        let (mut own, mut system) = (Vec::new(), HashMap::new());
        if let Some(mending) = &self.mending {
            (own, system) = (mending.own(&header)?, mending.system.clone());
        } else if !header.asked.is_empty() {
            let moment = Moment::of(&self.store)?;
            own = moment.elements;
            system = moment.system.into_iter().map(|(element, (key, _))| (element, key)).collect();
        }
        let is_known = |e: Element| header.vector.covers_element(e) || Mutation::AbsentMeansRemoved.is_on();
        let is_common = |e: Element| header.asked.covers_element(e) && is_known(e);
        let own = own.into_iter().filter(|listed| is_common(listed.element)).collect();
        let within = Comparison::new(own, header.within);
        let staged = StagedPage::header(self.next_row, since, &header);
        self.next_row += 1;
        let taking = Taking { snapshot, header, since, above, within, system, missing: None };
        self.phase = Phase::Taking(Box::new(taking));
        self.settle()?;
        Ok(vec![staged])
    }

    fn check_snapshot(&self, snapshot: u64) -> Result<&Taking, TransferFault> {
        match &self.phase {
            Phase::Taking(taking) if taking.snapshot == snapshot => Ok(taking),
            _ => Err(TransferFault::WrongAnswer),
        }
    }

    /// Takes the elements from one place to the next, of which more were asked for.
    fn elements(
        &mut self,
        half: Half,
        (from, next, to): (u64, u64, u64),
        bytes: Bytes,
    ) -> Result<Vec<StagedPage>, TransferFault> {
        let Phase::Taking(taking) = &mut self.phase else { return Err(TransferFault::WrongAnswer) };
        let mut reader = Reader::new(bytes.clone());
        let (mut parts, mut last, mut count) = (Vec::new(), None, 0);
        while reader.remaining() > 0 {
            let part = fragment::read(&mut reader)?;
            for (element, _) in fragment::elements(&part) {
                let header = &taking.header;
                let is_in_order = last.replace(element).is_none_or(|last| last < element);
                count += 1;
                let is_in_half = header.asked.covers_element(element) == (half == Half::Within);
                if !is_in_order || !header.vector.covers_element(element) || !is_in_half {
                    return Err(TransferFault::OutOfPlace { element });
                }
                if self.staged.places.contains_key(&element) {
                    return Err(TransferFault::Twice { element });
                }
            }
            parts.push(part);
        }
        // A page that brings nothing would be asked for for ever.
        if count != next - from || next == from {
            return Err(TransferFault::WrongAnswer);
        }
        let mut mending = self.mending.as_mut().filter(|_| half == Half::Within);
        if next < to {
            let missing = mending.as_mut().map_or(&mut taking.missing, |mending| &mut mending.wanted);
            missing.get_or_insert_default().push((next, to));
        }
        if let Some(mending) = mending {
            parts.iter().for_each(|part| mending.note(part));
        }
        self.staged.note(self.next_row, &parts);
        let staged = StagedPage::page(self.next_row, &bytes);
        self.next_row += 1;
        self.staged_bytes += staged.bytes() as u64;
        Ok(vec![staged])
    }

    fn compared(&mut self, half: Half, question: Question, answer: Page) -> Result<Vec<StagedPage>, TransferFault> {
        let Phase::Taking(taking) = &mut self.phase else { return Err(TransferFault::WrongAnswer) };
        let comparison = match half {
            Half::Above => &mut taking.above,
            Half::Within => &mut taking.within,
        };
        comparison.answer(question, taking.snapshot, answer)?;
        self.settle()?;
        Ok(Vec::new())
    }

    /// Draws the conclusions of comparisons that have ended.
    fn settle(&mut self) -> Result<(), TransferFault> {
        let Phase::Taking(taking) = &mut self.phase else { return Ok(()) };
        if let Some(found) = taking.within.done() {
            match (&mut self.mending, found.differing.first()) {
                (Some(mending), _) => mending.settle(found),
                (None, Some((element, _))) => return Err(TransferFault::Differs { element: *element }),
                (None, None) => {}
            }
        }
        let Some(above) = taking.above.done().filter(|_| taking.missing.is_none()) else { return Ok(()) };
        // What another provider had and this one lacks it has removed, or we would not have asked it. Where they differ, this one is asked.
        let others = above.only_here.iter().map(|listed| listed.element);
        let others: Vec<Element> = others.chain(above.differing.iter().map(|(element, _)| *element)).collect();
        let places = above.differing.iter().map(|(_, place)| (*place, place + 1));
        let mut missing: Vec<(u64, u64)> = above.only_there.iter().copied().chain(places).collect();
        missing.sort_unstable();
        missing.reverse();
        taking.missing = Some(missing);
        others.iter().for_each(|element| _ = self.staged.places.remove(element));
        Ok(())
    }

    /// What holds some elements of ours. Those whose rows have gone have gone too.
    fn holders(
        &self,
        listed: &[Listed],
        system: &HashMap<Element, Bytes>,
    ) -> Result<Vec<(Element, Holder)>, ReadError> {
        let shared = self.store.shared();
        let mut holders = Vec::new();
        for Listed { element, commit, .. } in listed {
            if let Some(key) = system.get(element) {
                holders.push((*element, Holder::System(key.clone())));
                continue;
            }
            let row = match shared.engine.get(&commit::key(*commit)) {
                Ok(Some(row)) => CommitRow::decode(&row, *commit)?,
                // What stayed for want of its row would be here for ever, and nowhere else.
                Ok(None) if shared.look_again(*commit) => return Err(ReadError::Rot { commit: *commit }),
                Ok(None) => continue,
                Err(error) => return Err(ReadError::at(*commit, error)),
            };
            holders.extend(row.operation(*element).and_then(|o| Holder::of(*element, o)).map(|h| (*element, h)));
        }
        Ok(holders)
    }
}

impl Taking {
    /// The next elements to ask for: so many that they fill a good part of a page.
    fn next_elements(&mut self, mending: Option<&mut Mending>) -> Option<(Half, u64, u64)> {
        let size = self.header.bytes / self.header.above.count.max(1);
        let count = BYTES_AT_ONCE.checked_div(size).unwrap_or(ELEMENTS_AT_ONCE).clamp(1, ELEMENTS_AT_ONCE);
        let wanted = mending.and_then(|mending| mending.wanted.as_mut());
        let halves = [(Half::Above, self.missing.as_mut()), (Half::Within, wanted)];
        halves.into_iter().find_map(|(half, missing)| {
            let missing = missing?;
            let (from, to) = missing.pop()?;
            let until = to.min(from.saturating_add(count));
            if until < to {
                missing.push((until, to));
            }
            Some((half, from, until))
        })
    }
}

/// Refuses a provider whose streams are not the ones that we have, as far as that can be seen.
fn check_streams(store: &Store, header: &Header) -> Result<(), TransferFault> {
    let own = store.identity().replica;
    let standing = store.standing();
    let beyond = Dot::new(own, header.vector.seq(own));
    if !standing.frontier.covers(beyond) {
        let head =
            header.heads.iter().find(|head| head.dot == beyond).ok_or(TransferFault::Unsigned { dot: beyond })?;
        return Err(TransferFault::AheadOfUs { dot: beyond, head: Box::new(*head) });
    }
    for (replica, stream) in &header.streams {
        let dot = Dot::new(*replica, header.vector.seq(*replica));
        let Some(ours) = standing.chains.get(replica).filter(|_| standing.frontier.seq(*replica) == dot.seq) else {
            continue;
        };
        if *ours != stream.chain {
            return Err(TransferFault::Forked { dot, ours: *ours, theirs: stream.chain });
        }
    }
    Ok(())
}
