//! Clients that watch a range at one site, read at their own pace, and come back when the site stops.

use std::collections::VecDeque;

use tombolo_site::{Credit, Delivery, SubscriberId, WatcherId};
use tombolo_storage::{Event, KeyRange};

use crate::{
    Plan, Random,
    checker::{
        atomicity::Picture,
        watch::{Response, Stream},
    },
};

/// A watching client.
pub(crate) struct Watching {
    pub(crate) site: usize,
    pub(crate) stream: Stream,
    /// Its stream and its watch, while the site runs.
    pub(crate) subscription: Option<(SubscriberId, WatcherId)>,
    /// What is on its way to it.
    pub(crate) inbox: VecDeque<(Response, Credit)>,
    pub(crate) is_reading: bool,
    /// Its range as it knows it, put together from what it was told.
    pub(crate) picture: Picture,
    /// What it takes to read a response, at most.
    pub(crate) pace_us: u64,
}

impl Watching {
    /// Whether its watch is there, and it has read everything that was sent.
    pub(crate) fn has_read(&self) -> bool {
        self.subscription.is_some() && self.inbox.is_empty()
    }

    /// The client brings its picture up to date.
    pub(crate) fn learn(&mut self, response: &Response) {
        for event in response.commits.iter().flat_map(|(_, events)| events) {
            match event {
                Event::Put(pair) => self.picture.insert(pair.key.clone(), pair.value.clone()),
                Event::Delete { key, .. } => self.picture.remove(key),
            };
        }
    }
}

/// The ranges that clients watch.
pub(crate) fn some_range(plan: &Plan, random: &mut Random) -> KeyRange {
    match random.below(4) {
        0 => KeyRange::all(),
        1 => KeyRange::before("k/".into(), "k0".into()),
        2 => crate::client::registers(),
        _ => KeyRange::single(crate::client::register(random.below(plan.registers as usize) as u32)),
    }
}

/// What a delivery is as a response.
pub(crate) fn response(delivery: &Delivery) -> Response {
    let commits = delivery.commits.iter().map(|matched| {
        let events: Vec<Event> = matched.events().map(|(_, event)| event.clone()).collect();
        (matched.commit.revision.get(), events)
    });
    Response { commits: commits.collect(), revision: delivery.revision.get() }
}

/// A response in two pieces, as a planted bug sends it: the first transaction of several events is torn.
pub(crate) fn torn(whole: Response) -> Vec<Response> {
    let Some(at) = whole.commits.iter().position(|(_, events)| events.len() > 1) else { return vec![whole] };
    let mut first = Response { commits: whole.commits[..=at].to_vec(), revision: 0 };
    let mut second = Response { commits: whole.commits[at..].to_vec(), revision: whole.revision };
    let half = first.commits[at].1.len() / 2;
    first.commits[at].1.truncate(half);
    second.commits[0].1.drain(..half);
    vec![first, second]
}
