//! Which sites of a mesh have a link at all.

/// The links of a mesh. A link that is not in it is cut from the beginning and for ever.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shape {
    sites: usize,
    /// Pairs with the smaller number first.
    links: Vec<(usize, usize)>,
}

impl Shape {
    /// Every site is linked to every other one.
    #[must_use]
    pub fn full(sites: usize) -> Self {
        Self { sites, links: (0..sites).flat_map(|one| (one + 1..sites).map(move |other| (one, other))).collect() }
    }

    /// Each site is linked to the one before it.
    #[must_use]
    pub fn chain(sites: usize) -> Self {
        Self { sites, links: (1..sites).map(|site| (site - 1, site)).collect() }
    }

    /// Each site is linked to the first one alone.
    #[must_use]
    pub fn star(sites: usize) -> Self {
        Self { sites, links: (1..sites).map(|site| (0, site)).collect() }
    }

    /// Sites.
    #[must_use]
    pub const fn sites(&self) -> usize {
        self.sites
    }

    /// Whether there is a link between the two.
    #[must_use]
    pub fn links(&self, one: usize, other: usize) -> bool {
        self.links.contains(&(one.min(other), one.max(other)))
    }

    /// Where a site joins: at the first neighbour before it.
    pub(super) fn host_of(&self, site: usize) -> Option<usize> {
        (0..site).find(|host| self.links(*host, site))
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    #[test]
    fn each_shape_has_its_links_and_everybody_joins_somewhere() {
        assert!(Shape::full(3).links(2, 0) && Shape::full(3).links(1, 2));
        assert!(Shape::chain(5).links(3, 2) && !Shape::chain(5).links(3, 1));
        assert!(Shape::star(5).links(0, 4) && !Shape::star(5).links(3, 4));
        assert_eq!(Shape::chain(5).host_of(4), Some(3));
        assert_eq!(Shape::star(5).host_of(4), Some(0));
        assert_eq!(Shape::full(5).host_of(0), None);
    }
}
