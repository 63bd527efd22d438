//! The flags about users' passwords and tokens, with etcd's names and meanings.

use std::{path::PathBuf, time::Duration};

use tombolo_auth::{COST_DEFAULT, COST_MAX, COST_MIN, JwtMethod};

use super::go_duration;

/// As given.
#[derive(clap::Args, Debug)]
pub(super) struct AuthFlags {
    /// How users prove who they are after a login: simple, or jwt,sign-method=<method>,pub-key=<file>,priv-key=<file>,ttl=<duration>
    #[arg(long, env = "TOMBOLO_AUTH_TOKEN", default_value = "simple")]
    auth_token: String,

    /// Seconds after which a simple token ends when it is not used
    #[arg(long, env = "TOMBOLO_AUTH_TOKEN_TTL", default_value_t = 300)]
    auth_token_ttl: u64,

    /// Cost of a password's hash, from 4 to 31: each step doubles the time of a login and of guessing
    #[arg(long, env = "TOMBOLO_BCRYPT_COST", default_value_t = COST_DEFAULT)]
    bcrypt_cost: u32,
}

/// How users log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// What they get for their password.
    pub tokens: TokenConfig,
    /// The cost of hashing a password.
    pub bcrypt_cost: u32,
}

/// What kind of tokens is given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenConfig {
    /// Random ones.
    Simple {
        /// How long one lives without being used.
        ttl: Duration,
    },
    /// Signed ones.
    Jwt {
        /// How they are signed.
        method: JwtMethod,
        /// The file with the public key, or a certificate that has it.
        public_key: Option<PathBuf>,
        /// The file with the private key, or with the secret. Without it tokens are only verified.
        private_key: Option<PathBuf>,
        /// How long one lives.
        ttl: Duration,
    },
}

impl AuthFlags {
    /// The configuration; what the operator should know of it is remarked.
    pub(super) fn check(&self, remarks: &mut Vec<String>) -> Result<AuthConfig, String> {
        let mut bcrypt_cost = self.bcrypt_cost;
        if !(COST_MIN..=COST_MAX).contains(&bcrypt_cost) {
            // As etcd does.
            remarks.push(format!("--bcrypt-cost must lie between {COST_MIN} and {COST_MAX}: {COST_DEFAULT} is taken"));
            bcrypt_cost = COST_DEFAULT;
        }
        let tokens = self.tokens(remarks).map_err(|why| format!("--auth-token: {why}"))?;
        Ok(AuthConfig { tokens, bcrypt_cost })
    }

    fn tokens(&self, remarks: &mut Vec<String>) -> Result<TokenConfig, String> {
        let (kind, options) = self.auth_token.split_once(',').unwrap_or((&self.auth_token, ""));
        match kind {
            // As in etcd, none is no wish.
            "simple" => Ok(TokenConfig::Simple {
                ttl: Duration::from_secs(if self.auth_token_ttl == 0 { 300 } else { self.auth_token_ttl }),
            }),
            "jwt" => jwt(options, remarks),
            other => Err(format!("{other:?} is neither simple nor jwt")),
        }
    }
}

fn jwt(options: &str, remarks: &mut Vec<String>) -> Result<TokenConfig, String> {
    let (mut method, mut public_key, mut private_key, mut ttl) = (None, None, None, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) =
            option.split_once('=').ok_or_else(|| format!("{option:?} is not of the form name=value"))?;
        let place = match name {
            "sign-method" => &mut method,
            "pub-key" => &mut public_key,
            "priv-key" => &mut private_key,
            "ttl" => &mut ttl,
            _ => {
                remarks.push(format!("--auth-token: the option {name:?} is not known and ignored"));
                continue;
            }
        };
        if place.replace(value).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    let given = |place: Option<&'_ str>| place.filter(|value| !value.is_empty()).map(str::to_owned);
    let method = given(method).ok_or("sign-method is missing")?;
    let (public_key, private_key) = (given(public_key).map(PathBuf::from), given(private_key).map(PathBuf::from));
    if public_key.is_none() && private_key.is_none() {
        return Err("there is neither pub-key nor priv-key".to_owned());
    }
    Ok(TokenConfig::Jwt {
        method: method.parse().map_err(|_| format!("the sign-method {method:?} is not known"))?,
        public_key,
        private_key,
        ttl: given(ttl)
            .map_or(Ok(JWT_TTL_DEFAULT), |ttl| go_duration::parse(&ttl).map_err(|why| format!("ttl={ttl}: {why}")))?,
    })
}

/// etcd's.
const JWT_TTL_DEFAULT: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        flags: AuthFlags,
    }

    fn parse(arguments: &[&str]) -> Result<(AuthConfig, Vec<String>), String> {
        let mut remarks = Vec::new();
        let flags = Alone::try_parse_from(["tombolod"].iter().chain(arguments)).unwrap().flags;
        flags.check(&mut remarks).map(|config| (config, remarks))
    }

    #[test]
    fn simple_tokens_live_five_minutes() {
        let (config, remarks) = parse(&[]).unwrap();
        let ttl = Duration::from_secs(300);
        assert_eq!(config, AuthConfig { tokens: TokenConfig::Simple { ttl }, bcrypt_cost: 10 });
        assert!(remarks.is_empty());
        let (config, _) = parse(&["--auth-token-ttl=7", "--bcrypt-cost=4"]).unwrap();
        let ttl = Duration::from_secs(7);
        assert_eq!(config, AuthConfig { tokens: TokenConfig::Simple { ttl }, bcrypt_cost: 4 });
    }

    #[test]
    fn signed_tokens_are_described_in_etcds_way() {
        let (config, remarks) =
            parse(&["--auth-token=jwt,pub-key=/a.pub,priv-key=/a.key,sign-method=ES256,ttl=10m,colour=red"]).unwrap();
        let expected = TokenConfig::Jwt {
            method: JwtMethod::Es256,
            public_key: Some("/a.pub".into()),
            private_key: Some("/a.key".into()),
            ttl: Duration::from_secs(600),
        };
        assert_eq!(config.tokens, expected);
        assert!(remarks[0].contains("colour"), "{remarks:?}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (given, named) in [
            ("none", "none"),
            ("jwt", "sign-method"),
            ("jwt,sign-method=RS256", "pub-key"),
            ("jwt,sign-method=none,pub-key=/a", "none"),
            ("jwt,sign-method=RS256,pub-key=/a,pub-key=/b", "twice"),
            ("jwt,sign-method", "name=value"),
            ("jwt,sign-method=RS256,pub-key=/a,ttl=soon", "soon"),
        ] {
            let why = parse(&["--auth-token", given]).unwrap_err();
            assert!(why.contains("--auth-token") && why.contains(named), "{given}: {why}");
        }
    }

    #[test]
    fn a_cost_out_of_bounds_is_remarked_and_not_taken() {
        let (config, remarks) = parse(&["--bcrypt-cost=40"]).unwrap();
        assert_eq!((config.bcrypt_cost, remarks.len()), (10, 1));
    }
}
