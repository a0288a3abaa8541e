//! The authorities that this system trusts: read once, when the first target needs them.

use std::sync::OnceLock;

use rustls::pki_types::CertificateDer;

/// Where the system keeps them, or the file and folder that `SSL_CERT_FILE` and `SSL_CERT_DIR`
/// name.
///
/// # Errors
/// There are none, and why.
pub fn of_the_system() -> Result<&'static [CertificateDer<'static>], &'static str> {
    static FOUND: OnceLock<Result<Vec<CertificateDer<'static>>, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        if !found.certs.is_empty() {
            return Ok(found.certs);
        }
        let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        Err(if why.is_empty() { "there are no files of them".to_owned() } else { why.join("; ") })
    });
    found.as_deref().map_err(String::as_str)
}
