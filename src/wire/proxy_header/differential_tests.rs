//! Another's reader, the crate ppp, beside ours: where they disagree, it is for a reason that is
//! written down here.

use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult, v1, v2};
use proptest::prelude::*;

use crate::wire::proxy_header::fault::HeaderFault;
use crate::wire::proxy_header::header::Origin;
use crate::wire::proxy_header::reader::{Progress, read};
use crate::wire::proxy_header::reader_tests::a_header;
use crate::wire::proxy_header::writer::write;

/// What a reader makes of a header that is there: the addresses, if they are of TCP, and its length.
type Read = (Option<(SocketAddr, SocketAddr)>, usize);

fn ours(bytes: &[u8]) -> Result<Option<Read>, HeaderFault> {
    Ok(match read(bytes)? {
        Progress::Begun { .. } => None,
        Progress::Whole { header, length } => Some((
            match header.origin {
                Origin::Tcp4 { source, destination } => Some((source.into(), destination.into())),
                Origin::Tcp6 { source, destination } => Some((source.into(), destination.into())),
                Origin::Local | Origin::Unknown | Origin::Unix { .. } => None,
            },
            length,
        )),
    })
}

/// `Err(true)`: it waits for more.
fn theirs(bytes: &[u8]) -> Result<Read, bool> {
    let read = HeaderResult::parse(bytes);
    let waits = read.is_incomplete();
    match read {
        HeaderResult::V1(Ok(header)) => {
            let addresses = match header.addresses {
                v1::Addresses::Unknown => None,
                v1::Addresses::Tcp4(it) => Some((
                    (it.source_address, it.source_port).into(),
                    (it.destination_address, it.destination_port).into(),
                )),
                v1::Addresses::Tcp6(it) => Some((
                    (it.source_address, it.source_port).into(),
                    (it.destination_address, it.destination_port).into(),
                )),
            };
            Ok((addresses, header.header.len()))
        }
        HeaderResult::V2(Ok(header)) => {
            let told =
                header.command == v2::Command::Proxy && header.protocol == v2::Protocol::Stream;
            let addresses = match header.addresses {
                v2::Addresses::IPv4(it) if told => Some((
                    (it.source_address, it.source_port).into(),
                    (it.destination_address, it.destination_port).into(),
                )),
                v2::Addresses::IPv6(it) if told => Some((
                    (it.source_address, it.source_port).into(),
                    (it.destination_address, it.destination_port).into(),
                )),
                v2::Addresses::Unspecified
                | v2::Addresses::IPv4(_)
                | v2::Addresses::IPv6(_)
                | v2::Addresses::Unix(_) => None,
            };
            Ok((addresses, header.len()))
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(waits),
    }
}

/// Why the other may take what we refuse.
fn is_its_hole(fault: HeaderFault, bytes: &[u8]) -> bool {
    match fault {
        // `+100`, which Rust's own reader of numbers takes.
        HeaderFault::Port => bytes.contains(&b'+'),
        // It gives TLVs out one by one, and checks no checksum.
        HeaderFault::Tlv | HeaderFault::TlvValue(_) | HeaderFault::Checksum => true,
        // It has no bound but the 64 KiB of the format.
        HeaderFault::TooLarge(_) => true,
        // It asks only that what it ignores is UTF-8, and takes `\n` within it.
        HeaderFault::Fields | HeaderFault::LineEnd | HeaderFault::Word => {
            bytes.starts_with(b"PROXY UNKNOWN")
        }
        HeaderFault::Absent
        | HeaderFault::LineTooLong
        | HeaderFault::Address
        | HeaderFault::Version(_)
        | HeaderFault::Command(_)
        | HeaderFault::Family(_)
        | HeaderFault::TooShort => false,
    }
}

/// Why we may take what the other refuses: LOCAL is to be discarded, its family included, and what
/// UNKNOWN says besides is to be ignored.
fn is_our_leniency(bytes: &[u8]) -> bool {
    let is_local = bytes.starts_with(b"\r\n") && bytes.get(12) == Some(&0x20);
    // A family without a protocol: there is no telling how long its addresses are.
    let is_half_told = bytes.get(13).is_some_and(|byte| byte & 15 == 0 || byte >> 4 == 0);
    is_local || bytes.starts_with(b"\r\n") && is_half_told || bytes.starts_with(b"PROXY UNKNOWN")
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let shown = bytes.escape_ascii();
    match (ours(bytes), theirs(bytes)) {
        (Ok(Some(our)), Ok(their)) => prop_assert_eq!(our, their, "{}", shown),
        (Ok(Some(_)), Err(_)) => prop_assert!(is_our_leniency(bytes), "only we take {}", shown),
        (Err(fault), Ok(_)) => prop_assert!(is_its_hole(fault, bytes), "{}: {}", fault, shown),
        (Ok(None), Ok(_)) => prop_assert!(false, "we wait for more of {}", shown),
        // Nothing is taken for a header; when that is known does not matter.
        (Ok(None) | Err(_), Err(_)) => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_both_take_they_take_alike(
        header in a_header(),
        behind in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        check(&[write(&header), behind].concat())?;
    }

    #[test]
    fn where_a_byte_is_wrong_only_one_of_them_errs_for_a_reason_that_is_known(
        header in a_header(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
    ) {
        let mut bytes = write(&header);
        for (index, byte, change) in changes {
            let at = index.index(bytes.len());
            match change {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        check(&bytes)?;
    }

    #[test]
    fn lines_made_of_the_right_words_are_judged_alike(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "PROXY", "TCP4", "TCP6", "UNKNOWN", "10.0.0.1", "::1", "0", "65535", "65536", "01",
                "+1", "", "10.0.0.256", "::ffff:1.2.3.4", "1.2.3.4",
            ]),
            0..8,
        ),
        end in prop::sample::select(vec!["\r\n", "\n", "\r", "", " \r\n"]),
    ) {
        check(format!("PROXY {}{end}", words.join(" ")).as_bytes())?;
    }
}
