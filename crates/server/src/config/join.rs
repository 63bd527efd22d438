//! What `--join` is given: a ticket, or `@` and the name of a file that has it.

use std::{convert::Infallible, fmt, str::FromStr};

/// The value of `--join`, not looked at yet. Whoever has a ticket can join: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinTicket(String);

impl JoinTicket {
    /// As given, without white space around it; `None` when nothing is left.
    pub fn given(&self) -> Option<&str> {
        Some(self.0.trim()).filter(|given| !given.is_empty())
    }
}

impl FromStr for JoinTicket {
    type Err = Infallible;

    fn from_str(given: &str) -> Result<Self, Infallible> {
        Ok(Self(given.to_owned()))
    }
}

impl fmt::Debug for JoinTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinTicket(..)")
    }
}
