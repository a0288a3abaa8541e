//! What is wrong with a header.

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// They do not begin as one.
    #[error("it does not begin with a PROXY protocol header")]
    Absent,
    /// Version 1: no end in sight.
    #[error("the line of its header is longer than 107 bytes")]
    LineTooLong,
    /// Version 1: an end that is none.
    #[error("the line of its header does not end with CR LF")]
    LineEnd,
    /// Version 1: neither TCP4 nor TCP6 nor UNKNOWN.
    #[error("its header names a protocol that version 1 does not know")]
    Word,
    /// Version 1: not two addresses and two ports with one blank between them.
    #[error("its header does not have two addresses and two ports, one blank apart")]
    Fields,
    /// Version 1: an address that is not of the family, or written otherwise.
    #[error("an address in its header is malformed")]
    Address,
    /// Version 1: no port.
    #[error("a port in its header is malformed")]
    Port,
    /// Version 2: another version.
    #[error("its header is of version {0}, which nobody has written down")]
    Version(u8),
    /// Version 2: neither LOCAL nor PROXY.
    #[error("its header has the unknown command {0}")]
    Command(u8),
    /// Version 2: an unknown family or protocol.
    #[error("its header is of the unknown family 0x{0:02x}")]
    Family(u8),
    /// Version 2: larger than anybody has use for.
    #[error("its header has {0} bytes, more than are read")]
    TooLarge(usize),
    /// Version 2: not even the addresses fit in.
    #[error("its header is too short for its addresses")]
    TooShort,
    /// Version 2: what follows the addresses does not end where the header ends.
    #[error("what its header adds (TLV) does not end where the header ends")]
    Tlv,
    /// Version 2: one of them is not as it has to be.
    #[error("what its header adds (TLV 0x{0:02x}) is malformed")]
    TlvValue(u8),
    /// Version 2: it does not add up.
    #[error("the checksum of its header is wrong")]
    Checksum,
}
