//! Random tokens, held in memory by the replica that gave them out: another one does not know them, nor does the same one after a restart.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::Policy;

/// The tokens that one replica has given out. Moments are times since one fixed point.
#[derive(Debug)]
pub struct SimpleTokens {
    ttl: Duration,
    held: HashMap<String, Held>,
    given: u64,
    /// Expired tokens are thrown away when there are so many.
    sweep_at: usize,
}

#[derive(Debug)]
struct Held {
    user: Arc<str>,
    until: Duration,
}

impl SimpleTokens {
    /// None yet. A token ends when it was not used for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, held: HashMap::new(), given: 0, sweep_at: SWEEP_AT_MIN }
    }

    /// A new token for a user, made of randomness that nobody can guess.
    pub fn assign(&mut self, user: &str, randomness: u128, now: Duration) -> String {
        if self.held.len() >= self.sweep_at {
            self.held.retain(|_, held| held.until > now);
            self.sweep_at = (self.held.len() * 2).max(SWEEP_AT_MIN);
        }
        self.given += 1;
        // etcd's form; the number behind the dot is where in its log etcd gave the token out.
        let token = format!("{}.{}", letters(randomness), self.given);
        self.held.insert(token.clone(), Held { user: user.into(), until: now.saturating_add(self.ttl) });
        token
    }

    /// The user to whom a token was given. Its time begins anew.
    pub fn find(&mut self, token: &str, now: Duration) -> Option<Arc<str>> {
        let held = self.held.get_mut(token).filter(|held| held.until > now)?;
        held.until = now.saturating_add(self.ttl);
        Some(Arc::clone(&held.user))
    }

    /// Forgets the tokens that a change of the policy ends: those of users who are no more or have another password, and all when it is no longer
    /// enabled.
    pub fn follow(&mut self, before: &Policy, after: &Policy) {
        if !after.is_enabled() {
            self.held.clear();
        }
        self.held.retain(|_, Held { user, .. }| match (before.user(user), after.user(user)) {
            (Some(before), Some(after)) => before.is_same_login(after),
            _ => false,
        });
    }
}

/// Fewer tokens than these are not worth a sweep.
const SWEEP_AT_MIN: usize = 64;
const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Sixteen letters: 91 of the 128 bits.
fn letters(mut randomness: u128) -> String {
    let mut next = || {
        let letter = LETTERS[(randomness % 52) as usize];
        randomness /= 52;
        char::from(letter)
    };
    (0..16).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, PasswordHash, Register};

    const TTL: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn policy(changes: &[Change]) -> Policy {
        let mut registers = std::collections::BTreeMap::new();
        changes.iter().fold(Policy::default(), |policy, change| {
            for write in policy.plan(change, 1).unwrap() {
                match write.value {
                    Some(value) => registers.insert(write.key, value),
                    None => registers.remove(&write.key),
                };
            }
            Policy::read(registers.clone().into_iter().map(|(key, value)| Register { key, siblings: vec![value] }))
        })
    }

    fn enabled() -> Vec<Change> {
        let user = |name: &str| Change::AddUser { name: name.into(), password: Some(PasswordHash::from_bytes("h")) };
        let root = Change::GrantRole { user: "root".into(), role: "root".into() };
        vec![user("root"), user("ann"), user("bob"), root, Change::Enable]
    }

    #[test]
    fn a_token_has_etcds_form_and_is_found() {
        let mut tokens = SimpleTokens::new(TTL);
        let token = tokens.assign("ann", 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, at(0));
        let (word, number) = token.split_once('.').unwrap();
        assert!(word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_alphabetic()), "{word}");
        assert_eq!(number, "1");
        assert_eq!(tokens.find(&token, at(1)).as_deref(), Some("ann"));
        assert_eq!(tokens.find("aaaaaaaaaaaaaaaa.1", at(1)), None);
    }

    #[test]
    fn use_keeps_a_token_and_idleness_ends_it() {
        let mut tokens = SimpleTokens::new(TTL);
        let token = tokens.assign("ann", 7, at(0));
        assert!(tokens.find(&token, at(299)).is_some());
        assert!(tokens.find(&token, at(598)).is_some());
        assert!(tokens.find(&token, at(898)).is_none());
    }

    #[test]
    fn what_has_ended_takes_no_room_for_ever() {
        let mut tokens = SimpleTokens::new(TTL);
        for round in 0..1_000_u64 {
            tokens.assign("ann", round.into(), at(round * 400));
        }
        assert!(tokens.held.len() <= SWEEP_AT_MIN, "{}", tokens.held.len());
    }

    #[test]
    fn a_new_password_ends_the_tokens_of_that_user_alone() {
        let (before, mut changes) = (policy(&enabled()), enabled());
        changes.push(Change::ChangePassword { name: "ann".into(), password: PasswordHash::from_bytes("other") });
        let mut tokens = SimpleTokens::new(TTL);
        let (ann, bob) = (tokens.assign("ann", 1, at(0)), tokens.assign("bob", 2, at(0)));
        tokens.follow(&before, &policy(&changes));
        assert_eq!((tokens.find(&ann, at(0)), tokens.find(&bob, at(0)).as_deref()), (None, Some("bob")));
    }

    #[test]
    fn who_was_removed_and_made_again_has_no_old_tokens() {
        let (before, mut changes) = (policy(&enabled()), enabled());
        changes.push(Change::DeleteUser { name: "ann".into() });
        changes.push(Change::AddUser { name: "ann".into(), password: Some(PasswordHash::from_bytes("h")) });
        let mut tokens = SimpleTokens::new(TTL);
        let ann = tokens.assign("ann", 1, at(0));
        tokens.follow(&before, &policy(&changes));
        assert_eq!(tokens.find(&ann, at(0)), None);
    }

    #[test]
    fn nobody_keeps_a_token_when_nothing_is_judged_any_more() {
        let (before, mut changes) = (policy(&enabled()), enabled());
        let mut tokens = SimpleTokens::new(TTL);
        let ann = tokens.assign("ann", 1, at(0));
        changes.push(Change::Disable);
        tokens.follow(&before, &policy(&changes));
        assert_eq!(tokens.find(&ann, at(0)), None);
    }
}
