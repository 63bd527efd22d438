//! Hosts of their own for the sites of a mesh: network namespaces of this machine, joined by a bridge.
//!
//! Packets between them go through the kernel's network stack as between machines, and its packet filter (nftables) cuts
//! and loses them. The rig itself reaches every host through the bridge, whatever the filter does between hosts. It needs
//! root, `ip` and `nft`; names and addresses carry the number of this process, and everything is taken away at the end.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    process::{self, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU8, Ordering},
    },
};

use anyhow::{Context, Result, ensure};

use crate::{relay::Conditions, requirement};

/// Some hosts. Dropping them takes them away with all that runs on them.
#[derive(Debug)]
pub struct Hosts {
    names: Names,
    count: usize,
    namespaces: Vec<String>,
    /// Of each direction; what the filters of the hosts do.
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
        let hosts = Self { names, count, namespaces, conditions: Mutex::default() };
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

    /// Changes what the hosts do with what they get, given as `(from, to)`. Only cuts and losses are carried out.
    ///
    /// # Errors
    ///
    /// When a filter cannot be set.
    pub fn change_all(&self, mut change: impl FnMut(usize, usize, &mut Conditions)) -> Result<()> {
        let mut conditions = self.conditions.lock().expect("nothing panics while it holds the conditions");
        for to in 0..self.count {
            for from in (0..self.count).filter(|from| *from != to) {
                change(from, to, conditions.entry((from, to)).or_default());
            }
        }
        for to in 0..self.count {
            let mut rules = FILTER.to_owned();
            for ((from, _), conditions) in conditions.iter().filter(|((_, target), _)| *target == to) {
                // Writing to a string does not fail.
                let _ = rule(&mut rules, self.names.address(*from), conditions);
            }
            rules.push_str("}\n}\n");
            self.filter(to, &rules)?;
        }
        Ok(())
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

/// The filter of a host, up to its rules. It replaces the one before in one step.
const FILTER: &str =
    "table inet rig\ndelete table inet rig\ntable inet rig {\nchain input {\ntype filter hook input priority 0;\n";

fn rule(rules: &mut String, from: Ipv4Addr, conditions: &Conditions) -> std::fmt::Result {
    if conditions.cut {
        writeln!(rules, "ip saddr {from} drop")?;
    } else if conditions.loss > 0 {
        writeln!(rules, "ip saddr {from} meta l4proto udp numgen random mod 1000 < {} drop", conditions.loss)?;
    }
    Ok(())
}

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
    ip(&["netns", "delete", &namespace])?;
    listed.context("nftables")
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output().context("start ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Conditions, FILTER, Ipv4Addr, Names, rule};

    #[test]
    fn names_of_interfaces_fit_and_two_sets_share_neither_names_nor_networks() {
        let names = Names { process: 4_194_304, number: 9 };
        assert!(names.cable(4)[0].len() <= 15, "{}", names.cable(4)[0]);
        let other = Names { number: 10, ..names };
        assert_ne!(names.network(), other.network());
        assert_ne!(names.bridge(), other.bridge());
        assert_ne!(names.network(), Names { process: 4_194_303, number: 9 }.network());
    }

    #[test]
    fn a_cut_drops_everything_and_a_loss_some_packets() {
        let from = Ipv4Addr::new(10, 0, 0, 1);
        let text = |conditions: Conditions| {
            let mut text = String::new();
            rule(&mut text, from, &conditions).unwrap();
            text
        };
        assert_eq!(text(Conditions { cut: true, loss: 5, ..Default::default() }), "ip saddr 10.0.0.1 drop\n");
        assert!(text(Conditions { loss: 50, ..Default::default() }).contains("mod 1000 < 50 drop"));
        assert_eq!(text(Conditions::default()), "");
        assert!(FILTER.starts_with("table inet rig\ndelete table inet rig\n"));
    }
}
