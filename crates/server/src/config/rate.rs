//! How much peers are sent: rates in bytes a second, as people write them.

use std::num::NonZeroU64;

use tombolo_net::Rates;

/// The flags for links that are narrow or paid by the byte.
#[derive(clap::Args, Debug)]
pub(super) struct RateFlags {
    /// Most bytes a second that each peer is sent, as on the wire, such as 500KiB or 10MiB; what cannot wait goes first [default: no limit]
    #[arg(long, env = "TOMBOLO_PEER_RATE_LIMIT", value_name = "BYTES", value_parser = parse)]
    peer_rate_limit: Option<NonZeroU64>,

    /// Most bytes a second that all peers together are sent [default: no limit]
    #[arg(long, env = "TOMBOLO_PEER_RATE_LIMIT_TOTAL", value_name = "BYTES", value_parser = parse)]
    peer_rate_limit_total: Option<NonZeroU64>,
}

impl RateFlags {
    pub(super) fn rates(&self) -> Rates {
        Rates { per_peer: self.peer_rate_limit, overall: self.peer_rate_limit_total }
    }
}

/// A number of bytes, with KiB, MiB, GiB, or KB, MB, GB behind it.
fn parse(text: &str) -> Result<NonZeroU64, String> {
    let digits = text.trim_end_matches("/s").trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let unit = match text.trim_end_matches("/s")[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        unit => return Err(format!("{unit:?} is no unit of bytes: KiB, MiB, GiB, KB, MB or GB")),
    };
    let number: u64 = digits.trim().parse().map_err(|why| format!("{digits:?}: {why}"))?;
    let bytes = number.checked_mul(unit).ok_or("more bytes than can be counted")?;
    match NonZeroU64::new(bytes) {
        Some(rate) if bytes >= Rates::MIN => Ok(rate),
        _ => Err(format!("less than {} KiB a second: peers would take the link for broken", Rates::MIN >> 10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_people_write_them() {
        let read = |text| parse(text).map(NonZeroU64::get);
        for (text, bytes) in [
            ("20000", 20_000),
            ("500KiB", 500 << 10),
            ("10MiB", 10 << 20),
            ("10 MiB/s", 10 << 20),
            ("1gb", 1_000_000_000),
            ("16k", 16 << 10),
        ] {
            assert_eq!(read(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "10", "15KiB", "MiB", "-1MiB", "1.5MiB", "10Mbit", "99999999999GiB", "10MiB/m"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
