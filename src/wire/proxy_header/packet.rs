//! Version 2: binary.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use crate::wire::proxy_header::checksum::crc32c;
use crate::wire::proxy_header::fault::HeaderFault;
use crate::wire::proxy_header::header::Origin;
use crate::wire::proxy_header::tlv::Tlvs;

/// How it begins.
pub const BEGINNING: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Beginning, version and command, family, length.
pub const FIXED: usize = 16;
/// Nobody has use for a larger one, and nobody is given room for it.
pub const LARGEST: usize = 4096;

const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;
const UDP4: u8 = 0x12;
const UDP6: u8 = 0x22;
const UNIX_DATAGRAM: u8 = 0x32;

const OF_V4: usize = 12;
const OF_V6: usize = 36;
const OF_UNIX: usize = 216;

/// How long a header is that begins with `bytes`, which have begun as one; `FIXED` while that is
/// not there to be read. Each byte of it is judged as soon as it is there.
///
/// # Errors
/// However it goes on, it is none.
pub fn length(bytes: &[u8]) -> Result<usize, HeaderFault> {
    if let Some(&byte) = bytes.get(12) {
        if byte >> 4 != 2 {
            return Err(HeaderFault::Version(byte >> 4));
        }
        if byte & 15 > 1 {
            return Err(HeaderFault::Command(byte & 15));
        }
    }
    if let Some(&family) = bytes.get(13)
        && !is_local(bytes)
        && (family >> 4 > 3 || family & 15 > 2)
    {
        return Err(HeaderFault::Family(family));
    }
    let Some(&[high, low]) = bytes.get(14..FIXED).and_then(|it| it.first_chunk::<2>()) else {
        return Ok(FIXED);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > LARGEST {
        return Err(HeaderFault::TooLarge(FIXED + length));
    }
    if !is_local(bytes) && length < addresses(bytes[13]).unwrap_or(0) {
        return Err(HeaderFault::TooShort);
    }
    Ok(FIXED + length)
}

fn is_local(bytes: &[u8]) -> bool {
    bytes.get(12).is_some_and(|byte| byte & 15 == 0)
}

/// How many bytes the addresses of a family take; `None`: that is written nowhere.
fn addresses(family: u8) -> Option<usize> {
    match family {
        TCP4 | UDP4 => Some(OF_V4),
        TCP6 | UDP6 => Some(OF_V6),
        UNIX | UNIX_DATAGRAM => Some(OF_UNIX),
        _unspecified => None,
    }
}

/// Reads a header that is there, all of its `length`.
///
/// # Errors
/// It is none.
pub fn read(whole: &[u8]) -> Result<(Origin, Tlvs), HeaderFault> {
    let (family, block) = (whole[13], &whole[FIXED..]);
    if is_local(whole) {
        // Whatever is in it is to be discarded, its family included.
        return Ok((Origin::Local, Tlvs::default()));
    }
    let (tlvs, at) = match addresses(family) {
        Some(length) => (Tlvs::read(&block[length..])?, FIXED + length),
        // What its addresses look like is not written anywhere, so that this is a guess.
        None => (Tlvs::read(block).unwrap_or_default(), FIXED),
    };
    if let Some(within) = tlvs.checksum_at() {
        let (before, rest) = whole.split_at(at + within);
        let (told, after) = rest.split_at(4);
        if crc32c(&[before, &[0; 4], after]).to_be_bytes() != *told {
            return Err(HeaderFault::Checksum);
        }
    }
    let origin = match family {
        TCP4 => v4(block),
        TCP6 => v6(block),
        UNIX => unix(block),
        // Datagrams: nobody whom we could be connected with.
        _other => None,
    };
    Ok((origin.unwrap_or(Origin::Unknown), tlvs))
}

fn v4(block: &[u8]) -> Option<Origin> {
    let (source, rest) = block.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    let (from, to) = ports(rest)?;
    Some(Origin::Tcp4 {
        source: SocketAddrV4::new(Ipv4Addr::from(*source), from),
        destination: SocketAddrV4::new(Ipv4Addr::from(*destination), to),
    })
}

fn v6(block: &[u8]) -> Option<Origin> {
    let (source, rest) = block.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let (from, to) = ports(rest)?;
    Some(Origin::Tcp6 {
        source: SocketAddrV6::new(Ipv6Addr::from(*source), from, 0, 0),
        destination: SocketAddrV6::new(Ipv6Addr::from(*destination), to, 0, 0),
    })
}

fn ports(rest: &[u8]) -> Option<(u16, u16)> {
    let [from_high, from_low, to_high, to_low] = *rest.first_chunk::<4>()?;
    Some((u16::from_be_bytes([from_high, from_low]), u16::from_be_bytes([to_high, to_low])))
}

fn unix(block: &[u8]) -> Option<Origin> {
    let path = |bytes: &[u8]| {
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes[..end].to_vec()
    };
    let (source, destination) = block.get(..OF_UNIX)?.split_at(OF_UNIX / 2);
    Some(Origin::Unix { source: path(source), destination: path(destination) })
}

/// The header that says this. Its checksum is right, if `tlvs` have room for one. Paths that are
/// too long for a unix socket are cut.
pub fn write(origin: &Origin, tlvs: &Tlvs) -> Vec<u8> {
    let (command, family, addresses) = match origin {
        Origin::Local => (0x20, 0, Vec::new()),
        Origin::Unknown => (0x21, 0, Vec::new()),
        Origin::Tcp4 { source, destination } => {
            let ips = [source.ip().octets(), destination.ip().octets()].concat();
            (0x21, TCP4, with_ports(ips, source.port(), destination.port()))
        }
        Origin::Tcp6 { source, destination } => {
            let ips = [source.ip().octets(), destination.ip().octets()].concat();
            (0x21, TCP6, with_ports(ips, source.port(), destination.port()))
        }
        Origin::Unix { source, destination } => {
            let mut paths = vec![0; OF_UNIX];
            let (first, second) = paths.split_at_mut(OF_UNIX / 2);
            first.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
            second.iter_mut().zip(destination).for_each(|(to, from)| *to = *from);
            (0x21, UNIX, paths)
        }
    };
    let tlvs = if *origin == Origin::Local { &Tlvs::default() } else { tlvs };
    let length = u16::try_from(addresses.len() + tlvs.as_bytes().len());
    let length = length.unwrap_or(u16::MAX).to_be_bytes();
    let mut header = [BEGINNING, &[command, family], &length, &addresses, tlvs.as_bytes()].concat();
    if let Some(within) = tlvs.checksum_at() {
        let at = FIXED + addresses.len() + within;
        header[at..at + 4].fill(0);
        let checksum = crc32c(&[&header]);
        header[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
    }
    header
}

fn with_ports(mut addresses: Vec<u8>, from: u16, to: u16) -> Vec<u8> {
    addresses.extend_from_slice(&from.to_be_bytes());
    addresses.extend_from_slice(&to.to_be_bytes());
    addresses
}
