//! Hosts of their own for the sites of a mesh: network namespaces of this machine, joined by a bridge.
//!
//! Packets between them go through the kernel's network stack as between machines. Its packet filter (nftables) cuts and loses them
//! where they arrive, its token bucket (`tbf`) holds back what a host sends, and a [`Relay`] at the bridge delays, doubles and reorders them on their
//! way, which this kernel may not be able to. The rig itself reaches every host through the bridge, whatever happens between hosts. It needs
//! root, `ip`, `tc` and `nft`; names and addresses carry the number of this process, and everything is taken away at the end.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{self, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU8, Ordering},
    },
};

use anyhow::{Context, Result, ensure};

use crate::{
    relay::{Conditions, Relay, Traffic},
    requirement,
};

mod filter;

/// Some hosts. Dropping them takes them away with all that runs on them.
#[derive(Debug)]
pub struct Hosts {
    names: Names,
    count: usize,
    namespaces: Vec<String>,
    /// What carries packets from host to host, once it is known where the sites listen.
    relay: Option<Relay>,
    /// Of each direction.
    conditions: Mutex<BTreeMap<(usize, usize), Conditions>>,
}

/// Names and addresses of one set of hosts, which no other process and no other set of this one has.
#[derive(Clone, Copy, Debug)]
struct Names {
    process: u32,
    number: u8,
}

impl Hosts {
    /// Makes so many hosts, or says why the rig is skipped.
    ///
    /// # Errors
    ///
    /// When this machine has network namespaces and yet something fails.
    ///
    /// # Panics
    ///
    /// When `TOMBOLO_REQUIRE` names `netns`, and this machine has none.
    pub fn make(count: usize) -> Result<Option<Self>> {
        static NUMBER: AtomicU8 = AtomicU8::new(0);
        let names = Names { process: process::id(), number: NUMBER.fetch_add(1, Ordering::Relaxed) };
        if let Err(why) = probe(names) {
            requirement::skip("netns", &format!("no network namespaces: {why:#}"));
            return Ok(None);
        }
        let namespaces = (0..count).map(|host| names.namespace(host)).collect();
        // Whatever was made is taken away also when the next thing fails.
        let hosts = Self { names, count, namespaces, relay: None, conditions: Mutex::default() };
        hosts.build()?;
        Ok(Some(hosts))
    }

    /// Hosts.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The network namespace of a host.
    #[must_use]
    pub fn namespace(&self, host: usize) -> &str {
        &self.namespaces[host]
    }

    /// The address of a host.
    #[must_use]
    pub fn address(&self, host: usize) -> IpAddr {
        self.names.address(host).into()
    }

    /// Has packets for the sites, one on each host, go by a relay, and returns where each site is to be found by the others.
    ///
    /// # Errors
    ///
    /// When a socket or a thread cannot be had.
    pub fn join(&mut self, sites: &[SocketAddr], seed: u64) -> Result<Vec<SocketAddr>> {
        let relay = Relay::start_on(self.names.gateway().into(), sites, seed).context("start the relay")?;
        let relay = self.relay.insert(relay);
        Ok((0..sites.len()).map(|site| relay.front(site)).collect())
    }

    /// Changes the conditions of every direction, given as `(from, to)`. A host sends as fast as the slowest of its directions allows.
    ///
    /// # Errors
    ///
    /// When a filter or a bucket cannot be set.
    pub fn change_all(&self, mut change: impl FnMut(usize, usize, &mut Conditions)) -> Result<()> {
        let relay = self.relay.as_ref().context("the hosts are not joined")?;
        let mut conditions = self.conditions.lock().expect("nothing panics while it holds the conditions");
        for (from, to) in relay.pairs() {
            change(from, to, conditions.entry((from, to)).or_default());
        }
        relay.change_all(|from, to, link| {
            let Conditions { delay, jitter, duplication, reordering, .. } = conditions[&(from, to)];
            *link = Conditions { delay, jitter, duplication, reordering, ..Conditions::default() };
        });
        for host in 0..self.count {
            let arriving = conditions.iter().filter(|((_, to), _)| *to == host);
            let rules = filter::rules(
                self.names.gateway(),
                arriving.map(|((from, to), conditions)| (relay.sources(*from, *to), *conditions)),
            );
            self.filter(host, &rules)?;
            let leaving = conditions.iter().filter(|((from, _), _)| *from == host);
            self.pace(host, leaving.filter_map(|(_, conditions)| conditions.bytes_per_s).min())?;
        }
        Ok(())
    }

    /// What has gone from host to host.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.relay.as_ref().map(Relay::traffic).unwrap_or_default()
    }

    fn filter(&self, host: usize, rules: &str) -> Result<()> {
        let mut nft = Command::new("ip")
            .args(["netns", "exec", self.namespace(host), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .context("start nft")?;
        nft.stdin.take().context("it was piped")?.write_all(rules.as_bytes())?;
        let status = nft.wait()?;
        ensure!(status.success(), "nft refused:\n{rules}");
        Ok(())
    }

    /// Holds back what a host sends to others, and not what it answers its clients.
    fn pace(&self, host: usize, bytes_per_s: Option<u64>) -> Result<()> {
        let rate = format!("{}bit", bytes_per_s.unwrap_or(UNPACED_BYTES_PER_S).saturating_mul(8));
        let bucket = ["parent", PACED, "handle", "30:", "tbf", "rate", &rate, "burst", "64kb", "latency", "500ms"];
        self.tc(host, &[&["qdisc", "replace", "dev", "eth0"], &bucket[..]].concat())
    }

    /// Gives a host two classes for what it sends, one of which is paced.
    fn classes(&self, host: usize) -> Result<()> {
        let dev = ["dev", "eth0"];
        self.tc(host, &[&["qdisc", "add"], &dev[..], &["root", "handle", "1:", "htb", "default", "1"]].concat())?;
        for class in ["1:1", PACED] {
            let class = ["parent", "1:", "classid", class, "htb", "rate", "10gbit", "quantum", "60000"];
            self.tc(host, &[&["class", "add"], &dev[..], &class[..]].concat())?;
        }
        self.pace(host, None)
    }

    fn tc(&self, host: usize, arguments: &[&str]) -> Result<()> {
        ip(&[&["netns", "exec", self.namespace(host), "tc"], arguments].concat())
    }

    fn build(&self) -> Result<()> {
        let bridge = self.names.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/24", self.names.gateway()), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for host in 0..self.count {
            let (namespace, [outside, inside]) = (self.namespace(host), self.names.cable(host));
            ip(&["netns", "add", namespace])?;
            ip(&["link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", namespace])?;
            ip(&["link", "set", &outside, "master", &bridge, "up"])?;
            let address = format!("{}/24", self.names.address(host));
            ip(&["-n", namespace, "address", "add", &address, "dev", &inside])?;
            ip(&["-n", namespace, "link", "set", &inside, "up"])?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
            self.classes(host)?;
        }
        Ok(())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // What was never made cannot be taken away, and there is nobody to tell. A connection that is closing can keep a
        // namespace alive for a while, and its cable with it: so the cable goes first.
        for (host, namespace) in self.namespaces.iter().enumerate() {
            drop(ip(&["link", "delete", &self.names.cable(host)[0]]));
            drop(ip(&["netns", "delete", namespace]));
        }
        drop(ip(&["link", "delete", &self.names.bridge()]));
    }
}

/// The class of what is paced; the filter puts packets for other sites into it.
const PACED: &str = "1:2";
/// As good as unpaced.
const UNPACED_BYTES_PER_S: u64 = 1 << 30;

impl Names {
    fn namespace(self, host: usize) -> String {
        format!("tombolo-{}-{}-{host}", self.process, self.number)
    }

    /// Names of interfaces have at most 15 letters.
    fn bridge(self) -> String {
        format!("tb{}n{}", self.process, self.number)
    }

    fn cable(self, host: usize) -> [String; 2] {
        [format!("tb{}n{}h{host}", self.process, self.number), "eth0".to_owned()]
    }

    /// A network for each set, from a stretch that is rarely used.
    const fn network(self) -> [u8; 3] {
        let process = self.process.wrapping_mul(4).wrapping_add(self.number as u32);
        [10, 192 + (process / 256 % 32) as u8, (process % 256) as u8]
    }

    const fn address(self, host: usize) -> Ipv4Addr {
        let [a, b, c] = self.network();
        Ipv4Addr::new(a, b, c, host as u8 + 1)
    }

    const fn gateway(self) -> Ipv4Addr {
        let [a, b, c] = self.network();
        Ipv4Addr::new(a, b, c, 254)
    }
}

/// Whether a namespace can be made here, and a filter set in it.
fn probe(names: Names) -> Result<()> {
    let namespace = names.namespace(usize::from(u8::MAX));
    ip(&["netns", "add", &namespace])?;
    let listed = ip(&["netns", "exec", &namespace, "nft", "list", "ruleset"]);
    let paced = ["qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1gbit", "burst", "64kb", "latency", "1ms"];
    let paced = ip(&[&["netns", "exec", &namespace, "tc"], &paced[..]].concat());
    ip(&["netns", "delete", &namespace])?;
    listed.context("nftables")?;
    paced.context("tbf")
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output().context("start ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn names_of_interfaces_fit_and_two_sets_share_neither_names_nor_networks() {
        let names = Names { process: 4_194_304, number: 9 };
        assert!(names.cable(4)[0].len() <= 15, "{}", names.cable(4)[0]);
        let other = Names { number: 10, ..names };
        assert_ne!(names.network(), other.network());
        assert_ne!(names.bridge(), other.bridge());
        assert_ne!(names.network(), Names { process: 4_194_303, number: 9 }.network());
    }
}
