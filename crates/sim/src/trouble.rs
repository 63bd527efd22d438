//! What goes wrong, and what makes it right again.

use crate::{
    MS, Plan, Random, S, Time,
    agenda::{Agenda, Happening},
    disk::{Arranged, Damage},
};

/// Something that goes wrong, or right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// One direction of a link is cut.
    Cut { from: usize, to: usize },
    /// It is whole again.
    Heal { from: usize, to: usize },
    /// A site stops.
    Stop { site: usize, how: Stop },
    /// It comes back.
    Start { site: usize },
    /// A wall clock is set: it is ahead of the true time by so much now.
    SetClock { site: usize, ahead_ms: i64 },
    /// A site makes another connection to a peer that it has one to.
    Redial { from: usize, to: usize },
    /// A disk takes so much longer from now on.
    Disk { site: usize, slower_us: u64 },
    /// The machine or the process stops at one of the next calls of the engine.
    StopAt { site: usize, at: Arranged },
    /// It stops in the next sweep, at one of its calls of the engine.
    StopSweeping { site: usize, at: Arranged },
    /// It stops when it joins the next transfer, at one of the calls of the engine.
    StopJoining { site: usize, at: Arranged },
    /// A row is damaged at rest.
    Rot { site: usize, damage: Damage },
    /// Whatever is damaged is made whole.
    Restore { site: usize },
    /// The next write to a disk fails, or only its sync does.
    DiskFails { site: usize, only_sync: bool },
    /// A site takes no records from peers, or takes them again.
    Busy { site: usize, is_busy: bool },
    /// A copy of a site's disk is kept, for what comes later.
    Keep { site: usize },
    /// A site's disk loses what it holds.
    Lose { site: usize, how: Loss },
    /// A site cannot read its log for peers, or can again.
    Unreadable { site: usize, is_unreadable: bool },
    /// An operator at one site parks another one.
    Park { by: usize, site: usize },
    /// An operator at one site removes another one.
    Remove { by: usize, site: usize },
    /// An operator there says who counts the removed one's leases.
    Bequeath { by: usize, site: usize },
}

/// How a disk loses what it holds. The machine stops with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The end of the journal is gone, since a copy was kept.
    Suffix,
    /// Everything is; the folder is restored from the copy that was kept.
    Backup,
    /// Everything is; the folder is a copy of another site's.
    Clone { of: usize },
}

/// How a site stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It closes its store.
    Close,
    /// The process dies, the machine goes on.
    Kill,
    /// The machine stops.
    Crash,
}

/// Chooses a trouble and when it ends. Nothing when the plan allows none of its kind, or no site can be spared.
pub(crate) fn choose(plan: &Plan, random: &mut Random, is_up: &[bool], now: Time, agenda: &mut Agenda) {
    let troubles = plan.troubles;
    let links = plan.links();
    let (a, b) = random.pick(&links);
    let (from, to) = if random.chance(50) { (a, b) } else { (b, a) };
    let site = random.below(plan.sites);
    let ends = now.after(random.between(50 * MS, random.clone().pick(&[500 * MS, 3 * S, 9 * S])));
    let mut pass = |trouble, reverse| {
        agenda.at(now, Happening::Trouble(trouble));
        agenda.at(ends, Happening::Trouble(reverse));
    };
    let kinds = 17 + 2 * usize::from(troubles.identities) + 2 * usize::from(troubles.parking);
    let kind = random.below(kinds);
    let kind = if kind >= 17 && !troubles.identities { kind + 2 } else { kind };
    match kind {
        0 | 1 if troubles.cuts => {
            pass(Trouble::Cut { from, to }, Trouble::Heal { from, to });
            pass(Trouble::Cut { from: to, to: from }, Trouble::Heal { from: to, to: from });
        }
        2 if troubles.cuts => cut_off(site, &links, now, ends, agenda),
        3 if troubles.one_way_cuts => pass(Trouble::Cut { from, to }, Trouble::Heal { from, to }),
        kind @ 4..=6 if is_up[site] => {
            let (how, is_allowed) =
                [(Stop::Crash, troubles.crashes), (Stop::Kill, troubles.kills), (Stop::Close, troubles.restarts)]
                    [kind - 4];
            if is_allowed {
                pass(Trouble::Stop { site, how }, Trouble::Start { site });
            }
        }
        7 if troubles.clock_jumps => {
            let ahead_ms = clock_error(plan, random);
            agenda.at(now, Happening::Trouble(Trouble::SetClock { site, ahead_ms }));
        }
        8 if troubles.redials => agenda.at(now, Happening::Trouble(Trouble::Redial { from, to })),
        9 if troubles.slow_disks => {
            let slower_us = random.pick(&[100 * MS, 400 * MS, 4 * S]);
            pass(Trouble::Disk { site, slower_us }, Trouble::Disk { site, slower_us: 0 });
        }
        10 if troubles.failing_disks && is_up[site] => {
            let only_sync = random.chance(50);
            agenda.at(now, Happening::Trouble(Trouble::DiskFails { site, only_sync }));
        }
        11 if troubles.busy_sites => {
            pass(Trouble::Busy { site, is_busy: true }, Trouble::Busy { site, is_busy: false });
        }
        12 if troubles.busy_sites => {
            let (begins, ends) = (true, false);
            pass(
                Trouble::Unreadable { site, is_unreadable: begins },
                Trouble::Unreadable { site, is_unreadable: ends },
            );
        }
        13 | 14 if troubles.sudden_stops => agenda.at(now, Happening::Trouble(sudden_stop(site, random))),
        15 | 16 if troubles.rot => {
            // A lost row could not be told from one that compaction dropped, when it comes back.
            let lasting = if troubles.compactions { &Damage::ALL[..4] } else { &Damage::ALL };
            pass(Trouble::Rot { site, damage: random.pick(lasting) }, Trouble::Restore { site });
        }
        17 | 18 if is_up[site] => lose(site, from, (now, ends), random, agenda),
        19.. => {
            if random.chance(60) {
                cut_off(site, &links, now, ends, agenda);
            }
            let park = Trouble::Park { by: random.below(plan.sites), site };
            agenda.at(now.after(random.between(MS, S)), Happening::Trouble(park));
        }
        _ => {}
    }
}

/// Cuts all links of a site for a while.
pub(crate) fn cut_off(site: usize, links: &[(usize, usize)], begins: Time, ends: Time, agenda: &mut Agenda) {
    for &(a, b) in links.iter().filter(|(a, b)| *a == site || *b == site) {
        for (from, to) in [(a, b), (b, a)] {
            agenda.at(begins, Happening::Trouble(Trouble::Cut { from, to }));
            agenda.at(ends, Happening::Trouble(Trouble::Heal { from, to }));
        }
    }
}

/// A site's disk loses what it holds, and the site starts again.
fn lose(site: usize, other: usize, (now, ends): (Time, Time), random: &mut Random, agenda: &mut Agenda) {
    let how = loss(other, random);
    agenda.at(now, Happening::Trouble(Trouble::Keep { site }));
    agenda.at(ends, Happening::Trouble(Trouble::Lose { site, how }));
    agenda.at(ends.after(random.between(MS, 4 * S)), Happening::Trouble(Trouble::Start { site }));
}

/// How a disk loses what it holds: most lose an end only.
fn loss(other: usize, random: &mut Random) -> Loss {
    match random.below(8) {
        0 => Loss::Backup,
        1 => Loss::Clone { of: other },
        _ => Loss::Suffix,
    }
}

/// A stop in the middle of something.
fn sudden_stop(site: usize, random: &mut Random) -> Trouble {
    let calls = random.pick(&[1, 1, 2, 3, 5, 8, 20]);
    let how = random.pick(&[Stop::Crash, Stop::Kill]);
    let at = Arranged { calls, is_after: random.chance(50), how };
    match random.below(4) {
        1 => Trouble::StopJoining { site, at: Arranged { calls: random.between(1, 6), ..at } },
        0 => Trouble::StopSweeping { site, at: Arranged { calls: random.between(1, 3), ..at } },
        _ => Trouble::StopAt { site, at },
    }
}

/// How wrong a clock is.
pub(crate) fn clock_error(plan: &Plan, random: &mut Random) -> i64 {
    let error = random.between(0, 2 * plan.skew_ms) as i64;
    error - plan.skew_ms as i64
}
