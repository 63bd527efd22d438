//! Range reads with etcd's options: which pairs, in which order, how many of them, and what of each.
//!
//! The same evaluation answers readers and the reads inside transactions; they differ in where pairs come from.

use std::cmp::Ordering;

use crate::{KeyValue, Order, RangeAnswer, RangeQuery, ReadError, Revision, SortTarget, lineage::Numbers};

/// A pair whose value has not been fetched.
pub(crate) trait Candidate {
    fn key(&self) -> &[u8];
    fn create_revision(&self) -> i64;
    fn mod_revision(&self) -> i64;
    fn version(&self) -> i64;
}

/// The revision at which a query reads, given the current and the oldest one.
pub(crate) fn read_revision(
    asked: i64,
    current: Revision,
    compacted: i64,
    numbers: &Numbers,
) -> Result<i64, ReadError> {
    if asked <= 0 {
        return Ok(current.get());
    }
    let oldest = compacted.max(1);
    // 1 means this replica's own beginning, whatever its slot.
    let revision = if asked == 1 { numbers.beginning().get() } else { asked };
    if numbers.is_foreign(revision) {
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

/// What a query selects, its values still to be fetched.
pub(crate) struct Selection<C> {
    /// The pairs that may be in the answer; cut by the limit already when that is known to be safe.
    pub(crate) kept: Vec<C>,
    /// Pairs that the limit is held against.
    passed: usize,
    /// Pairs in the range.
    count: usize,
}

/// Answers a query from the pairs of its range, given ascending by key.
pub(crate) fn answer<C: Candidate>(
    query: &RangeQuery,
    current: Revision,
    candidates: impl Iterator<Item = C>,
    fetch: impl FnMut(C) -> Result<KeyValue, ReadError>,
) -> Result<RangeAnswer, ReadError> {
    finish(query, current, select(query, candidates, |candidate| candidate), fetch)
}

/// Goes through the pairs of a query's range, ascending by key, and keeps what may be in the answer. `keep` turns a pair that
/// is looked at into one that stays.
pub(crate) fn select<C: Candidate, K>(
    query: &RangeQuery,
    candidates: impl Iterator<Item = C>,
    mut keep: impl FnMut(C) -> K,
) -> Selection<K> {
    let most = match (query.count_only, is_plain(query)) {
        (true, _) => 0,
        // Only in key order and unfiltered is the limit known to cut before everything has been seen.
        (false, true) => limit(query),
        (false, false) => usize::MAX,
    };
    let mut selection = Selection { kept: Vec::new(), passed: 0, count: 0 };
    for candidate in candidates {
        selection.count += 1;
        if passes(query, &candidate) {
            selection.passed += 1;
            if selection.kept.len() < most {
                selection.kept.push(keep(candidate));
            }
        }
    }
    selection
}

/// Makes a selection the answer to its query.
pub(crate) fn finish<C: Candidate>(
    query: &RangeQuery,
    current: Revision,
    selection: Selection<C>,
    mut fetch: impl FnMut(C) -> Result<KeyValue, ReadError>,
) -> Result<RangeAnswer, ReadError> {
    let Selection { mut kept, passed, count } = selection;
    let mut pairs = Vec::new();
    match query.order {
        Order::By { target: SortTarget::Value, descending } => {
            pairs = kept.into_iter().map(&mut fetch).collect::<Result<Vec<_>, _>>()?;
            pairs.sort_by(|a, b| direct(a.value.cmp(&b.value), descending));
            pairs.truncate(limit(query));
        }
        order => {
            sort(&mut kept, order);
            kept.truncate(limit(query));
            pairs.reserve_exact(kept.len());
            for candidate in kept {
                pairs.push(fetch(candidate)?);
            }
        }
    }
    if query.keys_only {
        pairs.iter_mut().for_each(|pair| pair.value = bytes::Bytes::new());
    }
    let more = !query.count_only && passed > limit(query);
    Ok(RangeAnswer { revision: current, pairs, more, count: count as i64 })
}

fn limit(query: &RangeQuery) -> usize {
    usize::try_from(query.limit).ok().filter(|&limit| limit > 0).unwrap_or(usize::MAX)
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
