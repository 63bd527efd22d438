//! `version`: of this program, and of the API it speaks.

use std::io::{self, Write as _};

use crate::exit::Failure;

/// The etcd release whose API and output are followed.
const API_VERSION: &str = "3.5";

pub(crate) fn run() -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    Ok(write!(io::stdout(), "tombolo version: {version}\nAPI version: {API_VERSION}\n")?)
}
