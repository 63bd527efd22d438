//! The order of equals in a sorted Range, and the choice among them where a limit cuts.
//!
//! etcd sorts by version, revision or value with its language's unstable sort. Up to six elements that sort happens to be
//! stable in every release, so ties are in key order there and are compared as they are; above six they are arbitrary.
//! A limit can then cut through a group of equals, and which of them stay is arbitrary too.

use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{RangeRequest, RangeResponse, range_request::SortTarget},
    mvccpb::KeyValue,
};

pub(super) fn ties(request: &RangeRequest, response: &mut RangeResponse) {
    if response.count <= STABLE_MAX || request.sort_target() == SortTarget::Key {
        return;
    }
    let target = request.sort_target();
    for group in response.kvs.chunk_by_mut(|left, right| rank(left, target) == rank(right, target)) {
        group.sort_unstable_by(|left, right| left.key.cmp(&right.key));
    }
    if response.more {
        forget_the_last_group(&mut response.kvs, target);
    }
}

/// Keeps of the last group how many there are, and what they are equal in.
fn forget_the_last_group(kvs: &mut [KeyValue], target: SortTarget) {
    let Some(last) = kvs.last().map(|kv| rank(kv, target)) else { return };
    for kv in kvs.iter_mut().filter(|kv| rank(kv, target) == last) {
        let (number, value) = &last;
        *kv = KeyValue {
            version: *number,
            value: value.clone(),
            key: Bytes::from_static(b"one of several"),
            ..Default::default()
        };
    }
}

fn rank(kv: &KeyValue, target: SortTarget) -> (i64, Bytes) {
    match target {
        SortTarget::Key => (0, kv.key.clone()),
        SortTarget::Version => (kv.version, Bytes::new()),
        SortTarget::Create => (kv.create_revision, Bytes::new()),
        SortTarget::Mod => (kv.mod_revision, Bytes::new()),
        SortTarget::Value => (0, kv.value.clone()),
    }
}

const STABLE_MAX: i64 = 6;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tombolo_proto::{
        etcdserverpb::{RangeRequest, RangeResponse, range_request::SortTarget},
        mvccpb::KeyValue,
    };

    use super::ties;

    /// A response with these `(key, version)` pairs, after the rule.
    fn after(pairs: &[(&'static str, i64)], count: i64, more: bool) -> Vec<KeyValue> {
        let request = RangeRequest { sort_target: SortTarget::Version as i32, ..Default::default() };
        let kv = |(key, version): &(&'static str, i64)| KeyValue {
            key: Bytes::from(*key),
            version: *version,
            ..Default::default()
        };
        let mut response = RangeResponse { kvs: pairs.iter().map(kv).collect(), count, more, header: None };
        ties(&request, &mut response);
        response.kvs
    }

    #[test]
    fn only_equals_may_change_places_and_only_among_many() {
        assert_eq!(after(&[("a", 1), ("b", 1), ("c", 2)], 7, false), after(&[("b", 1), ("a", 1), ("c", 2)], 7, false));
        assert_ne!(after(&[("a", 1), ("b", 1), ("c", 2)], 3, false), after(&[("b", 1), ("a", 1), ("c", 2)], 3, false));
        assert_ne!(after(&[("a", 1), ("c", 2), ("b", 1)], 7, false), after(&[("a", 1), ("b", 1), ("c", 2)], 7, false));
    }

    #[test]
    fn a_cut_hides_only_the_group_it_went_through() {
        assert_eq!(after(&[("a", 1), ("b", 2)], 7, true), after(&[("a", 1), ("c", 2)], 7, true));
        assert_ne!(after(&[("a", 1), ("b", 2)], 7, true), after(&[("c", 1), ("b", 2)], 7, true));
        assert_ne!(after(&[("a", 1), ("b", 2)], 7, true), after(&[("a", 1), ("b", 3)], 7, true));
    }
}
