//! Breaks a cell into lines between its words, so that the lines are as even as they can be.
//!
//! Of all ways to break, the one with the least sum of squared room at the ends of lines is taken; the last line counts
//! nothing. A word that is longer than a line widens the line.

/// The least width at which a cell is broken.
const WIDTH: usize = 30;

/// The lines of a cell; an empty cell has one empty line.
pub(super) fn lines(cell: &str) -> Vec<String> {
    let words: Vec<&str> = cell.split([' ', '\n']).collect();
    let longest = words.iter().map(|word| width(word)).max().unwrap_or_default();
    let room = longest.max(WIDTH.min(cell.lines().map(width).max().unwrap_or_default()));
    let breaks = cheapest_breaks(&words, room);
    let mut lines = Vec::new();
    let mut first = 0;
    while first < words.len() {
        lines.push(words[first..breaks[first]].join(" "));
        first = breaks[first];
    }
    lines
}

/// For each word, where the line that begins with it should end.
fn cheapest_breaks(words: &[&str], room: usize) -> Vec<usize> {
    let count = words.len();
    let mut cost = vec![usize::MAX; count + 1];
    let mut breaks = vec![count; count];
    cost[count] = 0;
    for first in (0..count).rev() {
        if width_of_line(&words[first..]) <= room {
            cost[first] = 0;
            continue;
        }
        for end in first + 1..count {
            let used = width_of_line(&words[first..end]);
            if used > room {
                break;
            }
            let total = cost[end].saturating_add((room - used).pow(2));
            if total < cost[first] {
                (cost[first], breaks[first]) = (total, end);
            }
        }
    }
    breaks
}

fn width_of_line(words: &[&str]) -> usize {
    words.iter().map(|word| width(word) + 1).sum::<usize>().saturating_sub(1)
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_cells_stay_whole() {
        assert_eq!(lines(""), [""]);
        assert_eq!(lines("context deadline exceeded"), ["context deadline exceeded"]);
        assert_eq!(lines("thirty characters are one line"), ["thirty characters are one line"]);
    }

    #[test]
    fn lines_are_even_rather_than_full() {
        let cell = "etcdserver: request timed out, possibly due to previous leader failure";
        assert_eq!(lines(cell), ["etcdserver: request timed", "out, possibly due to previous", "leader failure"]);
    }

    #[test]
    fn a_word_is_never_broken() {
        let word = "http://a-rather-long-host-name.example:2379";
        assert_eq!(lines(word), [word]);
        assert_eq!(lines(&format!("see {word} now")), ["see", word, "now"]);
    }
}
