//! The TLV that tells how a client is connected by TLS. It holds TLVs itself.

/// Type and length of a TLV within it.
const HEAD: usize = 3;
/// Flags and verdict.
const FIXED: usize = 5;

/// The client is connected by TLS.
const BY_TLS: u8 = 1;
/// It has shown a certificate on this connection.
const CERTIFICATE_NOW: u8 = 2;
/// It has shown one in this TLS session, which may have been resumed.
const CERTIFICATE_EVER: u8 = 4;

const VERSION: u8 = 0x21;
const COMMON_NAME: u8 = 0x22;
const CIPHER: u8 = 0x23;
const SIGNATURE: u8 = 0x24;
const KEY: u8 = 0x25;

/// How a client is connected by TLS. Texts are bytes: somebody chose them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ssl<'a> {
    /// It is.
    pub by_tls: bool,
    /// It has shown a certificate on this connection.
    pub certificate_now: bool,
    /// It has shown one in this session, which may have been resumed.
    pub certificate_ever: bool,
    /// The certificate has been verified.
    pub verified: bool,
    /// Such as `TLSv1.3`.
    pub version: Option<&'a [u8]>,
    /// The common name (CN) in the certificate.
    pub common_name: Option<&'a [u8]>,
    /// The cipher suite, as OpenSSL calls it.
    pub cipher: Option<&'a [u8]>,
    /// The algorithm that the certificate is signed by.
    pub signature: Option<&'a [u8]>,
    /// The algorithm of the key.
    pub key: Option<&'a [u8]>,
}

// === impl Ssl ===

impl<'a> Ssl<'a> {
    /// Reads the value of the TLV; `None`: it is malformed.
    pub fn read(value: &'a [u8]) -> Option<Self> {
        let (fixed, mut left) = value.split_first_chunk::<FIXED>()?;
        let [flags, verdict @ ..] = *fixed;
        let mut ssl = Self {
            by_tls: flags & BY_TLS != 0,
            certificate_now: flags & CERTIFICATE_NOW != 0,
            certificate_ever: flags & CERTIFICATE_EVER != 0,
            verified: verdict == [0; 4],
            ..Self::default()
        };
        while !left.is_empty() {
            let (head, rest) = left.split_first_chunk::<HEAD>()?;
            let [kind, length @ ..] = *head;
            let (value, rest) = rest.split_at_checked(u16::from_be_bytes(length).into())?;
            match kind {
                VERSION => ssl.version = Some(value),
                COMMON_NAME => ssl.common_name = Some(value),
                CIPHER => ssl.cipher = Some(value),
                SIGNATURE => ssl.signature = Some(value),
                KEY => ssl.key = Some(value),
                _later => {}
            }
            left = rest;
        }
        Some(ssl)
    }

    /// The value of the TLV. A text that is too long for one is left out.
    pub fn write(&self) -> Vec<u8> {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(self.by_tls, BY_TLS)
            | flag(self.certificate_now, CERTIFICATE_NOW)
            | flag(self.certificate_ever, CERTIFICATE_EVER);
        let mut value = vec![flags, 0, 0, 0, u8::from(!self.verified)];
        let texts = [
            (VERSION, self.version),
            (COMMON_NAME, self.common_name),
            (CIPHER, self.cipher),
            (SIGNATURE, self.signature),
            (KEY, self.key),
        ];
        for (kind, text) in texts {
            let Some(text) = text else { continue };
            let Ok(length) = u16::try_from(text.len()) else { continue };
            value.push(kind);
            value.extend_from_slice(&length.to_be_bytes());
            value.extend_from_slice(text);
        }
        value
    }
}
