//! The SPDX list: every id on it is known by name, also where its terms are not modelled.

/// What the SPDX list says of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The id, as the list spells it.
    pub id: &'static str,
    /// The license's title.
    pub full_name: &'static str,
    /// Whether the OSI approved it.
    pub osi_approved: bool,
    /// Whether the FSF lists it as free.
    pub fsf_libre: bool,
    /// Whether the list tells people to use another id.
    pub deprecated: bool,
}

impl Listed {
    /// The license of an id, letter for letter.
    #[must_use]
    pub fn find(id: &str) -> Option<Self> {
        // The crate also takes `MIT+` for `MIT`; a name stands for itself only.
        let found = spdx::license_id(id).filter(|found| found.name == id)?;
        Some(Self {
            id: found.name,
            full_name: found.full_name,
            osi_approved: found.is_osi_approved(),
            fsf_libre: found.is_fsf_free_libre(),
            deprecated: found.is_deprecated(),
        })
    }

    /// Every id on the list.
    pub fn ids() -> impl Iterator<Item = &'static str> {
        // The crate's table also holds names that stand for no license, such as NOASSERTION.
        spdx::identifiers::LICENSES.iter().map(|license| license.name).filter(|name| Self::find(name).is_some())
    }

    /// Its page on the list's site.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://spdx.org/licenses/{}.html", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_as_they_are_spelled() {
        let zero = Listed::find("0BSD").unwrap();
        assert_eq!((zero.full_name, zero.osi_approved), ("BSD Zero Clause License", true));
        assert_eq!(zero.url(), "https://spdx.org/licenses/0BSD.html");
        for unknown in ["mit", "MIT+", "LicenseRef-X", ""] {
            assert_eq!(Listed::find(unknown), None, "{unknown}");
        }
        assert!(Listed::find("GPL-2.0").unwrap().deprecated);
        assert!(Listed::ids().all(|id| Listed::find(id).is_some()));
    }
}
