//! Who plays: the names of the sites, which of them is cut off, and which writes ashore meanwhile.

/// Names in the order of joining.
const NAMES: [&str; 7] = ["factory", "ship", "office", "depot", "quay", "lighthouse", "ferry"];

/// The sites of one story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cast {
    sites: usize,
}

impl Cast {
    /// A cast of two to seven sites.
    pub(crate) fn of(sites: usize) -> Self {
        Self { sites: sites.clamp(2, NAMES.len()) }
    }

    pub(crate) fn names(self) -> &'static [&'static str] {
        &NAMES[..self.sites]
    }

    pub(crate) fn name(self, site: usize) -> &'static str {
        NAMES[site]
    }

    /// The site that is cut off.
    pub(crate) const fn ship(self) -> usize {
        1
    }

    /// The site on the other side that writes meanwhile.
    pub(crate) const fn office(self) -> usize {
        if self.sites > 2 { 2 } else { 0 }
    }

    /// Everybody but the ship.
    pub(crate) fn ashore(self) -> impl Iterator<Item = usize> {
        (0..self.sites).filter(move |site| *site != self.ship())
    }
}

#[cfg(test)]
mod tests {
    use super::Cast;

    #[test]
    fn the_two_writers_of_a_conflict_are_never_the_same_site() {
        for sites in 0..10 {
            let cast = Cast::of(sites);
            assert_ne!(cast.ship(), cast.office());
            assert!(cast.names().len() > cast.ship().max(cast.office()));
        }
    }
}
