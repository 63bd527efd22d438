//! Sessions between sound sites end because the network or a site stopped, and never because somebody broke a rule.

use tombolo_net::{Event, Fault};

use super::{Claim, Violation};

/// Judges the end of a session.
///
/// # Errors
///
/// It ended for a reason that no network gives.
pub fn check_fault(site: usize, peer: usize, fault: &Fault) -> Result<(), Violation> {
    match fault {
        Fault::Stopped | Fault::NoHello | Fault::Silent | Fault::Superseded => Ok(()),
        // What the peer found against us shows there, when it is not of this kind.
        Fault::PeerClosed { .. } => Ok(()),
        fault => Err(Violation::at(site, Claim::Protocol, format!("the session with s{peer} ended: {fault}"))),
    }
}

/// Judges what a session tells its host.
///
/// # Errors
///
/// Something that does not happen between sound sites.
pub fn check_event(site: usize, peer: usize, event: &Event) -> Result<(), Violation> {
    match event {
        Event::Established { .. } | Event::Skew(_) | Event::Rows(_) => Ok(()),
        Event::Corrupt { frontier, own, peer: theirs } => {
            let text = format!("digests differ from s{peer}'s at {frontier:?}: {own:032x} and {theirs:032x}");
            Err(Violation::at(site, Claim::Convergence, text))
        }
        event => Err(Violation::at(site, Claim::Protocol, format!("the session with s{peer} tells of {event:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Dot, ReplicaId, VersionVector};

    use super::*;

    #[test]
    fn the_network_may_end_a_session_and_a_broken_rule_may_not() {
        let dot = Dot::new(ReplicaId::new(1).expect("not 0"), 1);
        assert_eq!(check_fault(0, 1, &Fault::Silent), Ok(()));
        assert_eq!(check_fault(0, 1, &Fault::Forked { dot }).unwrap_err().claim, Claim::Protocol);
        assert!(check_fault(0, 1, &Fault::AheadOfUs { dot, known: 0 }).is_err());
        assert!(check_fault(0, 1, &Fault::Stalled).is_err());
    }

    #[test]
    fn a_digest_that_differs_is_found() {
        let corrupt = Event::Corrupt { frontier: VersionVector::new(), own: 1, peer: 2 };
        assert_eq!(check_event(0, 1, &corrupt).unwrap_err().claim, Claim::Convergence);
        assert!(check_event(0, 1, &Event::NeedsState { floor: VersionVector::new() }).is_err());
        assert_eq!(check_event(0, 1, &Event::Skew(7)), Ok(()));
    }
}
