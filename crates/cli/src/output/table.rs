//! `-w table`: boxes drawn with `+`, `-` and `|`, for the answers that are lists.
//!
//! Headings are centred, cells are on the right, and long cells are wrapped between words.

use std::io::{self, Write};

use super::{Answer, rows::Rows};

mod wrap;

/// Draws a list. Commands refuse this format up front where an answer is none.
pub(super) fn write(out: &mut impl Write, answer: &Answer<'_>) -> io::Result<()> {
    let Some(Rows { heading, rows }) = Rows::of(answer) else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "table not supported as output format"));
    };
    let cells: Vec<Vec<Vec<String>>> =
        rows.iter().map(|row| row.iter().map(|cell| wrap::lines(cell)).collect()).collect();
    let widths: Vec<usize> =
        heading.iter().enumerate().map(|(column, name)| column_width(name, &cells, column)).collect();
    rule(out, &widths)?;
    let names: Vec<String> = heading.iter().zip(&widths).map(|(name, width)| format!("{name:^width$}")).collect();
    writeln!(out, "| {} |", names.join(" | "))?;
    rule(out, &widths)?;
    cells.iter().try_for_each(|row| write_row(out, row, &widths))?;
    rule(out, &widths)
}

fn column_width(name: &str, cells: &[Vec<Vec<String>>], column: usize) -> usize {
    let lines = cells.iter().flat_map(|row| &row[column]);
    lines.map(|line| line.chars().count()).fold(name.len(), usize::max)
}

fn rule(out: &mut impl Write, widths: &[usize]) -> io::Result<()> {
    widths.iter().try_for_each(|width| write!(out, "+{}", "-".repeat(width + 2)))?;
    writeln!(out, "+")
}

/// One row is as high as its highest cell.
fn write_row(out: &mut impl Write, row: &[Vec<String>], widths: &[usize]) -> io::Result<()> {
    let height = row.iter().map(Vec::len).max().unwrap_or_default();
    for line in 0..height {
        for (cell, width) in row.iter().zip(widths) {
            write!(out, "| {:>width$} ", cell.get(line).map_or("", String::as_str))?;
        }
        writeln!(out, "|")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{EndpointHealth, Format, samples};
    use super::*;

    #[track_caller]
    fn check(answer: &Answer<'_>, expected: &[&str]) {
        let shown = samples::shown(Format::Table, false, answer);
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lists_are_boxes() {
        check(
            &Answer::Members(&samples::members()),
            &[
                "+------------------+-----------+------+---------------+-----------------------------+------------+",
                "|        ID        |  STATUS   | NAME |  PEER ADDRS   |        CLIENT ADDRS         | IS LEARNER |",
                "+------------------+-----------+------+---------------+-----------------------------+------------+",
                "| 2bc21162cab8eb93 |   started | n<1> | http://a:2380 | http://a:2379,http://b:2379 |      false |",
                "|                f | unstarted |      | http://c:2380 |                             |       true |",
                "+------------------+-----------+------+---------------+-----------------------------+------------+",
            ],
        );
        check(
            &Answer::Health(&samples::health()),
            &[
                "+----------+--------+------------+---------------------------+",
                "| ENDPOINT | HEALTH |    TOOK    |           ERROR           |",
                "+----------+--------+------------+---------------------------+",
                "|   a:2379 |   true | 2.084579ms |                           |",
                "|      b:1 |  false |         5s | context deadline exceeded |",
                "+----------+--------+------------+---------------------------+",
            ],
        );
    }

    #[test]
    fn a_mesh_is_a_row_for_the_endpoint_and_one_for_each_peer() {
        let shown = samples::shown(Format::Table, false, &Answer::MeshStatus(&samples::mesh::status()));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 7, "{shown}");
        let words = |line: usize| lines[line].split('|').map(str::trim).collect::<Vec<_>>();
        assert_eq!(words(3)[1..4], ["factory", "00000000000000a1", "answering"], "{shown}");
        assert_eq!(words(4)[9..13], ["both", "equal", "0 B", "SKEW"], "{shown}");
        assert_eq!(words(5)[3..8], ["unreachable (parked)", "-", "2h3m", "1204 ~241 kB", "-"], "{shown}");
    }

    #[test]
    fn an_empty_list_is_its_heading() {
        check(
            &Answer::Health(&[]),
            &[
                "+----------+--------+------+-------+",
                "| ENDPOINT | HEALTH | TOOK | ERROR |",
                "+----------+--------+------+-------+",
                "+----------+--------+------+-------+",
            ],
        );
    }

    #[test]
    fn a_long_cell_makes_its_row_higher() {
        let [healthy, _] = samples::health();
        let error = Some("cannot connect to 127.0.0.1:1 (Connection refused)".to_owned());
        check(
            &Answer::Health(&[EndpointHealth { error, ..healthy }]),
            &[
                "+----------+--------+------------+-------------------------------+",
                "| ENDPOINT | HEALTH |    TOOK    |             ERROR             |",
                "+----------+--------+------------+-------------------------------+",
                "|   a:2379 |  false | 2.084579ms | cannot connect to 127.0.0.1:1 |",
                "|          |        |            |          (Connection refused) |",
                "+----------+--------+------------+-------------------------------+",
            ],
        );
    }

    #[test]
    fn an_answer_that_is_no_list_is_refused() {
        let refused = write(&mut Vec::new(), &Answer::Put(&samples::put())).expect_err("no table");
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
    }
}
