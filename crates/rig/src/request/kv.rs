//! Random Range, Put, DeleteRange and Compact requests.

use bytes::Bytes;
use tombolo_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest,
    range_request::{SortOrder, SortTarget},
};

use super::{generate::Generator, lease};

pub(crate) fn range(generator: &mut Generator) -> RangeRequest {
    let (key, range_end) = generator.interval();
    let mut request = RangeRequest { key, range_end, revision: generator.revision(), ..Default::default() };
    let random = &mut generator.random;
    request.serializable = random.chance(20);
    request.keys_only = random.chance(15);
    request.count_only = random.chance(15);
    if random.chance(40) {
        request.limit = random.between(-1, 5);
    }
    if random.chance(3) {
        request.limit = generator.odd_number();
    }
    if generator.random.chance(40) {
        sort(generator, &mut request);
    }
    if generator.random.chance(25) {
        filters(generator, &mut request);
    }
    request
}

fn sort(generator: &mut Generator, request: &mut RangeRequest) {
    let orders = [SortOrder::None, SortOrder::Ascend, SortOrder::Descend];
    let targets = [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value];
    request.sort_order = generator.random.pick(&orders) as i32;
    // A target outside the enumeration ends an etcd of this age with a panic, so only Tombolo is asked that, elsewhere.
    request.sort_target = generator.random.pick(&targets) as i32;
}

fn filters(generator: &mut Generator, request: &mut RangeRequest) {
    let chosen = 1 + generator.random.below(15);
    let mut filter = |bit: usize| if chosen & bit == 0 { 0 } else { generator.nearby_revision() };
    request.min_mod_revision = filter(1);
    request.max_mod_revision = filter(2);
    request.min_create_revision = filter(4);
    request.max_create_revision = filter(8);
}

pub(crate) fn put(generator: &mut Generator) -> PutRequest {
    let mut request = PutRequest { key: generator.key(), ..Default::default() };
    request.prev_kv = generator.random.chance(30);
    request.ignore_value = generator.random.chance(8);
    request.ignore_lease = generator.random.chance(8);
    if !request.ignore_value || generator.random.chance(15) {
        request.value = generator.value();
    }
    if (!request.ignore_lease && generator.random.chance(25)) || generator.random.chance(2) {
        request.lease = lease::id(generator);
    }
    if generator.random.below(400) == 0 {
        request.value = Bytes::from(vec![b'L'; REQUEST_BYTES_MAX + generator.random.below(3)]);
    }
    request
}

pub(crate) fn delete(generator: &mut Generator) -> DeleteRangeRequest {
    let (key, range_end) = generator.interval();
    DeleteRangeRequest { key, range_end, prev_kv: generator.random.chance(40) }
}

/// Mostly a little behind, so that history keeps some length; sometimes at an edge or beyond it.
pub(crate) fn compact(generator: &mut Generator) -> CompactionRequest {
    let revision = generator.world.revision;
    let revision = match generator.random.below(10) {
        0..6 => revision - generator.random.between(5, 40),
        6 => revision - generator.random.between(0, 2),
        7 => revision + 1,
        _ => generator.revision(),
    };
    // The answer waits for the disk work, so that what a reader finds afterwards does not depend on its progress.
    CompactionRequest { revision, physical: true }
}

/// etcd's own limit of a request; a value of that size makes the request a little larger.
const REQUEST_BYTES_MAX: usize = 3 << 19;
