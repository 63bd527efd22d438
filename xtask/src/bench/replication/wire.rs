//! Bytes between sites, as the sites count them: UDP payload, with QUIC's own, without the headers of IP and UDP.

use anyhow::{Result, ensure};
use tombolo_proto::v1::MeshStatusResponse;

/// What each site has sent to and received from its peers so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wire {
    sent: Vec<u64>,
    received: Vec<u64>,
}

impl Wire {
    /// Reads the counters of all sites of a mesh.
    pub(crate) fn of(statuses: &[MeshStatusResponse]) -> Self {
        let sums = |bytes: fn(&tombolo_proto::v1::Peer) -> u64| {
            statuses.iter().map(|status| status.peers.iter().map(bytes).sum()).collect()
        };
        Self { sent: sums(|peer| peer.sent_bytes), received: sums(|peer| peer.received_bytes) }
    }

    /// What has passed since an earlier look at the same sites.
    pub(crate) fn since(&self, earlier: &Self) -> Result<Self> {
        let differences = |now: &[u64], then: &[u64]| {
            ensure!(now.len() == then.len(), "{} sites were {} before", now.len(), then.len());
            let pairs = now.iter().zip(then);
            let difference = |(now, then): (&u64, &u64)| now.checked_sub(*then);
            let differences: Option<Vec<u64>> = pairs.map(difference).collect();
            differences.ok_or_else(|| anyhow::anyhow!("a counter of bytes fell: {then:?} became {now:?}"))
        };
        Ok(Self {
            sent: differences(&self.sent, &earlier.sent)?,
            received: differences(&self.received, &earlier.received)?,
        })
    }

    /// Sent by the first site.
    pub(crate) fn sent_by_author(&self) -> u64 {
        self.sent.first().copied().unwrap_or(0)
    }

    /// Received by the first site.
    pub(crate) fn received_by_author(&self) -> u64 {
        self.received.first().copied().unwrap_or(0)
    }

    /// Sent by all sites.
    pub(crate) fn sent_by_all(&self) -> u64 {
        self.sent.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use tombolo_proto::v1::{MeshStatusResponse, Peer};

    use super::Wire;

    fn status(peers: &[(u64, u64)]) -> MeshStatusResponse {
        let peer = |&(sent_bytes, received_bytes)| Peer { sent_bytes, received_bytes, ..Default::default() };
        MeshStatusResponse { peers: peers.iter().map(peer).collect(), ..Default::default() }
    }

    #[test]
    fn what_each_site_counts_for_all_its_peers_is_summed() {
        let before = Wire::of(&[status(&[(100, 10), (100, 20)]), status(&[(1, 2)]), status(&[(3, 4)])]);
        let after = Wire::of(&[status(&[(400, 30), (600, 40)]), status(&[(21, 2)]), status(&[(33, 4)])]);
        let passed = after.since(&before).unwrap();
        assert_eq!((passed.sent_by_author(), passed.received_by_author(), passed.sent_by_all()), (800, 40, 850));
    }

    #[test]
    fn a_counter_that_falls_is_an_error_and_not_a_small_number() {
        let (large, small) = (Wire::of(&[status(&[(100, 10)])]), Wire::of(&[status(&[(99, 10)])]));
        assert!(small.since(&large).is_err());
        assert!(large.since(&Wire::of(&[])).is_err());
    }

    #[test]
    fn a_site_without_peers_has_sent_nothing() {
        let alone = Wire::of(&[status(&[])]);
        assert_eq!((alone.sent_by_author(), alone.sent_by_all()), (0, 0));
    }
}
