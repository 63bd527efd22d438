//! etcd's messages to and from the store's types. Numbers go through untouched: what a revision means is the store's to say.

use tombolo_proto::{
    etcdserverpb::{
        DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, ResponseHeader,
        range_request::{SortOrder, SortTarget as EtcdTarget},
    },
    mvccpb::{self, event::EventType},
};
use tombolo_storage::{
    Delete, DeleteAnswer, Event, KeyRange, KeyValue, Order, Put, PutAnswer, RangeAnswer, RangeQuery, SortTarget,
};

pub(super) fn put(request: PutRequest) -> Put {
    Put {
        key: request.key,
        value: (!request.ignore_value).then_some(request.value),
        lease: (!request.ignore_lease).then_some(request.lease),
        previous: request.prev_kv,
    }
}

pub(super) fn put_response(header: ResponseHeader, answer: PutAnswer) -> PutResponse {
    PutResponse { header: Some(header), prev_kv: answer.previous.map(pair) }
}

pub(super) fn delete(request: DeleteRangeRequest) -> Delete {
    Delete { range: KeyRange::from_etcd(request.key, request.range_end), previous: request.prev_kv }
}

pub(super) fn delete_response(header: ResponseHeader, answer: DeleteAnswer) -> DeleteRangeResponse {
    let prev_kvs = answer.previous.into_iter().map(pair).collect();
    DeleteRangeResponse { header: Some(header), deleted: answer.deleted, prev_kvs }
}

/// The read that answers a range request, once [`range_response`] has finished its answer.
pub(super) fn range(request: RangeRequest) -> (RangeQuery, Finish) {
    let finish = Finish::of(&request);
    let query = RangeQuery {
        order: if finish.sorts_a_page() { Order::Key } else { order(&request) },
        limit: request.limit.saturating_add(i64::from(finish.sorts_a_page())),
        revision: request.revision,
        keys_only: request.keys_only && !finish.sorts_a_page(),
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
        range: KeyRange::from_etcd(request.key, request.range_end),
    };
    (query, finish)
}

pub(super) fn range_response(header: ResponseHeader, mut answer: RangeAnswer, finish: Finish) -> RangeResponse {
    finish.apply(&mut answer);
    RangeResponse {
        header: Some(header),
        kvs: answer.pairs.into_iter().map(pair).collect(),
        more: answer.more,
        count: answer.count,
    }
}

/// What is left to do to a range's answer.
///
/// With a sort target but no sort order, etcd takes the first pairs *in key order*, one more than the limit, sorts those, and
/// then cuts. Nobody can want that, but a client sees it; the store knows only honest sorting.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Finish(Option<Page>);

#[derive(Clone, Copy, Debug)]
struct Page {
    target: EtcdTarget,
    limit: usize,
    keys_only: bool,
}

impl Finish {
    fn of(request: &RangeRequest) -> Self {
        let unfiltered = request.min_mod_revision == 0
            && request.max_mod_revision == 0
            && request.min_create_revision == 0
            && request.max_create_revision == 0;
        let page = request.sort_order() == SortOrder::None && request.sort_target() != EtcdTarget::Key && unfiltered;
        let limit = usize::try_from(request.limit).ok().filter(|limit| page && *limit > 0);
        Self(limit.map(|limit| Page { target: request.sort_target(), limit, keys_only: request.keys_only }))
    }

    fn sorts_a_page(self) -> bool {
        self.0.is_some()
    }

    fn apply(self, answer: &mut RangeAnswer) {
        let Some(page) = self.0 else { return };
        match page.target {
            EtcdTarget::Key => answer.pairs.sort_by(|a, b| a.key.cmp(&b.key)),
            EtcdTarget::Version => answer.pairs.sort_by_key(|pair| pair.version),
            EtcdTarget::Create => answer.pairs.sort_by_key(|pair| pair.create_revision),
            EtcdTarget::Mod => answer.pairs.sort_by_key(|pair| pair.mod_revision),
            EtcdTarget::Value => answer.pairs.sort_by(|a, b| a.value.cmp(&b.value)),
        }
        answer.more = answer.pairs.len() > page.limit;
        answer.pairs.truncate(page.limit);
        if page.keys_only {
            answer.pairs.iter_mut().for_each(|pair| pair.value.clear());
        }
    }
}

/// As in etcd, a target other than the key without an order is sorted ascending.
fn order(request: &RangeRequest) -> Order {
    let target = match request.sort_target() {
        EtcdTarget::Key => SortTarget::Key,
        EtcdTarget::Version => SortTarget::Version,
        EtcdTarget::Create => SortTarget::CreateRevision,
        EtcdTarget::Mod => SortTarget::ModRevision,
        EtcdTarget::Value => SortTarget::Value,
    };
    match (request.sort_order(), target) {
        (SortOrder::None | SortOrder::Ascend, SortTarget::Key) => Order::Key,
        (SortOrder::None | SortOrder::Ascend, target) => Order::By { target, descending: false },
        (SortOrder::Descend, target) => Order::By { target, descending: true },
    }
}

pub(super) fn pair(pair: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: pair.key,
        create_revision: pair.create_revision,
        mod_revision: pair.mod_revision,
        version: pair.version,
        value: pair.value,
        lease: pair.lease,
    }
}

pub(super) fn event(event: &Event, previous: Option<KeyValue>) -> mvccpb::Event {
    let (kind, kv) = match event {
        Event::Put(put) => (EventType::Put, pair(put.clone())),
        Event::Delete { key, revision } => {
            let kv = mvccpb::KeyValue { key: key.clone(), mod_revision: revision.get(), ..Default::default() };
            (EventType::Delete, kv)
        }
    };
    mvccpb::Event { r#type: kind.into(), kv: Some(kv), prev_kv: previous.map(pair) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tombolo_storage::Slot;

    use super::*;

    fn asked(adapt: impl FnOnce(&mut RangeRequest)) -> RangeRequest {
        let mut request = RangeRequest { key: Bytes::from("a"), range_end: Bytes::from("z"), ..Default::default() };
        adapt(&mut request);
        request
    }

    #[test]
    fn sort_options_become_the_order_they_mean() {
        let by = |target, descending| Order::By { target, descending };
        for (order, target, expected) in [
            (0, 0, Order::Key),
            (1, 0, Order::Key),
            (2, 0, by(SortTarget::Key, true)),
            (1, 1, by(SortTarget::Version, false)),
            (2, 2, by(SortTarget::CreateRevision, true)),
            (0, 3, by(SortTarget::ModRevision, false)),
            (2, 4, by(SortTarget::Value, true)),
        ] {
            let (query, _) = range(asked(|request| (request.sort_order, request.sort_target) = (order, target)));
            assert_eq!(query.order, expected, "{order} {target}");
        }
    }

    #[test]
    fn a_target_without_an_order_sorts_only_the_first_page() {
        let (query, finish) = range(asked(|request| (request.limit, request.sort_target) = (2, 1)));
        assert_eq!((query.order, query.limit), (Order::Key, 3));
        let pair = |key: &'static str, version| KeyValue { key: key.into(), version, ..Default::default() };
        let pairs = vec![pair("a", 3), pair("b", 1), pair("c", 2)];
        let answer = RangeAnswer { revision: Slot::FIRST.beginning(), pairs, more: true, count: 5 };
        let response = range_response(ResponseHeader::default(), answer, finish);
        let keys: Vec<_> = response.kvs.iter().map(|kv| kv.key.as_ref()).collect();
        assert_eq!((keys, response.more, response.count), (vec![&b"b"[..], b"c"], true, 5));
    }

    #[test]
    fn ignoring_value_or_lease_keeps_what_there_is() {
        let request = PutRequest { key: "a".into(), value: "v".into(), lease: 4, ..Default::default() };
        let put_of = |ignore_value, ignore_lease| put(PutRequest { ignore_value, ignore_lease, ..request.clone() });
        assert_eq!(put_of(false, false).value, Some(Bytes::from("v")));
        assert_eq!(put_of(false, false).lease, Some(4));
        assert_eq!(put_of(true, false).value, None);
        assert_eq!(put_of(false, true).lease, None);
    }

    #[test]
    fn a_delete_event_has_only_key_and_revision() {
        let revision = Slot::FIRST.beginning();
        let event = event(&Event::Delete { key: "a".into(), revision }, None);
        let expected = mvccpb::KeyValue { key: "a".into(), mod_revision: 1, ..Default::default() };
        assert_eq!((event.r#type(), event.kv), (EventType::Delete, Some(expected)));
    }
}
