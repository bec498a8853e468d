//! One macro for closed lists of words: an enum, its list, and the word of each value.

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
