//! What was measured in each round, medians of it, and ratios between what was measured side by side.

use serde::Serialize;

/// One of those that are measured in turn, with what came of it in each round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row<T> {
    pub(crate) name: String,
    pub(crate) rounds: Vec<T>,
}

/// Where ratios of rounds lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl<T> Row<T> {
    /// A row without rounds.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), rounds: Vec::new() }
    }

    /// The median of one figure.
    pub(crate) fn median(&self, figure: fn(&T) -> f64) -> f64 {
        median(self.rounds.iter().map(figure))
    }

    /// The median over the rounds of this row's figure as a share of another's.
    pub(crate) fn ratio(&self, other: &Self, figure: fn(&T) -> f64) -> f64 {
        self.spread(other, figure).median
    }

    /// This row's figure as a share of another's, round by round.
    pub(crate) fn spread(&self, other: &Self, figure: fn(&T) -> f64) -> Spread {
        let figures = |row: &Self| row.rounds.iter().map(figure).collect::<Vec<_>>();
        Spread::of(&figures(self), &figures(other))
    }
}

impl Spread {
    fn of(ours: &[f64], theirs: &[f64]) -> Self {
        let ratios = || ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
        let least = ratios().fold(f64::NAN, f64::min);
        let most = ratios().fold(f64::NAN, f64::max);
        Self { least, median: median(ratios()), most }
    }

    /// Whether every round says more. A difference that is there has the same sign in every one, and noise has not.
    pub(crate) fn is_more(self) -> bool {
        self.least > 1.0
    }

    /// Whether every round says less.
    pub(crate) fn is_less(self) -> bool {
        self.most < 1.0
    }
}

/// The median; of an even number the mean of the middle two. Not a number when there is none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The median of the ratios inside each round: what the machine did to one round it did to both sides of it.
pub(crate) fn median_ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    Spread::of(ours, theirs).median
}

#[cfg(test)]
mod tests {
    use super::{Row, median, median_ratio};

    #[test]
    fn the_median_is_the_middle_one_or_between_the_middle_two() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn a_slow_round_does_not_move_the_ratio() {
        assert_eq!(median_ratio(&[10.0, 5.0, 10.0], &[20.0, 10.0, 20.0]), 0.5);
    }

    #[test]
    fn rounds_that_disagree_show_no_difference_and_rounds_that_agree_do() {
        let row = |rounds: &[f64]| Row { name: String::new(), rounds: rounds.to_vec() };
        let spread = row(&[11.0, 19.0, 33.0]).spread(&row(&[10.0, 20.0, 30.0]), |figure| *figure);
        assert_eq!((spread.least, spread.median, spread.most), (0.95, 1.1, 1.1));
        assert!(!spread.is_more() && !spread.is_less());
        assert!(row(&[11.0, 21.0, 33.0]).spread(&row(&[10.0, 20.0, 30.0]), |figure| *figure).is_more());
        assert!(row(&[10.0, 20.0]).spread(&row(&[11.0, 21.0]), |figure| *figure).is_less());
        let nothing = row(&[]).spread(&row(&[]), |figure| *figure);
        assert!(!nothing.is_more() && !nothing.is_less(), "{nothing:?}");
    }
}
