//! Hides in etcdctl's output what differs from run to run and from server to server, and nothing else.
//!
//! * `<id1>`, `<id2>`: words of twelve to sixteen hexadecimal digits (leases and members), numbered by first appearance
//! * `<endpoint>`, `<peer>`: the server's sockets
//! * `<time>`: how long a proposal took, and what is left of a lease's time
//! * `<n>`: ids and raft terms in JSON and fields
//! * `<version>`, `<size>`, `<n>`: in the line of `endpoint status`

/// The names given so far.
#[derive(Debug)]
pub struct Mask {
    endpoint: String,
    peer: String,
    ids: Vec<String>,
}

impl Mask {
    pub(super) fn new(endpoint: &str, peer: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), peer: peer.to_owned(), ids: Vec::new() }
    }

    /// Puts the real ids back into a command.
    pub(super) fn reveal(&self, words: &str) -> String {
        let mut words = words.to_owned();
        for (index, id) in self.ids.iter().enumerate() {
            words = words.replace(&format!("<id{}>", index + 1), id);
        }
        words
    }

    /// Hides what differs in printed text.
    pub(super) fn apply(&mut self, text: &str) -> String {
        text.lines().map(|line| self.line(line)).collect::<Vec<_>>().join("\n")
    }

    fn line(&mut self, line: &str) -> String {
        let line = line.replace(&self.endpoint, "<endpoint>").replace(&self.peer, "<peer>");
        let line = hide_after(&line, "took = ", "<time>");
        let line = hide_after(&line, "remaining(", "<time>");
        let mut line = line;
        for name in ["\"cluster_id\":", "\"member_id\":", "\"raft_term\":"] {
            line = hide_after(&line, name, "<n>");
        }
        for name in ["\"ClusterID\" : ", "\"MemberID\" : ", "\"RaftTerm\" : "] {
            line = hide_after(&line, name, "<n>");
        }
        let line = self.hide_ids(&line);
        if line.starts_with("<endpoint>, <id") { status(&line) } else { line }
    }

    fn hide_ids(&mut self, line: &str) -> String {
        let mut hidden = String::new();
        let mut rest = line;
        while !rest.is_empty() {
            let word = rest.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(word);
            if (12..=16).contains(&word.len()) && word.chars().all(|letter| letter.is_ascii_hexdigit()) {
                hidden.push_str(&self.name(word));
            } else {
                hidden.push_str(word);
            }
            let next = tail.chars().next().map_or(0, char::len_utf8);
            hidden.push_str(&tail[..next]);
            rest = &tail[next..];
        }
        hidden
    }

    fn name(&mut self, id: &str) -> String {
        let known = self.ids.iter().position(|known| known == id);
        let index = known.unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        format!("<id{}>", index + 1)
    }
}

/// Replaces the word (letters, digits, signs and dots) after each `before`.
fn hide_after(line: &str, before: &str, name: &str) -> String {
    let mut hidden = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(before) {
        let (head, tail) = rest.split_at(at + before.len());
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '.' || letter == '-';
        let end = tail.find(|letter| !is_word(letter)).unwrap_or(tail.len());
        hidden.push_str(head);
        hidden.push_str(name);
        rest = &tail[end..];
    }
    hidden + rest
}

/// `endpoint, id, version, size, leader, learner, term, index, applied index, errors`
fn status(line: &str) -> String {
    let names = [None, None, Some("<version>"), Some("<size>"), None, None, Some("<n>"), Some("<n>"), Some("<n>")];
    let fields: Vec<&str> = line.split(", ").collect();
    let masked = fields.iter().enumerate().map(|(index, field)| names.get(index).copied().flatten().unwrap_or(field));
    masked.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::Mask;

    #[test]
    fn ids_are_numbered_by_appearance_and_revealed_again() {
        let mut mask = Mask::new("127.0.0.1:1", "127.0.0.1:2");
        assert_eq!(mask.apply("lease 2040a2002bb81a0a granted with TTL(100s)"), "lease <id1> granted with TTL(100s)");
        assert_eq!(mask.apply("2040a2002bb81a0b 2040a2002bb81a0a"), "<id2> <id1>");
        assert_eq!(mask.reveal("put --lease=<id2> a"), "put --lease=2040a2002bb81a0b a");
    }

    #[test]
    fn times_and_numbers_are_hidden_and_revisions_are_not() {
        let mut mask = Mask::new("127.0.0.1:1", "127.0.0.1:2");
        assert_eq!(
            mask.apply("127.0.0.1:1, 2e1259d415f2a040, 3.4.23, 33 kB, true, false, 2, 10, 10, "),
            "<endpoint>, <id1>, <version>, <size>, true, false, <n>, <n>, <n>, "
        );
        assert_eq!(
            mask.apply(r#"{"header":{"cluster_id":324952591200643719,"revision":3,"raft_term":2}}"#),
            r#"{"header":{"cluster_id":<n>,"revision":3,"raft_term":<n>}}"#
        );
        assert_eq!(mask.apply("TTL(100s), remaining(98s)"), "TTL(100s), remaining(<time>)");
    }
}
