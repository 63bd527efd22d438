//! Watches: many clients each told, once and in order, what happened to the keys they name.
//!
//! A *subscriber* is one stream to a client with one bounded queue; a *watcher* is one watch on it. A watcher is either
//! *synced*, fed by [`Hub::publish`], or *catching up*, fed by stretches of history that the hub asks for. The promises:
//!
//! * every event from a watcher's start on is delivered exactly once, in revision order, all events of a revision together;
//! * nothing is buffered beyond a subscriber's credit: a watcher whose events do not fit is *demoted* to catching up, and the
//!   writer never waits;
//! * a progress revision promises that every event up to it has been delivered before.
//!
//! The hub's revision is its only time. Nothing above it is delivered, also when history already knows more: that is what
//! makes a load and a publish that race agree on who delivers what.

pub use hub::{Hub, HubOptions, HubStats, WatchError};
pub use output::{Delivery, EndCause, Ending, Load, Matched, Output, Progress};
pub use subscriber::{Credit, SubscriberId};
pub use watcher::{WatchSpec, WatcherId};

mod catch_up;
mod dispatch;
mod hub;
mod index;
mod output;
mod progress;
mod recent;
mod slots;
mod subscriber;
mod watcher;
