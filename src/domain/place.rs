//! Countries and sets of them.

use std::fmt;

/// A country, ISO 3166-1 alpha-2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

/// Every assigned code of ISO 3166-1.
const CODES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
     CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR \
     GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP \
     KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT \
     MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW \
     SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG \
     UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// The assigned codes as a set: a request can hold hundreds of codes.
const ASSIGNED: CountrySet = CountrySet::spelled(CODES);

const EU: &str = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK";

impl Country {
    /// Parses a code in either case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let &[a, b] = text.as_bytes() else { return None };
        let (a, b) = (a.to_ascii_uppercase(), b.to_ascii_uppercase());
        let letters = a.is_ascii_uppercase() && b.is_ascii_uppercase();
        let country = Self([a, b]);
        (letters && ASSIGNED.contains(country)).then_some(country)
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // INVARIANT: two ASCII capitals.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn of_index(index: usize) -> Option<Self> {
        let letter = |at: usize| u8::try_from(at).ok().map(|at| b'A' + at);
        Some(Self([letter(index / 26)?, letter(index % 26)?]))
    }

    fn index(self) -> usize {
        let [a, b] = self.0;
        bit(a, b)
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Bit of a code of two capitals.
const fn bit(a: u8, b: u8) -> usize {
    a.wrapping_sub(b'A') as usize * 26 + b.wrapping_sub(b'A') as usize
}

/// A set of countries, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountrySet([u64; 11]);

impl CountrySet {
    /// Adds one.
    pub fn insert(&mut self, country: Country) {
        let index = country.index();
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    /// Whether it holds a country.
    #[must_use]
    pub fn contains(&self, country: Country) -> bool {
        let index = country.index();
        self.0.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 11]
    }

    /// Whether the two share a country.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// Whether every country of this set is in the other.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: &Self) {
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a |= b;
        }
    }

    /// What both hold.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let mut out = *self;
        for (a, b) in out.0.iter_mut().zip(&other.0) {
            *a &= b;
        }
        out
    }

    /// Its countries, in order.
    pub fn iter(&self) -> impl Iterator<Item = Country> + '_ {
        let bits = |(at, word): (usize, &u64)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = usize::try_from(left.trailing_zeros()).ok().filter(|_| left != 0)?;
                left &= left - 1;
                Some(at * 64 + bit)
            })
        };
        self.0.iter().enumerate().flat_map(bits).filter_map(Country::of_index)
    }

    /// The set of codes in a text: two capitals each, blanks between them.
    #[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds is an error")]
    const fn spelled(codes: &str) -> Self {
        let bytes = codes.as_bytes();
        let mut words = [0_u64; 11];
        let mut i = 0;
        while i + 1 < bytes.len() {
            if bytes[i].is_ascii_uppercase() {
                let index = bit(bytes[i], bytes[i + 1]);
                words[index / 64] |= 1 << (index % 64);
                i += 1;
            }
            i += 1;
        }
        Self(words)
    }

    /// A named set: `EU` (member states of the European Union), `EEA` (those with Iceland, Liechtenstein and Norway),
    /// `WELL_KNOWN_MARKETS` (EEA, Switzerland, United Kingdom, United States, Canada, Japan, South Korea, Australia and
    /// New Zealand).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        const UNION: CountrySet = CountrySet::spelled(EU);
        const EEA: CountrySet = CountrySet::spelled("IS LI NO");
        const MARKETS: CountrySet = CountrySet::spelled("IS LI NO CH GB US CA JP KR AU NZ");
        let mut set = UNION;
        match name {
            "EU" => {}
            "EEA" => set.extend(&EEA),
            "WELL_KNOWN_MARKETS" => set.extend(&MARKETS),
            _ => return None,
        }
        Some(set)
    }
}

impl CountrySet {
    /// Parts of the European Union that have codes of their own: Åland, French Guiana, Guadeloupe, Martinique, Mayotte,
    /// Réunion and Saint Martin.
    #[must_use]
    pub const fn outermost_regions() -> Self {
        Self::spelled("AX GF GP MQ YT RE MF")
    }
}

/// A list of places as a license gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The entries as written: `EU`, `KR`, `UA-43`.
    pub written: Vec<Box<str>>,
    /// Whole countries.
    pub countries: CountrySet,
    /// Countries of which a part is meant: a use there is somewhere in the country, so it is reviewed.
    pub parts: CountrySet,
}

impl Places {
    /// Reads entries; those that are neither a country, a part of one, nor a named set are returned.
    pub fn read<'a>(entries: impl IntoIterator<Item = &'a str>) -> (Self, Vec<&'a str>) {
        let mut places = Self::default();
        let mut unknown = Vec::new();
        for entry in entries {
            let part = entry.split_once('-').and_then(|(country, _)| Country::parse(country));
            if let Some(set) = CountrySet::named(entry) {
                places.countries.extend(&set);
                if matches!(entry, "EU" | "EEA") {
                    places.parts.extend(&CountrySet::outermost_regions());
                }
            } else if let Some(country) = Country::parse(entry) {
                places.countries.insert(country);
            } else if let Some(country) = part {
                places.parts.insert(country);
            } else {
                unknown.push(entry);
                continue;
            }
            places.written.push(entry.into());
        }
        (places, unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_known_in_either_case() {
        assert_eq!(Country::parse("de").unwrap().as_str(), "DE");
        for bad in ["", "D", "XX", "DEU", "UK", "é"] {
            assert!(Country::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(CODES.split_whitespace().count(), 249);
    }

    #[test]
    fn named_sets_hold_their_members() {
        let has = |set: &str, code: &str| CountrySet::named(set).unwrap().contains(Country::parse(code).unwrap());
        assert_eq!(CountrySet::named("EU").unwrap().iter().count(), 27);
        assert!(has("EU", "DE") && !has("EU", "NO") && !has("EU", "GB"));
        assert!(has("EEA", "NO") && !has("EEA", "CH"));
        assert!(has("WELL_KNOWN_MARKETS", "JP") && !has("WELL_KNOWN_MARKETS", "BR"));
    }

    #[test]
    fn places_name_what_they_do_not_know() {
        let (places, unknown) = Places::read(["EU", "KR", "UA-43", "Mars"]);
        assert_eq!(unknown, ["Mars"]);
        assert!(places.parts.contains(Country::parse("UA").unwrap()));
        assert!(!places.countries.contains(Country::parse("UA").unwrap()));
    }
}
