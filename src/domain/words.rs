//! Words for values: one macro for closed lists of words (an enum, its list, and the word of each value), and numbers.

/// Declares an enum whose values each have one word.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$value_meta:meta])* $value:ident = $word:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name {
            $( $(#[$value_meta])* $value, )+
        }

        impl $name {
            /// Every value, in order.
            $vis const ALL: &'static [Self] = &[ $( Self::$value, )+ ];

            /// Every word, in order.
            #[allow(dead_code, reason = "not every list is asked for its words")]
            $vis const WORDS: &'static [&'static str] = &[ $( $word, )+ ];

            /// Its word.
            #[must_use]
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$value => $word, )+
                }
            }

            /// The value of a word.
            #[must_use]
            $vis fn parse(word: &str) -> Option<Self> {
                match word {
                    $( $word => Some(Self::$value), )+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use words;

/// A number with its thousands told apart.
pub(crate) struct Grouped(pub(crate) i64);

impl std::fmt::Display for Grouped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let digits = self.0.unsigned_abs().to_string();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Grouped;

    #[test]
    fn thousands_are_told_apart() {
        let check = |number: i64, expected: &str| assert_eq!(Grouped(number).to_string(), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(700_000_001, "700,000,001");
        check(-12_345, "-12,345");
        check(i64::MIN, "-9,223,372,036,854,775,808");
    }
}
