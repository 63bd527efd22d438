//! Which times to live are granted. Clients of etcd rely on these numbers.

use thiserror::Error;

/// The shortest time to live. Shorter ones, 0 and negative ones included, are raised to it: etcd wants a lease to outlive an
/// election of its leader, and with its default timing that comes to two seconds. Here the reason is that keep-alives
/// must have a chance to arrive.
pub const LEASE_TTL_MIN_S: i64 = 2;

/// The longest time to live, some 285 years. etcd's: more would overflow its count of nanoseconds.
pub const LEASE_TTL_MAX_S: i64 = 9_000_000_000;

/// A time to live above [`LEASE_TTL_MAX_S`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a lease of {asked_s} seconds was asked for; at most {LEASE_TTL_MAX_S} are granted")]
pub struct TtlTooLarge {
    /// The seconds asked for.
    pub asked_s: i64,
}

/// The time to live that is granted when `asked_s` seconds are asked for.
///
/// # Errors
///
/// [`TtlTooLarge`] when it is more than a lease can have.
pub fn admit_ttl(asked_s: i64) -> Result<i64, TtlTooLarge> {
    if asked_s > LEASE_TTL_MAX_S { Err(TtlTooLarge { asked_s }) } else { Ok(asked_s.max(LEASE_TTL_MIN_S)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_raised_to_the_minimum_and_refused_above_the_maximum() {
        for (asked, granted) in
            [(i64::MIN, 2), (-1, 2), (0, 2), (1, 2), (2, 2), (3, 3), (LEASE_TTL_MAX_S, LEASE_TTL_MAX_S)]
        {
            assert_eq!(admit_ttl(asked), Ok(granted), "{asked}");
        }
        for asked_s in [LEASE_TTL_MAX_S + 1, i64::MAX] {
            assert_eq!(admit_ttl(asked_s), Err(TtlTooLarge { asked_s }));
        }
    }
}
