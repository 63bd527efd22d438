//! The load: a number of clients that each wait for their answer before they ask again, until the work is done.
//!
//! All clients of a load are tasks of one thread, dealt round robin over the connections.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tombolo_proto::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request};

use super::link::Kv;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 16;
/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 256;
/// Keys that one transaction of a fill writes; etcd takes up to 128.
const FILL_KEYS: u64 = 100;

/// What each client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Writes random keys.
    Put,
    /// Reads random keys, linearizably, and expects them there.
    Range,
    /// Writes all keys in order, each with a put of its own.
    PutEach,
    /// Writes all keys in order, many in one transaction.
    Fill,
}

/// A piece of work for a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) kind: Kind,
    pub(crate) clients: usize,
    /// Operations in all.
    pub(crate) operations: u64,
    /// Keys to choose from.
    pub(crate) keys: u64,
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    /// Nanoseconds of each operation.
    pub(crate) latencies: Histogram<u64>,
}

impl Load {
    /// Writes every key once, as many clients would: the longest log that these keys can have.
    pub(crate) fn put_each(keys: u64) -> Self {
        Self { kind: Kind::PutEach, clients: 64, operations: keys, keys, seed: 0 }
    }

    /// Writes every key once, as quickly as can be.
    pub(crate) fn fill(keys: u64) -> Self {
        Self { kind: Kind::Fill, clients: 8, operations: keys.div_ceil(FILL_KEYS), keys, seed: 0 }
    }

    /// Does the work over these connections.
    pub(crate) async fn run(self, links: &[Kv]) -> Result<Outcome> {
        let next = Arc::new(AtomicU64::new(0));
        let values = Values::new(self.seed);
        let started = Instant::now();
        let mut clients = JoinSet::new();
        for (_, link) in (0..self.clients).zip(links.iter().cycle()) {
            clients.spawn(client(self, link.clone(), Arc::clone(&next), values.clone()));
        }
        let mut latencies = histogram()?;
        while let Some(done) = clients.join_next().await {
            latencies.add(done.context("a client of the load panicked")??)?;
        }
        Ok(Outcome { took: started.elapsed(), latencies })
    }
}

async fn client(load: Load, mut kv: Kv, next: Arc<AtomicU64>, values: Values) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= load.operations {
            return Ok(latencies);
        }
        let started = Instant::now();
        let chosen = mix(load.seed ^ number) % load.keys;
        match load.kind {
            Kind::Put => {
                kv.put(put(chosen, values.value(number))).await?;
            }
            Kind::PutEach => {
                kv.put(put(number, values.value(number))).await?;
            }
            Kind::Range => {
                let answer = kv.range(RangeRequest { key: key(chosen), ..Default::default() }).await?;
                answer.into_inner().kvs.first().context("a key that was written is not there")?;
            }
            Kind::Fill => {
                let from = number * FILL_KEYS;
                let keys = from..load.keys.min(from + FILL_KEYS);
                let puts = keys.map(|key| Request::RequestPut(put(key, values.value(key))));
                let success = puts.map(|request| RequestOp { request: Some(request) }).collect();
                kv.txn(TxnRequest { success, ..Default::default() }).await?;
            }
        }
        latencies.saturating_record(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
}

/// The put of a number's key.
pub(crate) fn put(number: u64, value: Bytes) -> PutRequest {
    PutRequest { key: key(number), value, ..Default::default() }
}

/// The key of a number: sixteen readable bytes.
pub(crate) fn key(number: u64) -> Bytes {
    Bytes::from(format!("key-{number:012}"))
}

/// Values that no compression makes smaller, cut from one block without a copy.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    block: Bytes,
}

impl Values {
    const BLOCK_BYTES: usize = 1 << 16;

    /// The values of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let words = (0..(Self::BLOCK_BYTES / 8) as u64).flat_map(|word| mix(seed.wrapping_add(word)).to_le_bytes());
        Self { block: words.collect() }
    }

    /// The value of a number.
    pub(crate) fn value(&self, number: u64) -> Bytes {
        self.block.slice(Self::place(number, VALUE_BYTES))
    }

    /// So many bytes for a number, fewer than the block has.
    pub(crate) fn bytes(&self, number: u64, len: usize) -> &[u8] {
        &self.block[Self::place(number, len)]
    }

    fn place(number: u64, len: usize) -> Range<usize> {
        let last = (Self::BLOCK_BYTES - len) as u64;
        let start = usize::try_from(mix(number) % last).unwrap_or(0);
        start..start + len
    }
}

/// A number that looks random (splitmix64): the same run asks for the same keys.
pub(crate) const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Nanoseconds up to a minute, to three digits.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(60_000_000_000, 3)?)
}

#[cfg(test)]
mod tests {
    use super::{KEY_BYTES, Load, VALUE_BYTES, Values, key};

    #[test]
    fn keys_and_values_have_the_sizes_that_the_table_claims() {
        assert_eq!(key(0).len(), KEY_BYTES);
        assert_eq!(key(999_999_999_999).len(), KEY_BYTES);
        let values = Values::new(1);
        assert!((0..1000).all(|number| values.value(number).len() == VALUE_BYTES));
        assert_ne!(values.value(1), values.value(2));
    }

    #[test]
    fn a_fill_covers_every_key() {
        assert_eq!(Load::fill(1000).operations, 10);
        assert_eq!(Load::fill(1001).operations, 11);
    }
}
