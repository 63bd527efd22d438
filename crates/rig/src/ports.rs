//! Ports for servers under test.
//!
//! Asking the system for any free port and letting go of it again loses a race now and then: the system deals the same
//! range to every outgoing connection and to every other test that asks. So ports are taken from below that range,
//! from a stretch that belongs to this process, and never twice.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below the ports that Linux (from 32768) and others (from 49152) deal to outgoing connections.
const FIRST: u32 = 11_000;
/// Ports to choose from.
const COUNT: u32 = 20_000;
/// Ports between the stretches of two processes whose numbers follow each other.
const STRIDE: u32 = 16;
/// More ports than any stretch of a machine that is still of use has taken.
const TRIES_MAX: u32 = 1_000;

/// A loopback port that nobody listens on, neither over TCP nor over UDP.
///
/// # Errors
///
/// When far too many ports are taken.
pub fn free_port() -> io::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..TRIES_MAX {
        let port = candidate(process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{TRIES_MAX} ports in a row are taken")))
}

fn candidate(process: u32, number: u32) -> u16 {
    let port = FIRST + process.wrapping_mul(STRIDE).wrapping_add(number) % COUNT;
    u16::try_from(port).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::{COUNT, FIRST, STRIDE, candidate, free_port};

    #[test]
    fn ports_of_one_process_differ_and_lie_below_the_range_of_outgoing_connections() {
        let ports = [free_port().unwrap(), free_port().unwrap(), free_port().unwrap()];
        assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2]);
        assert!(ports.iter().all(|port| (FIRST..FIRST + COUNT).contains(&u32::from(*port))));
    }

    #[test]
    fn processes_side_by_side_do_not_meet() {
        let of = |process| (0..STRIDE).map(move |number| candidate(process, number));
        assert!(of(4_000_000).all(|port| of(4_000_001).all(|other| port != other)));
        assert!(candidate(u32::MAX, u32::MAX) > 0);
    }
}
