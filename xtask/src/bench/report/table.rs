//! A table of numbers for a screen: names on the left, numbers flush right under their headings.

use std::fmt;

/// Rows of equal length.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with headings; the first is that of the names.
    pub(crate) fn new<const N: usize>(names: &str, headings: [&str; N]) -> Self {
        let mut table = Self { rows: Vec::new() };
        table.row(names, headings.map(str::to_owned));
        table
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, name: &str, cells: [String; N]) {
        self.rows.push([name.to_owned()].into_iter().chain(cells).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            write!(formatter, "  ")?;
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 { write!(formatter, " {cell:<width$}")? } else { write!(formatter, "  {cell:>width$}")? }
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

/// A number with as many digits as mean something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "–".to_owned(),
        size if size >= 1000.0 => thousands(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::{Table, number};

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        assert_eq!(
            [0.17, 17.25, 331.4, 38_700.0, 1_234_567.0].map(number),
            ["0.17", "17.2", "331", "38,700", "1,234,567"]
        );
    }

    #[test]
    fn columns_are_flush_right_whatever_their_letters() {
        let mut table = Table::new("server", ["µs", "req/s"]);
        table.row("a", ["17.0".to_owned(), "38,700".to_owned()]);
        table.row("longer name", ["5".to_owned(), "7".to_owned()]);
        let text = table.to_string();
        let widths: Vec<_> = text.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths, [widths[0]; 3], "\n{text}");
    }
}
