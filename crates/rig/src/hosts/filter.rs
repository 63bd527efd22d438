//! What the packet filter of one host does: it drops what was cut or lost on the way there, and marks what is sent to other sites.
//!
//! Between hosts everything goes by the relay's address; its ports tell who sent it.

use std::{
    fmt::{self, Write as _},
    net::Ipv4Addr,
};

use crate::relay::Conditions;

/// The rules of a host to which packets come from these ports of the relay, under these conditions. They replace the ones before in one step.
pub(super) fn rules(relay: Ipv4Addr, arriving: impl Iterator<Item = ([u16; 2], Conditions)>) -> String {
    let mut rules = HEAD.to_owned();
    for (ports, conditions) in arriving {
        // Writing to a string does not fail.
        let _ = rule(&mut rules, relay, ports, conditions);
    }
    rules.push_str("}\n}\n");
    rules
}

/// Packets of clients are TCP, those between sites UDP.
const HEAD: &str = "\
table inet rig
delete table inet rig
table inet rig {
chain output {
type filter hook output priority 0;
meta l4proto udp meta priority set 1:2
}
chain input {
type filter hook input priority 0;
";

fn rule(rules: &mut String, relay: Ipv4Addr, [one, other]: [u16; 2], conditions: Conditions) -> fmt::Result {
    let from = format!("ip saddr {relay} udp sport {{ {one}, {other} }}");
    if conditions.cut {
        writeln!(rules, "{from} drop")?;
    } else if conditions.loss > 0 {
        writeln!(rules, "{from} numgen random mod 1000 < {} drop", conditions.loss)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_drops_everything_and_a_loss_some_packets() {
        let text = |conditions| {
            let all = rules(Ipv4Addr::new(10, 0, 0, 254), [([7, 8], conditions)].into_iter());
            all.strip_prefix(HEAD).unwrap().strip_suffix("}\n}\n").unwrap().to_owned()
        };
        let good = Conditions::default();
        assert_eq!(text(Conditions { cut: true, loss: 5, ..good }), "ip saddr 10.0.0.254 udp sport { 7, 8 } drop\n");
        assert!(text(Conditions { loss: 50, ..good }).ends_with("{ 7, 8 } numgen random mod 1000 < 50 drop\n"));
        assert_eq!(text(good), "");
    }
}
