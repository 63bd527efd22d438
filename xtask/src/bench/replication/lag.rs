//! How soon a write is at another site: one put at a time here, a watcher there, both clients in this one process.
//!
//! The next put is sent when the event of the last one has come, and nothing waits in between. The put's answer and its
//! event are awaited at once, so that neither is seen late because of the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use serde::Serialize;
use tombolo_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion};
use tonic::Streaming;

use super::{
    super::{
        Effort,
        link::{Kv, Link},
        load::{Values, histogram, mix, put},
        series::median,
    },
    sites::Sites,
};

/// What a write may take to a connected site on the same machine, at the median.
pub(crate) const GOAL_MS: f64 = 2.0;

/// The lag in each round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Lag {
    /// Puts in each round.
    pub(crate) puts: u64,
    /// Milliseconds from sending a put to its answer, for comparison.
    pub(crate) answer: Vec<Quantiles>,
    /// Milliseconds from sending a put to the event at the other site.
    pub(crate) from_sending: Vec<Quantiles>,
    /// Milliseconds from the answer to the event; none where the event came first.
    pub(crate) from_answer: Vec<Quantiles>,
}

/// Of one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) most_ms: f64,
}

/// When things happened to one put.
#[derive(Clone, Copy, Debug)]
struct Trip {
    sent: Instant,
    answered: Instant,
    seen: Instant,
}

impl Lag {
    /// The median over the rounds of the medians from sending to seeing: the longer way, so that the goal is not
    /// reached by a late answer.
    pub(crate) fn median_ms(&self) -> f64 {
        median(self.from_sending.iter().map(|round| round.p50_ms))
    }

    /// Whether the goal is reached.
    pub(crate) fn is_within_goal(&self) -> bool {
        self.median_ms() <= GOAL_MS
    }

    fn add(&mut self, trips: &[Trip]) -> Result<()> {
        let of = |duration: fn(&Trip) -> Duration| Quantiles::of(trips.iter().map(duration));
        self.answer.push(of(|trip| trip.answered - trip.sent)?);
        self.from_sending.push(of(|trip| trip.seen - trip.sent)?);
        self.from_answer.push(of(|trip| trip.seen.saturating_duration_since(trip.answered))?);
        Ok(())
    }
}

impl Quantiles {
    fn of(durations: impl Iterator<Item = Duration>) -> Result<Self> {
        let mut histogram: Histogram<u64> = histogram()?;
        for duration in durations {
            histogram.saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        }
        let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        Ok(Self {
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            most_ms: ms(histogram.max()),
        })
    }
}

/// Measures the lag from the first site to the second.
pub(crate) async fn measure(sites: &Sites, effort: Effort) -> Result<Lag> {
    let puts = effort.operations / 10;
    let mut lag = Lag { puts, answer: Vec::new(), from_sending: Vec::new(), from_answer: Vec::new() };
    let mut events = watch(sites.link(1)).await?;
    let kv = sites.link(0).kv();
    // What happens once, such as the watch's way to its first event, is not the lag.
    trips(&kv, &mut events, puts.min(100), effort.keys, 0).await?;
    for round in 0..effort.rounds as u64 {
        lag.add(&trips(&kv, &mut events, puts, effort.keys, (round + 1) << 32).await?)?;
    }
    Ok(lag)
}

async fn trips(kv: &Kv, events: &mut Streaming<WatchResponse>, puts: u64, keys: u64, seed: u64) -> Result<Vec<Trip>> {
    let values = Values::new(seed);
    let mut trips = Vec::new();
    for number in 0..puts {
        let mut kv = kv.clone();
        let request = put(mix(seed ^ number) % keys, values.value(number));
        let key = request.key.clone();
        let sent = Instant::now();
        let answered = async {
            kv.put(request).await?;
            anyhow::Ok(Instant::now())
        };
        let (answered, seen) = tokio::try_join!(answered, seen(events, &key))?;
        trips.push(Trip { sent, answered, seen });
    }
    Ok(trips)
}

/// Waits for the one event of a put.
async fn seen(events: &mut Streaming<WatchResponse>, key: &Bytes) -> Result<Instant> {
    loop {
        let response = events.message().await?.context("the watch has ended")?;
        let seen = Instant::now();
        ensure!(!response.canceled, "the watch was cancelled: {}", response.cancel_reason);
        if let [event] = response.events.as_slice() {
            let of = event.kv.as_ref().map(|kv| &kv.key);
            ensure!(of == Some(key), "another key's event came: {of:?} instead of {key:?}");
            return Ok(seen);
        }
        ensure!(response.events.is_empty(), "{} events came for one put", response.events.len());
    }
}

/// Watches all keys of the load, from now on.
async fn watch(link: &Link) -> Result<Streaming<WatchResponse>> {
    let create = WatchCreateRequest {
        key: Bytes::from_static(b"key-"),
        range_end: Bytes::from_static(b"key."),
        ..Default::default()
    };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // The stream of requests stays open: its end would be the end of the watch.
    let requests = tokio_stream::StreamExt::chain(tokio_stream::once(request), tokio_stream::pending());
    let mut events = link.watch().watch(requests).await?.into_inner();
    let created = events.message().await?.context("the watch was refused")?;
    ensure!(created.created, "the watch answered something else first: {created:?}");
    Ok(events)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Lag, Trip};

    fn lag(trips: &[(u64, u64)]) -> Lag {
        let sent = Instant::now();
        let at = |ms: u64| sent + Duration::from_millis(ms);
        let trip = |&(answered, seen): &(u64, u64)| Trip { sent, answered: at(answered), seen: at(seen) };
        let mut lag = Lag { puts: 0, answer: Vec::new(), from_sending: Vec::new(), from_answer: Vec::new() };
        lag.add(&trips.iter().map(trip).collect::<Vec<_>>()).unwrap();
        lag
    }

    #[test]
    fn lag_is_counted_from_the_sending_and_from_the_answer() {
        let lag = lag(&[(10, 30), (10, 30), (10, 90)]);
        let near = |value: f64, expected: f64| (value - expected).abs() < expected / 100.0;
        assert!(near(lag.answer[0].p50_ms, 10.0) && near(lag.from_sending[0].p50_ms, 30.0), "{lag:?}");
        assert!(near(lag.from_answer[0].p50_ms, 20.0) && near(lag.from_answer[0].p99_ms, 80.0), "{lag:?}");
    }

    #[test]
    fn an_event_before_the_answer_is_no_negative_lag() {
        assert_eq!(lag(&[(3, 2)]).from_answer[0].most_ms, 0.0);
    }

    #[test]
    fn a_late_answer_does_not_reach_the_goal() {
        assert!(!lag(&[(20, 20)]).is_within_goal());
        assert!(lag(&[(1, 1)]).is_within_goal());
    }
}
