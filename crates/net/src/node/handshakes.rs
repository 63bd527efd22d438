//! Handshakes under way: a bounded number, and of one address not all of them.
//!
//! Whoever connects costs work before it has proven anything. Without a share of its own for each address one machine that begins
//! handshakes and never ends them would keep all others out.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use parking_lot::Mutex;

/// The handshakes of a node, by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshakes(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A place among them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    handshakes: Handshakes,
    of: IpAddr,
}

/// Handshakes under way. Each takes five seconds at most.
const ALL_MAX: usize = 64;
/// Of one address: a rack of newcomers behind one of them.
const EACH_MAX: usize = 16;
/// Above which an address must be proven before anything is computed for it.
const UNPROVEN_MAX: usize = 16;

impl Handshakes {
    /// Takes a place for whoever comes from `address`, if there is one.
    pub(crate) fn enter(&self, address: SocketAddr) -> Option<Place> {
        let of = share(address.ip());
        let mut counts = self.0.lock();
        let (all, each) = (counts.values().sum::<usize>(), counts.get(&of).copied().unwrap_or(0));
        if all >= ALL_MAX || each >= EACH_MAX {
            return None;
        }
        counts.insert(of, each + 1);
        Some(Place { handshakes: self.clone(), of })
    }

    /// Whether there are so many that an address must be proven first.
    pub(crate) fn are_many(&self) -> bool {
        self.0.lock().values().sum::<usize>() >= UNPROVEN_MAX
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.handshakes.0.lock();
        if let Some(count) = counts.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.of);
            }
        }
    }
}

/// Who shares: of IPv6 a network of 64 bits, which is what one machine usually has.
fn share(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(handshakes: &Handshakes, from: &str, count: usize) -> Vec<Option<Place>> {
        let from = from.parse().unwrap();
        (0..count).map(|_| handshakes.enter(from)).collect()
    }

    #[test]
    fn one_address_leaves_places_to_others() {
        let handshakes = Handshakes::default();
        let mut greedy = places(&handshakes, "192.0.2.1:1", 100);
        assert_eq!(greedy.iter().flatten().count(), EACH_MAX);
        assert!(handshakes.are_many());
        assert!(handshakes.enter("[::ffff:192.0.2.1]:9".parse().unwrap()).is_none(), "the same by another spelling");
        let others = places(&handshakes, "192.0.2.2:1", 3);
        assert!(others.iter().all(Option::is_some));
        greedy.truncate(1);
        assert!(handshakes.enter("192.0.2.1:1".parse().unwrap()).is_some());
    }

    #[test]
    fn all_together_are_bounded_and_nothing_is_remembered_of_who_has_gone() {
        let handshakes = Handshakes::default();
        let of = |host: usize| places(&handshakes, &format!("192.0.2.{host}:1"), 10);
        let all: Vec<_> = (0..20).map(of).collect();
        assert_eq!(all.iter().flatten().flatten().count(), ALL_MAX);
        drop(all);
        assert!(handshakes.0.lock().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_shares() {
        let handshakes = Handshakes::default();
        let one: Vec<_> = (1..50).flat_map(|host| places(&handshakes, &format!("[2001:db8::{host:x}]:1"), 1)).collect();
        assert_eq!(one.iter().flatten().count(), EACH_MAX);
        assert!(handshakes.enter("[2001:db8:0:1::1]:1".parse().unwrap()).is_some());
    }
}
