//! Roots that certificates are traced to, as PEM.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// A text without certificates where roots should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("holds what is no certificate, or none at all")]
pub struct NoRoots;

/// The roots in a text.
pub(crate) fn read(pem: &str) -> Result<RootCertStore, NoRoots> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|_| NoRoots)?).map_err(|_| NoRoots)?;
    }
    if roots.is_empty() { Err(NoRoots) } else { Ok(roots) }
}
