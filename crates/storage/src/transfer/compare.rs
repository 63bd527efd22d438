//! Comparing two sorted sets of elements that lie at two replicas, by what their ranges add up to.
//!
//! A range that adds up to the same here and there is the same. One that does not is cut where our own elements cut it into
//! sixteen equal parts, until what is left is small enough to be told by name. It takes a number of questions that grows with what differs,
//! and of rounds that grows with its logarithm; nobody remembers anything for it but us.

use std::collections::VecDeque;

use tombolo_crdt::Element;

use super::{
    ElementRange, Fingerprint, TransferFault,
    body::{Ask, Half, Names, Page, RANGES_MAX, check_of},
    list::{Listed, fingerprint, within},
};

/// Parts that a range is cut into.
const PARTS: usize = 16;
/// Elements, here and there, up to which a range is told by name.
const NAMED_MAX: u64 = 128;

/// A comparison under way.
pub(crate) struct Comparison {
    own: Vec<Listed>,
    /// Ranges whose sums are to be asked for.
    open: VecDeque<ElementRange>,
    /// Ranges that are to be told by name.
    leaves: VecDeque<ElementRange>,
    asked: usize,
    /// How many elements there are there, and how many we were told of that are not here: a peer that tells of more never ends.
    promised: u64,
    told: u64,
    found: Difference,
    /// The first range of all that are known to differ.
    first: Option<ElementRange>,
}

/// What a comparison has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Elements that are here and not there.
    pub(crate) only_here: Vec<Listed>,
    /// The places of those that are there and not here: from, and up to.
    pub(crate) only_there: Vec<(u64, u64)>,
    /// Elements that hold something else here than there, with their places there.
    pub(crate) differing: Vec<(Element, u64)>,
}

/// What is to be asked next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Sums(Vec<ElementRange>),
    Names(Vec<ElementRange>),
}

impl Comparison {
    /// Compares our elements with others of which only the fingerprint is known.
    pub(crate) fn new(own: Vec<Listed>, theirs: Fingerprint) -> Self {
        let mut comparison = Self {
            own,
            open: VecDeque::new(),
            leaves: VecDeque::new(),
            asked: 0,
            promised: theirs.count,
            told: 0,
            found: Difference::default(),
            first: None,
        };
        // It promises what it promises.
        let _ = comparison.sum(ElementRange::ALL, 0, theirs);
        comparison
    }

    /// The next question, if one can be asked now.
    pub(crate) fn ask(&mut self) -> Option<Question> {
        let some = |ranges: &mut VecDeque<ElementRange>| ranges.drain(..ranges.len().min(RANGES_MAX)).collect();
        let question = match (self.open.is_empty(), self.leaves.is_empty()) {
            (false, _) => Question::Sums(some(&mut self.open)),
            (true, false) => Question::Names(some(&mut self.leaves)),
            (true, true) => return None,
        };
        self.asked += 1;
        Some(question)
    }

    /// Takes the answer to a question about a moment.
    pub(crate) fn answer(&mut self, question: Question, asked: u64, answer: Page) -> Result<(), TransferFault> {
        match (question, answer) {
            (Question::Sums(ranges), Page::Fingerprints { snapshot, sums }) if snapshot == asked => {
                self.sums(&ranges, &sums)
            }
            (Question::Names(ranges), Page::Names { snapshot, names }) if snapshot == asked => {
                self.names(&ranges, &names)
            }
            _ => Err(TransferFault::WrongAnswer),
        }
    }

    /// Takes the sums of the ranges that were asked about.
    fn sums(&mut self, ranges: &[ElementRange], sums: &[(u64, Fingerprint)]) -> Result<(), TransferFault> {
        if ranges.len() != sums.len() {
            return Err(TransferFault::WrongAnswer);
        }
        self.asked -= 1;
        for (range, (first, theirs)) in ranges.iter().zip(sums) {
            self.sum(*range, *first, *theirs)?;
        }
        Ok(())
    }

    /// Takes the names of ranges, which may be those of the first ones alone.
    fn names(&mut self, ranges: &[ElementRange], names: &[Names]) -> Result<(), TransferFault> {
        if names.is_empty() || names.len() > ranges.len() {
            return Err(TransferFault::WrongAnswer);
        }
        for (range, names) in ranges.iter().zip(names) {
            self.names_of(range, names)?;
        }
        self.leaves.extend(&ranges[names.len()..]);
        self.asked -= 1;
        Ok(())
    }

    fn names_of(&mut self, range: &ElementRange, names: &Names) -> Result<(), TransferFault> {
        if let Some((element, _)) = names.names.iter().find(|(element, _)| !range.contains(*element)) {
            return Err(TransferFault::OutOfPlace { element: *element });
        }
        let told = match names.names.last() {
            Some((last, _)) if !names.is_whole => ElementRange { to: Some(after(*last)), ..*range },
            // A part of a range is at least one element of it.
            None if !names.is_whole => return Err(TransferFault::WrongAnswer),
            _ => *range,
        };
        if told.to != range.to {
            self.open.push_back(ElementRange { from: told.to, to: range.to });
        }
        let (_, own) = within(&self.own, &told);
        let mut own = own.iter().peekable();
        let mut there = Vec::new();
        for (place, (element, check)) in (names.first..).zip(&names.names) {
            while let Some(listed) = own.next_if(|listed| listed.element < *element) {
                differs(&mut self.first, only(listed.element));
                self.found.only_here.push(*listed);
            }
            match own.next_if(|listed| listed.element == *element) {
                Some(listed) if check_of(listed.share) == *check => continue,
                Some(_) => self.found.differing.push((*element, place)),
                None => there.push(place),
            }
            differs(&mut self.first, only(*element));
        }
        if let Some(listed) = own.peek() {
            differs(&mut self.first, only(listed.element));
        }
        self.found.only_here.extend(own);
        there.into_iter().try_for_each(|place| self.only_there(place, 1))
    }

    /// What was found, once there is nothing more to ask.
    pub(crate) fn done(&self) -> Option<&Difference> {
        (self.asked == 0 && self.open.is_empty() && self.leaves.is_empty()).then_some(&self.found)
    }

    /// The first range that differs, once all is known: of what is told by name one element, and otherwise what is here or there alone.
    pub(crate) fn first(&self) -> Option<ElementRange> {
        self.first
    }

    /// Takes note of elements that are there and not here.
    fn only_there(&mut self, first: u64, count: u64) -> Result<(), TransferFault> {
        self.told = self.told.saturating_add(count);
        if self.told > self.promised {
            return Err(TransferFault::TooMuch { promised: self.promised });
        }
        self.found.only_there.push((first, first.saturating_add(count)));
        Ok(())
    }

    fn sum(&mut self, range: ElementRange, first: u64, theirs: Fingerprint) -> Result<(), TransferFault> {
        let (_, own) = within(&self.own, &range);
        let ours = fingerprint(own);
        if ours == theirs {
            return Ok(());
        }
        if ours.count == 0 || theirs.count == 0 {
            differs(&mut self.first, range);
        }
        if ours.count == 0 {
            self.only_there(first, theirs.count)?;
        } else if theirs.count == 0 {
            self.found.only_here.extend_from_slice(own);
        } else if ours.count.saturating_add(theirs.count) <= NAMED_MAX {
            self.leaves.push_back(range);
        } else {
            let cuts = cuts(own);
            let from = std::iter::once(range.from).chain(cuts.iter().copied().map(Some));
            let to = cuts.iter().copied().map(Some).chain([range.to]);
            let parts = from.zip(to).map(|(from, to)| ElementRange { from, to });
            // Where there is one name there is one element at most: it would be cut for ever.
            if parts.clone().any(|part| part == range) {
                return Err(TransferFault::WrongAnswer);
            }
            // A cut at the very beginning cuts off nothing.
            self.open.extend(parts.filter(|part| part.from.is_none() || part.from < part.to || part.to.is_none()));
        }
        Ok(())
    }
}

impl Question {
    /// The same to a provider that holds on to a moment.
    pub(crate) fn ask(self, snapshot: u64, half: Half) -> Ask {
        match self {
            Self::Sums(ranges) => Ask::Fingerprints { snapshot, half, ranges },
            Self::Names(ranges) => Ask::Names { snapshot, half, ranges },
        }
    }
}

/// Takes note of a range that differs.
fn differs(first: &mut Option<ElementRange>, range: ElementRange) {
    if first.is_none_or(|first| range.from < first.from) {
        *first = Some(range);
    }
}

/// The range of one element.
fn only(element: Element) -> ElementRange {
    ElementRange { from: Some(element), to: Some(after(element)) }
}

/// Where a range is cut: into equal parts of our own elements or, when there are few of them, around each.
fn cuts(own: &[Listed]) -> Vec<Element> {
    if own.len() <= PARTS / 2 {
        let mut cuts: Vec<Element> = own.iter().flat_map(|l| [l.element, after(l.element)]).collect();
        cuts.dedup();
        cuts
    } else {
        (1..PARTS).map(|part| own[part * own.len() / PARTS].element).collect()
    }
}

/// The first name that can follow an element.
fn after(element: Element) -> Element {
    match element.index.checked_add(1) {
        Some(index) => element.dot.element(index),
        None => tombolo_crdt::Dot::new(element.dot.replica, element.dot.seq + 1).element(0),
    }
}
