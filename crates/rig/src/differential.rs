//! Sends one seeded sequence of requests to two servers and compares every answer.
//!
//! Requests go one after another, to both servers at the same time; the generator learns from the reference alone. The
//! first difference ends the run with everything that is needed to see it again.

use std::{collections::VecDeque, fmt::Write as _};

use anyhow::{Result, bail};

use crate::{
    compare::{Difference, differences},
    connect::Connection,
    normalise::{guard, normalise},
    request::{
        Answer, Request,
        auth::generate::Dialect,
        generate::{Generator, Repertoire},
    },
};

/// Counts of a run, to show that it was not vacuous.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Requests sent.
    pub requests: usize,
    /// Those that both servers refused alike.
    pub refused: usize,
    /// The revision at the end.
    pub revision: i64,
}

/// A run of one seed, which may go on after its servers were started again.
#[derive(Debug)]
pub struct Run {
    seed: u64,
    generator: Generator,
    recent: VecDeque<String>,
    tally: Tally,
}

impl Run {
    /// The beginning of the run of `seed`, against two empty servers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, generator: Generator::new(seed), recent: VecDeque::new(), tally: Tally::default() }
    }

    /// The beginning of a run with users and roles, against two empty servers.
    #[must_use]
    pub fn with_users(seed: u64, dialect: Dialect) -> Self {
        let mut run = Self::new(seed);
        run.generator.repertoire = Repertoire::Users(dialect);
        run
    }

    /// The beginning of a run with every call that has one answer, against two empty servers.
    #[must_use]
    pub fn whole(seed: u64, dialect: Dialect) -> Self {
        let mut run = Self::new(seed);
        run.generator.repertoire = Repertoire::Whole(dialect);
        run
    }

    /// Sends the next `steps` requests.
    ///
    /// # Errors
    ///
    /// At the first difference, with seed, step, request, both answers and the requests before.
    pub async fn go_on(&mut self, steps: usize, reference: &mut Connection, subject: &mut Connection) -> Result<Tally> {
        for connection in [&mut *reference, &mut *subject] {
            if connection.identity.id == 0 {
                connection.introduce().await?;
            }
        }
        for _ in 0..steps {
            let request = self.generator.request();
            let (expected, got) = tokio::join!(request.send(reference), request.send(subject));
            let (seed, step) = (self.seed, self.tally.requests);
            let (expected, got) = match (expected, got) {
                (Ok(expected), Ok(got)) => (expected, got),
                (Err(error), _) => bail!("seed {seed} step {step}: the reference failed: {error:#}\n{request:#?}"),
                (_, Err(error)) => bail!("seed {seed} step {step}: the subject failed: {error:#}\n{request:#?}"),
            };
            let found = judge(&request, expected.clone(), got.clone());
            if !found.is_empty() {
                bail!("{}", report(seed, step, &request, &expected, &got, &found, &self.recent));
            }
            self.note(&request, &expected);
        }
        Ok(self.tally)
    }

    fn note(&mut self, request: &Request, answer: &Answer) {
        self.generator.world.observe(request, answer);
        self.tally.requests += 1;
        self.tally.refused += usize::from(answer.is_refused());
        self.tally.revision = self.generator.world.revision;
        self.recent.push_back(format!("{request:?}"));
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }
}

/// The differences that remain after normalising.
#[must_use]
pub fn judge(request: &Request, mut expected: Answer, mut got: Answer) -> Vec<Difference> {
    normalise(request, &mut expected);
    normalise(request, &mut got);
    guard::overlook(&expected, &mut got);
    if guard::is_known(request, &expected, &got) {
        return Vec::new();
    }
    if expected == got { Vec::new() } else { differences(&expected, &got) }
}

fn report(
    seed: u64,
    step: usize,
    request: &Request,
    expected: &Answer,
    got: &Answer,
    found: &[Difference],
    recent: &VecDeque<String>,
) -> String {
    let mut text = format!("seed {seed} step {step} (replay with TOMBOLO_SEED={seed})\n");
    for difference in found {
        let _ = writeln!(text, "  {}", shorten(&difference.to_string()));
    }
    let _ = writeln!(text, "request: {}", shorten(&format!("{request:?}")));
    let _ = writeln!(text, "reference: {}", shorten(&format!("{expected:?}")));
    let _ = writeln!(text, "subject:   {}", shorten(&format!("{got:?}")));
    let _ = writeln!(text, "requests before it, oldest first:");
    for request in recent {
        let _ = writeln!(text, "  {}", shorten(request));
    }
    text
}

/// Values can be megabytes of one letter, and requests have many fields: the gist is enough to find them again.
#[must_use]
pub fn shorten(text: &str) -> String {
    let mut short = String::new();
    let (mut previous, mut run) = ('\0', 0_usize);
    for letter in text.chars() {
        run = if letter == previous { run + 1 } else { 0 };
        previous = letter;
        if run < RUN_LETTERS_MAX {
            short.push(letter);
        }
        if short.len() >= TEXT_BYTES_MAX {
            short.push('…');
            break;
        }
    }
    short
}

const RECENT_MAX: usize = 8;
const RUN_LETTERS_MAX: usize = 8;
const TEXT_BYTES_MAX: usize = 4_000;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tombolo_proto::{
        etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader},
        mvccpb::KeyValue,
    };

    use super::judge;
    use crate::request::{Answer, Request};

    fn answer() -> RangeResponse {
        let kv =
            KeyValue { key: Bytes::from("a"), mod_revision: 4, create_revision: 2, version: 3, ..Default::default() };
        let header = ResponseHeader { revision: 9, member_id: 1, ..Default::default() };
        RangeResponse { header: Some(header), kvs: vec![kv], count: 1, more: false }
    }

    fn judged(alter: impl FnOnce(&mut RangeResponse)) -> usize {
        let mut altered = answer();
        alter(&mut altered);
        judge(&Request::Range(RangeRequest::default()), Answer::Range(answer()), Answer::Range(altered)).len()
    }

    #[test]
    fn an_altered_answer_is_caught_and_a_foreign_member_id_is_not() {
        assert_eq!(
            judged(|response| response.header = answer().header.map(|header| ResponseHeader { member_id: 2, ..header })),
            0
        );
        assert_eq!(judged(|response| response.kvs[0].version = 4), 1);
        assert_eq!(judged(|response| response.count = 2), 1);
        assert_ne!(judged(|response| response.header = None), 0);
    }

    #[test]
    fn the_text_of_an_error_matters() {
        let refused = |message: &str| Answer::Refused { code: "OutOfRange".to_owned(), message: message.to_owned() };
        let request = Request::Range(RangeRequest::default());
        assert!(judge(&request, refused("x"), refused("x")).is_empty());
        assert_eq!(judge(&request, refused("x"), refused("y")).len(), 1);
    }
}
