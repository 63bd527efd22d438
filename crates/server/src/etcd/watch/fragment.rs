//! Splits an answer with many events, for clients that said they can put the pieces together.
//!
//! The rule is etcd's: an answer is split when it reaches the limit and has more than one event, each piece takes as many events as fit below the limit and at least one, and
//! all pieces but the last are marked.

use prost::Message;
use tombolo_proto::{etcdserverpb::WatchResponse, mvccpb::Event};

/// The pieces of `response`, in order.
pub(super) fn split(mut response: WatchResponse, bytes_max: usize) -> Vec<WatchResponse> {
    if response.encoded_len() < bytes_max || response.events.len() < 2 {
        return vec![response];
    }
    let events = std::mem::take(&mut response.events);
    let head = WatchResponse { fragment: true, ..response };
    let head_bytes = head.encoded_len();
    let mut pieces = Vec::new();
    let mut piece = head.clone();
    let mut piece_bytes = head_bytes;
    for event in events {
        let bytes = field_bytes(&event);
        if !piece.events.is_empty() && piece_bytes + bytes >= bytes_max {
            pieces.push(std::mem::replace(&mut piece, head.clone()));
            piece_bytes = head_bytes;
        }
        piece_bytes += bytes;
        piece.events.push(event);
    }
    piece.fragment = false;
    pieces.push(piece);
    pieces
}

/// What one event adds to an answer: a byte for the field, its length, and itself.
fn field_bytes(event: &Event) -> usize {
    let bytes = event.encoded_len();
    1 + prost::length_delimiter_len(bytes) + bytes
}

#[cfg(test)]
mod tests {
    use tombolo_proto::mvccpb::KeyValue;

    use super::*;

    fn response(values: &[usize]) -> WatchResponse {
        let event = |bytes: &usize| {
            let kv = KeyValue { key: "k".into(), value: vec![7; *bytes].into(), ..Default::default() };
            Event { kv: Some(kv), ..Default::default() }
        };
        WatchResponse { watch_id: 3, events: values.iter().map(event).collect(), ..Default::default() }
    }

    fn shape(pieces: &[WatchResponse]) -> Vec<(usize, bool)> {
        pieces.iter().map(|piece| (piece.events.len(), piece.fragment)).collect()
    }

    #[test]
    fn what_fits_stays_whole() {
        assert_eq!(shape(&split(response(&[100, 100]), 1_000)), [(2, false)]);
        assert_eq!(shape(&split(response(&[5_000]), 1_000)), [(1, false)], "one event cannot be split");
    }

    #[test]
    fn pieces_stay_below_the_limit_and_keep_every_event_in_order() {
        let whole = response(&[400, 300, 200, 5_000, 100, 600, 400]);
        let pieces = split(whole.clone(), 1_000);
        assert_eq!(shape(&pieces), [(3, true), (1, true), (2, true), (1, false)]);
        assert!(
            pieces.iter().all(|piece| piece.watch_id == 3 && (piece.events.len() == 1 || piece.encoded_len() < 1_000))
        );
        let rejoined: Vec<_> = pieces.into_iter().flat_map(|piece| piece.events).collect();
        assert_eq!(rejoined, whole.events);
    }
}
