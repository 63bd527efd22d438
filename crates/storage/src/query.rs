//! Range reads with etcd's options: which pairs, in which order, how many of them, and what of each.
//!
//! The same evaluation answers readers and the reads inside transactions; they differ in where pairs come from.

use std::cmp::Ordering;

use crate::{KeyValue, Order, RangeAnswer, RangeQuery, ReadError, Revision, SortTarget, is_foreign, revision::Slot};

/// A pair whose value has not been fetched.
pub(crate) trait Candidate {
    fn key(&self) -> &[u8];
    fn create_revision(&self) -> i64;
    fn mod_revision(&self) -> i64;
    fn version(&self) -> i64;
}

/// The revision at which a query reads, given the current and the oldest one.
pub(crate) fn read_revision(asked: i64, current: Revision, compacted: i64, slot: Slot) -> Result<i64, ReadError> {
    if asked <= 0 {
        return Ok(current.get());
    }
    let oldest = compacted.max(1);
    // 1 means this replica's own beginning, whatever its slot.
    let revision = if asked == 1 { slot.beginning().get() } else { asked };
    if is_foreign(revision, slot) {
        return Err(ReadError::Compacted { oldest });
    }
    if revision > current.get() {
        return Err(ReadError::FutureRevision { current: current.get() });
    }
    if revision < compacted {
        return Err(ReadError::Compacted { oldest });
    }
    Ok(revision)
}

/// Answers a query from the pairs of its range, given ascending by key.
pub(crate) fn answer<C: Candidate>(
    query: &RangeQuery,
    current: Revision,
    candidates: impl Iterator<Item = C>,
    mut fetch: impl FnMut(C) -> Result<KeyValue, ReadError>,
) -> Result<RangeAnswer, ReadError> {
    if query.count_only {
        let count = candidates.count() as i64;
        return Ok(RangeAnswer { revision: current, pairs: Vec::new(), more: false, count });
    }
    let limit = usize::try_from(query.limit).ok().filter(|&limit| limit > 0).unwrap_or(usize::MAX);
    // Only in key order and unfiltered is the limit known to cut before everything has been seen.
    let keep = if is_plain(query) { limit } else { usize::MAX };
    let (mut kept, mut count) = (Vec::new(), 0);
    for candidate in candidates {
        count += 1;
        if kept.len() < keep && passes(query, &candidate) {
            kept.push(candidate);
        }
    }
    let mut pairs = Vec::new();
    let passed = if is_plain(query) { count } else { kept.len() };
    match query.order {
        Order::By { target: SortTarget::Value, descending } => {
            pairs = kept.into_iter().map(&mut fetch).collect::<Result<Vec<_>, _>>()?;
            pairs.sort_by(|a, b| direct(a.value.cmp(&b.value), descending));
            pairs.truncate(limit);
        }
        order => {
            sort(&mut kept, order);
            kept.truncate(limit);
            pairs.reserve_exact(kept.len());
            for candidate in kept {
                pairs.push(fetch(candidate)?);
            }
        }
    }
    if query.keys_only {
        pairs.iter_mut().for_each(|pair| pair.value = bytes::Bytes::new());
    }
    Ok(RangeAnswer { revision: current, more: passed > limit, pairs, count: count as i64 })
}

fn is_plain(query: &RangeQuery) -> bool {
    query.order == Order::Key
        && query.min_mod_revision == 0
        && query.max_mod_revision == 0
        && query.min_create_revision == 0
        && query.max_create_revision == 0
}

fn passes(query: &RangeQuery, candidate: &impl Candidate) -> bool {
    let (modified, created) = (candidate.mod_revision(), candidate.create_revision());
    (query.max_mod_revision == 0 || modified <= query.max_mod_revision)
        && (query.min_mod_revision == 0 || modified >= query.min_mod_revision)
        && (query.max_create_revision == 0 || created <= query.max_create_revision)
        && (query.min_create_revision == 0 || created >= query.min_create_revision)
}

fn sort<C: Candidate>(candidates: &mut [C], order: Order) {
    let Order::By { target, descending } = order else { return };
    candidates.sort_by(|a, b| {
        let ordering = match target {
            SortTarget::Key => a.key().cmp(b.key()),
            SortTarget::Version => a.version().cmp(&b.version()),
            SortTarget::CreateRevision => a.create_revision().cmp(&b.create_revision()),
            SortTarget::ModRevision => a.mod_revision().cmp(&b.mod_revision()),
            // Values are fetched before they are sorted; see `answer`.
            SortTarget::Value => Ordering::Equal,
        };
        direct(ordering, descending)
    });
}

fn direct(ordering: Ordering, descending: bool) -> Ordering {
    if descending { ordering.reverse() } else { ordering }
}
