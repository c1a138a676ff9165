//! Certificates that servers are checked against, in place of the system's.

use std::{fmt, fs, io::Read as _, path::Path};

use aws_smithy_http_client::tls::TrustStore;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use thiserror::Error;

/// Longest bundle that is read. Mozilla's whole list has 230 kB.
const BUNDLE_LEN_MAX: u64 = 4 << 20;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Why a bundle is of no use.
#[derive(Debug, Error)]
pub(crate) enum TrustError {
    #[error("it has no certificate that could be used; it must be in PEM form")]
    Empty,
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("it is longer than {BUNDLE_LEN_MAX} bytes")]
    TooLong,
}

/// Certificates of authorities, each in PEM form and found to be usable: the SDK's client panics on others.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Trust(Vec<String>);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} certificates)", self.0.len())
    }
}

impl Trust {
    /// Reads a bundle. Entries that are no certificates of an authority are left out, as elsewhere.
    pub(crate) fn load(path: &Path) -> Result<Self, TrustError> {
        let mut text = String::new();
        let mut file = fs::File::open(path)?.take(BUNDLE_LEN_MAX + 1);
        file.read_to_string(&mut text)?;
        if text.len() as u64 > BUNDLE_LEN_MAX {
            return Err(TrustError::TooLong);
        }
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, TrustError> {
        let blocks = text.split(BEGIN).skip(1).filter_map(|rest| rest.split_once(END));
        let blocks = blocks.map(|(body, _)| format!("{BEGIN}{body}{END}\n"));
        let (usable, odd): (Vec<_>, Vec<_>) = blocks.partition(|block| is_usable(block));
        if !odd.is_empty() {
            tracing::warn!(
                left_out = odd.len(),
                "the CA bundle has entries that are no certificates"
            );
        }
        if usable.is_empty() { Err(TrustError::Empty) } else { Ok(Self(usable)) }
    }

    pub(super) fn store(&self) -> TrustStore {
        let mut store = TrustStore::empty();
        for certificate in &self.0 {
            store.add_pem_certificate(certificate.as_bytes());
        }
        store
    }
}

fn is_usable(block: &str) -> bool {
    let mut roots = RootCertStore::empty();
    let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(block.as_bytes()).collect();
    ders.is_ok_and(|ders| !ders.is_empty() && ders.into_iter().all(|der| roots.add(der).is_ok()))
}
