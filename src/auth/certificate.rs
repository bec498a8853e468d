//! The names in a client certificate.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The names in a certificate that was verified, as callers are known by: SPIFFE ids first, then `cert:` with each DNS name, then
/// `cert:` with the common name. Empty for one that cannot be read.
#[must_use]
pub fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.map(|found| &*found.value.general_names).unwrap_or_default();
    let spiffe = alternatives.iter().filter_map(|name| match name {
        GeneralName::URI(uri) if uri.starts_with("spiffe://") => Some((*uri).to_owned()),
        _ => None,
    });
    let dns = alternatives.iter().filter_map(|name| match name {
        GeneralName::DNSName(dns) => Some(format!("cert:{dns}")),
        _ => None,
    });
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<String> = spiffe.chain(dns).collect();
    names.extend(common.map(|name| format!("cert:{name}")));
    names.dedup();
    names
}
