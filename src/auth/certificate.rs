//! The names in a client certificate.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a certificate says of who shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The names that callers are known by: SPIFFE ids first, then `cert:` with each DNS name; where it has no alternative
    /// names at all, `cert:` with the common name. Authorities look at that less closely.
    pub names: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
}

/// Reads a certificate that was verified. One that cannot be read has no names.
#[must_use]
pub fn shown(der: &[u8]) -> Shown {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Shown::default() };
    let not_after = certificate.validity().not_after.timestamp();
    // Names that cannot be read are not no names: the common name does not stand in for them.
    let Ok(alternatives) = certificate.subject_alternative_name() else {
        return Shown { names: Vec::new(), not_after };
    };
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
    if alternatives.is_empty() {
        names.extend(common.map(|name| format!("cert:{name}")));
    }
    Shown { names, not_after }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, SanType};

    use super::*;

    fn names(change: impl FnOnce(&mut CertificateParams)) -> Vec<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "gateway");
        change(&mut params);
        shown(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der()).names
    }

    #[test]
    fn the_common_name_counts_only_where_there_are_no_others() {
        assert_eq!(names(|_| ()), ["cert:gateway"]);
        let dns = SanType::DnsName("other.example".try_into().unwrap());
        assert_eq!(names(|params| params.subject_alt_names = vec![dns]), ["cert:other.example"]);
        // Alternative names that nobody can read.
        let broken = CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x7f, 0x82]);
        assert!(names(|params| params.custom_extensions = vec![broken]).is_empty());
    }
}
