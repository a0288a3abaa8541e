//! Certificates made for one test: an authority, and what it signs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, UnixTime};

/// An authority, and a folder for what it signs.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// A certificate with its key, as PEM text and in a file.
#[derive(Clone)]
pub(crate) struct Issued {
    /// The certificate alone.
    pub(crate) certificate: String,
    /// Its private key.
    pub(crate) key: String,
    /// Both, in a file.
    pub(crate) path: PathBuf,
}

impl Authority {
    /// A new one of this name.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are no wrong ones");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, made_key()).expect("it can sign itself");
        Self { issuer, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// Its certificate, as PEM.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Its certificate, for rustls.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Its certificate in a file.
    pub(crate) fn path(&self) -> PathBuf {
        let path = self.folder.path().join("authority.pem");
        std::fs::write(&path, self.pem()).expect("the folder can be written to");
        path
    }

    /// A folder for files of the test's own.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A list that takes these certificates back, by their serial numbers.
    pub(crate) fn revoke(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|&serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: rcgen::date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2025, 1, 1),
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("it can be signed").pem().expect("it is PEM")
    }

    /// A certificate for these names; the first of them names the file.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_as(names, |_| {})
    }

    /// The same, good for so many seconds from now on, or until so many ago.
    pub(crate) fn issue_for(&self, names: &[&str], seconds: i64) -> Issued {
        let now = i64::try_from(UnixTime::now().as_secs()).expect("it is after 1970");
        let until = Duration::from_secs(u64::try_from(now + seconds).expect("so is that"));
        self.issue_as(names, |params| params.not_after = rcgen::date_time_ymd(1970, 1, 1) + until)
    }

    /// The same, with something changed before it is signed.
    pub(crate) fn issue_as(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let list: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(list).expect("the names are names");
        params.distinguished_name.push(DnType::CommonName, names[0]);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = made_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("it can be signed").pem();
        let key = key.serialize_pem();
        let path = self.folder.path().join(format!("{}.pem", names[0].replace('*', "star")));
        std::fs::write(&path, format!("{certificate}{key}")).expect("the folder is writable");
        Issued { certificate, key, path }
    }
}

/// Replaces a file as a careful tool does: at no time it is half there.
pub(crate) fn rename_over(file: &Path, text: &str) {
    let beside = file.with_extension(format!("{:08x}", fastrand::u32(..)));
    std::fs::write(&beside, text).expect("the folder is writable");
    std::fs::rename(beside, file).expect("it can be renamed");
}

fn made_key() -> KeyPair {
    KeyPair::generate().expect("there is randomness")
}
