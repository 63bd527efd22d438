//! The flags of the real etcd of this machine, `ETCD_*` variables and etcd's configuration file, given to the server.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context, Result};
use tombolo_rig::requirement::{Tool, tombolod};

/// The flags in etcd's help, without those that begin a line of its usage.
fn flags_of_etcd() -> Result<Option<BTreeSet<String>>> {
    let Some(etcd) = Tool::Etcd.find() else { return Ok(None) };
    let help = Command::new(etcd).arg("--help").output()?;
    let help = [help.stdout, help.stderr].concat();
    let text = String::from_utf8_lossy(&help).into_owned();
    let flags = text.lines().filter_map(|line| line.strip_prefix("  --"));
    let names = flags.map(|rest| rest.split([' ', '\'']).next().unwrap_or(rest).to_owned());
    Ok(Some(names.filter(|name| !matches!(name.as_str(), "version" | "help")).collect()))
}

fn run(arguments: &[String], variables: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
    let output = Command::new(tombolod()).args(arguments).envs(variables.iter().copied()).output()?;
    let printed = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&printed).into_owned()))
}

#[test]
fn every_flag_in_the_help_of_the_real_etcd_is_known() -> Result<()> {
    let Some(flags) = flags_of_etcd()? else { return Ok(()) };
    assert!(flags.len() > 60 && flags.contains("snapshot-count"), "{flags:?}");
    for flag in &flags {
        // A complaint about the value, or none, shows that the flag is known.
        let (_, printed) = run(&[format!("--{flag}="), "--help".to_owned()], &[])?;
        assert!(!printed.contains("unexpected argument"), "--{flag}: {printed}");
    }
    let (_, printed) = run(&["--no-such-flag=".to_owned(), "--help".to_owned()], &[])?;
    assert!(printed.contains("unexpected argument"), "{printed}");
    Ok(())
}

#[test]
fn etcds_variables_and_file_are_read_and_checked_as_flags_are() -> Result<()> {
    let (code, printed) = run(&[], &[("ETCD_MAX_REQUEST_BYTES", "0")])?;
    assert!(code != Some(0) && printed.contains("--max-request-bytes"), "{printed}");
    let near = [("ETCD_MAX_REQUEST_BYTES", "1000"), ("TOMBOLO_MAX_REQUEST_BYTES", "0")];
    let (code, printed) = run(&[], &near)?;
    assert!(code != Some(0) && printed.contains("--max-request-bytes"), "the nearer one counts: {printed}");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("etcd.conf.yml");
    fs::write(&file, "name: etcd\nclient-transport-security:\n  cert-file: only.pem\n")?;
    let path = file.to_str().context("a path")?;
    let (code, printed) = run(&[format!("--config-file={path}")], &[])?;
    assert!(code != Some(0) && printed.contains("--key-file"), "{printed}");
    fs::write(&file, "no-such-key: 1\n")?;
    let (code, printed) = run(&[], &[("ETCD_CONFIG_FILE", path)])?;
    assert!(code != Some(0) && printed.contains("no-such-key"), "{printed}");
    Ok(())
}
