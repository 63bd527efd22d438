//! The options that say who calls.

use std::fmt;

use clap::Args;
use tombolo_client::Credentials;

use crate::{exit::Failure, prompt};

/// Who calls.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Who {
    /// Username, or username:password, for authentication (prompt if password is not supplied)
    #[arg(long, global = true)]
    user: Option<String>,
    /// Password for authentication (if this option is used, --user shouldn't include password)
    #[arg(long, global = true, hide_default_value = true)]
    password: Option<String>,
    /// JWT token used for authentication (if this option is used, --user and --password are ignored)
    #[arg(long, global = true, hide_default_value = true)]
    auth_jwt_token: Option<String>,
}

impl Who {
    /// What to sign in with; a password that was not given is asked for. An empty name or password signs nobody in.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        if let Some(token) = given(&self.auth_jwt_token) {
            return Ok(Some(Credentials::Token(token.to_owned())));
        }
        let Some(user) = given(&self.user) else { return Ok(None) };
        let (name, password) = match (given(&self.password), user.split_once(':')) {
            (Some(password), _) => (user, password.to_owned()),
            (None, Some((name, password))) => (name, password.to_owned()),
            (None, None) => (user, prompt::password()?),
        };
        let is_somebody = !name.is_empty() && !password.is_empty();
        Ok(is_somebody.then(|| Credentials::password(name, password)))
    }
}

fn given(option: &Option<String>) -> Option<&str> {
    option.as_deref().filter(|text| !text.is_empty())
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Who").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(user: &str, password: &str, token: &str) -> Option<Credentials> {
        let option = |text: &str| Some(text.to_owned());
        let who = Who { user: option(user), password: option(password), auth_jwt_token: option(token) };
        who.credentials().expect("nothing is asked")
    }

    #[test]
    fn a_password_comes_behind_a_colon_or_in_a_flag_of_its_own() {
        assert_eq!(who("root:a:b", "", ""), Some(Credentials::password("root", "a:b")));
        assert_eq!(who("root:a", "b", ""), Some(Credentials::password("root:a", "b")));
        assert_eq!(who("root:a", "", "jwt"), Some(Credentials::Token("jwt".into())));
    }

    #[test]
    fn nobody_is_signed_in_without_a_name_and_a_password() {
        for (user, password) in [("", ""), ("", "a"), ("root:", ""), (":a", "")] {
            assert_eq!(who(user, password, ""), None, "{user} {password}");
        }
    }
}
