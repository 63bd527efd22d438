//! Puts rotten rows back out of what peers hold, and says what is rotten for as long as it is.

use std::{sync::Arc, time::Duration};

use tombolo_storage::{MendError, Mending, RottenRow};
use tracing::{error, info, warn};

use crate::{mesh::repair, replica::Replica};

/// Time between two looks at whether something is rotten, and between two attempts to mend it at first.
const INTERVAL: Duration = Duration::from_secs(2);
/// The longest time between two attempts.
const INTERVAL_MAX: Duration = Duration::from_secs(120);
/// Keys that are named.
const NAMED_MAX: usize = 5;

/// Mends what is rotten, for ever.
pub(super) async fn run(replica: Arc<Replica>) {
    let (mut known, mut unsigned): (Vec<u64>, Vec<u64>) = Default::default();
    let mut wait = INTERVAL;
    loop {
        tokio::time::sleep(wait).await;
        if replica.store.rot_counts().rotten == 0 {
            replica.keeper.rot.lock().clear();
            (known, unsigned, wait) = (Vec::new(), Vec::new(), INTERVAL);
            continue;
        }
        mend_signatures(&replica).await;
        let rotten = replica.reads.apart(tombolo_storage::Store::rotten).await;
        let commits: Vec<u64> = rotten.iter().map(|row| row.commit).collect();
        for row in rotten.iter().filter(|row| !known.contains(&row.commit)) {
            error!("{}", text(row));
        }
        let signatures = replica.store.rotten_signatures();
        wait = next_wait(wait, (&known, &unsigned), (&commits, &signatures));
        (known, unsigned) = (commits, signatures);
        let is_any = !rotten.is_empty();
        *replica.keeper.rot.lock() = rotten;
        // The base is the committer's to mend.
        if !is_any {
            continue;
        }
        match mend(&replica).await {
            Ok(0) => {}
            Ok(rows) => info!(rows, "rotten rows were put back as they were, with what peers hold"),
            Err(why) => {
                warn!(%why, "rotten rows could not be put back; it is tried again");
            }
        }
    }
}

/// How long to wait for the next attempt, of which each asks all peers: longer when the same rows and signatures are rotten still.
fn next_wait(wait: Duration, before: (&[u64], &[u64]), now: (&[u64], &[u64])) -> Duration {
    let is_any = !now.0.is_empty() || !now.1.is_empty();
    if is_any && before == now { (wait * 2).min(INTERVAL_MAX) } else { INTERVAL }
}

/// One attempt. Returns the rows that were put back.
async fn mend(replica: &Arc<Replica>) -> Result<u64, MendError> {
    let Some(mut mending) = replica.reads.apart(Mending::begin).await? else { return Ok(0) };
    for dot in mending.wanted() {
        for material in repair::ask_all(&replica.mesh, dot).await {
            if mending.give(dot, material) {
                break;
            }
        }
    }
    let rows = replica.reads.apart(move |_| mending.finish()).await?;
    Ok(replica.queue.mend(rows, Vec::new()).await)
}

/// Asks for the signatures that cannot be mended with what is here.
async fn mend_signatures(replica: &Arc<Replica>) {
    // A commit row may have to be mended first.
    let wanted = replica.reads.apart(tombolo_storage::Store::wanted_heads).await.unwrap_or_default();
    let mut heads = Vec::new();
    for dot in wanted {
        heads.extend(repair::ask_head(&replica.mesh, dot).await);
    }
    if !heads.is_empty() {
        let rows = replica.queue.mend(Vec::new(), heads).await;
        info!(rows, "rotten signatures were replaced by those that peers have");
    }
}

/// One sentence about a rotten row.
pub(crate) fn text(row: &RottenRow) -> String {
    let named = row.keys.iter().take(NAMED_MAX).map(|key| format!("{:?}", String::from_utf8_lossy(key)));
    let more = row.keys.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let keys = match row.keys.len() {
        0 => "no key's value; history and what peers lack of it cannot be told".to_owned(),
        _ => format!("values of {}{more}, which cannot be read", named.collect::<Vec<_>>().join(", ")),
    };
    format!(
        "the row of commit {} is rotten on this disk: it holds {keys}. It is put back when a peer has it: connect one; look at the disk",
        row.commit
    )
}

/// One sentence about signatures that are rotten.
pub(crate) fn signatures_text(commits: &[u64]) -> Option<String> {
    let first = commits.first()?;
    Some(format!(
        "the signatures that came with commit {first} are rotten on this disk, and {} more: nothing is lost, and what they cover is not passed on \
         from here until a peer that has them, or the author, is connected, or the author has written again; look at the disk",
        commits.len() - 1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_at_the_same_rot_grow_rarer_and_begin_anew_with_other_rot() {
        let (none, some, other): (&[u64], &[u64], &[u64]) = (&[], &[3], &[3, 4]);
        let waits = |before, now| next_wait(INTERVAL * 2, before, now);
        assert_eq!(waits((none, some), (none, some)), INTERVAL * 4);
        assert_eq!(waits((some, none), (some, none)), INTERVAL * 4);
        assert_eq!(waits((none, some), (none, other)), INTERVAL);
        assert_eq!(waits((none, some), (some, some)), INTERVAL);
        assert_eq!(waits((none, none), (none, none)), INTERVAL, "of the base alone");
        assert_eq!(next_wait(INTERVAL_MAX, (some, some), (some, some)), INTERVAL_MAX);
    }

    #[test]
    fn a_rotten_row_is_told_with_its_keys_and_no_control_characters() {
        let keys = (0..7).map(|key| format!("k\n{key}").into()).collect();
        let told = text(&RottenRow { commit: 9, keys });
        assert!(told.contains("commit 9") && told.contains("\"k\\n0\"") && told.contains("and 2 more"), "{told}");
        assert!(text(&RottenRow { commit: 9, keys: Vec::new() }).contains("no key's value"));
    }
}
