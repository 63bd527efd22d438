//! The bytes of one kind of certificate (RFC 5280): ECDSA on P-256, for servers, with names and addresses.

use super::address_bytes;

/// The part of a certificate that is signed. `validity` is in seconds since the epoch, `public` a SubjectPublicKeyInfo.
pub(super) fn to_be_signed(mut serial: [u8; 16], validity: (u64, u64), public: &[u8], hosts: &[String]) -> Vec<u8> {
    // Positive, and with no superfluous zero in front.
    serial[0] = serial[0] & 0x7f | 0x40;
    let name = name("tombolo");
    let names: Vec<u8> = hosts.iter().flat_map(|host| general_name(host)).collect();
    let extensions = [
        extension(&[0x55, 0x1d, 0x0f], true, &[BIT_STRING, 2, 7, 0x80]),
        extension(&[0x55, 0x1d, 0x25], false, &sequence(&oid(&[0x2b, 6, 1, 5, 5, 7, 3, 1]))),
        extension(&[0x55, 0x1d, 0x13], true, &sequence(&[])),
        extension(&[0x55, 0x1d, 0x11], false, &sequence(&names)),
    ];
    sequence(
        &[
            tagged(0xa0, &[INTEGER, 1, 2]),
            tagged(INTEGER, &serial),
            algorithm(),
            name.clone(),
            sequence(&[time(validity.0), time(validity.1)].concat()),
            name,
            public.to_vec(),
            tagged(0xa3, &sequence(&extensions.concat())),
        ]
        .concat(),
    )
}

/// The whole certificate.
pub(super) fn signed(to_be_signed: &[u8], signature: &[u8]) -> Vec<u8> {
    let signature = tagged(BIT_STRING, &[&[0], signature].concat());
    sequence(&[to_be_signed, &algorithm(), &signature].concat())
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTF8: u8 = 0x0c;
const GENERALIZED_TIME: u8 = 0x18;
const UTC_TIME: u8 = 0x17;

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let significant = &length[zeros..];
    let mut bytes = vec![tag];
    if content.len() >= 0x80 {
        bytes.push(0x80 | significant.len() as u8);
        bytes.extend(significant);
    } else {
        bytes.push(content.len() as u8);
    }
    bytes.extend(content);
    bytes
}

fn sequence(content: &[u8]) -> Vec<u8> {
    tagged(0x30, content)
}

fn oid(encoded: &[u8]) -> Vec<u8> {
    tagged(OBJECT_ID, encoded)
}

/// ecdsa-with-SHA256.
fn algorithm() -> Vec<u8> {
    sequence(&oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]))
}

/// A name of an organisation alone.
fn name(organisation: &str) -> Vec<u8> {
    let attribute = sequence(&[oid(&[0x55, 4, 10]), tagged(UTF8, organisation.as_bytes())].concat());
    sequence(&tagged(0x31, &attribute))
}

fn general_name(host: &str) -> Vec<u8> {
    match address_bytes(host) {
        Some(bytes) => tagged(0x87, &bytes),
        None => tagged(0x82, host.as_bytes()),
    }
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    sequence(&[oid(id), critical.to_vec(), tagged(OCTET_STRING, value)].concat())
}

/// Years before 2050 have two digits, by decree.
fn time(seconds: u64) -> Vec<u8> {
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    if year < 2050 {
        tagged(UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes())
    } else {
        tagged(GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes())
    }
}

/// Year, month and day of a day since the epoch. Years begin in March here, so that the odd day is their last.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, wanted) in
            [(0, (1970, 1, 1)), (11_016, (2000, 2, 29)), (20_789, (2026, 12, 2)), (47_541, (2100, 3, 1))]
        {
            assert_eq!(date(days), wanted, "{days}");
        }
    }

    #[test]
    fn long_contents_have_long_lengths() {
        assert_eq!(tagged(4, &[0; 5])[..2], [4, 5]);
        assert_eq!(tagged(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(tagged(4, &[0; 0x1234])[..4], [4, 0x82, 0x12, 0x34]);
    }
}
