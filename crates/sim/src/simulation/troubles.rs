//! Troubles happen, and end.

use super::{LOOK_US, Simulation};
use crate::{Plant, agenda::Happening, checker::Violation, trouble::Trouble};

impl Simulation<'_> {
    pub(super) fn trouble(&mut self, trouble: Trouble) -> Result<(), Violation> {
        // What was decided on during the troubles does not happen after them.
        let breaks =
            matches!(trouble, Trouble::Cut { .. } | Trouble::Stop { .. } | Trouble::Disk { is_slow: true, .. });
        if self.is_calm() && breaks {
            return Ok(());
        }
        self.note(format_args!("{trouble:?}"));
        match trouble {
            Trouble::Cut { from, to } => self.network.cut(from, to),
            Trouble::Heal { from, to } => self.heal(from, to),
            Trouble::Stop { site, how } => return self.stop(site, how),
            Trouble::Start { site } => return self.start(site),
            Trouble::SetClock { site, ahead_ms } => self.sites[site].clocks.ahead_ms = ahead_ms,
            Trouble::Redial { from, to } => self.try_connection(from, to),
            Trouble::Disk { site, is_slow } => {
                self.sites[site].has_slow_disk = is_slow;
                if self.is_planted(Plant::RestoredBackup) && self.sites[site].is_up() {
                    self.sites[site].rows.back_up();
                }
            }
        }
        Ok(())
    }

    fn heal(&mut self, from: usize, to: usize) {
        for arrival in self.network.heal(self.now, from, to) {
            let happening = Happening::Parcel { connection: arrival.connection, at: arrival.at, turn: arrival.turn };
            self.agenda.at(arrival.time, happening);
        }
    }

    /// From here on nothing goes wrong any more, and clients ask for nothing more.
    pub(super) fn calm(&mut self) -> Result<(), Violation> {
        self.note(format_args!("the troubles are over"));
        self.calm_since = Some(self.now);
        for (a, b) in self.plan.links() {
            self.heal(a, b);
            self.heal(b, a);
        }
        self.sites.iter_mut().for_each(|site| site.has_slow_disk = false);
        self.start_all()?;
        self.agenda.at(self.now.after(LOOK_US), Happening::Look);
        Ok(())
    }
}
