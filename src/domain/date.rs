//! Dates as sources give them: a year, a month or a day. No clock.

use std::fmt;
use std::num::NonZeroU16;

/// A date of day, month or year precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date {
    // Never 0, so that an absent date takes no more room: findings are many.
    year: NonZeroU16,
    /// 0 when not given.
    month: u8,
    /// 0 when not given.
    day: u8,
}

/// A text is no date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no date: write `YYYY`, `YYYY-MM` or `YYYY-MM-DD`")]
pub struct DateError {
    given: String,
}

impl Date {
    /// A day of the calendar; `None` when there is no such day.
    #[must_use]
    pub fn from_day(year: u16, month: u8, day: u8) -> Option<Self> {
        let fits = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        NonZeroU16::new(year).filter(|_| fits).map(|year| Self { year, month, day })
    }

    /// The first day of a year.
    #[must_use]
    pub fn first_of(year: u16) -> Self {
        Self { year: NonZeroU16::new(year).unwrap_or(NonZeroU16::MIN), month: 1, day: 1 }
    }

    /// Parses `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
    ///
    /// # Errors
    /// [`DateError`] when it is neither, or no day of the calendar.
    pub fn parse(text: &str) -> Result<Self, DateError> {
        Self::read(text).ok_or_else(|| DateError { given: super::name::shown(text) })
    }

    fn read(text: &str) -> Option<Self> {
        let digits = |part: &str, len: usize| {
            let fits = part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
            fits.then(|| part.parse::<u16>().ok()).flatten()
        };
        let mut parts = text.split('-');
        let year = NonZeroU16::new(digits(parts.next()?, 4)?)?;
        let Some(month) = parts.next() else {
            return Some(Self { year, month: 0, day: 0 });
        };
        let month = u8::try_from(digits(month, 2)?).ok().filter(|m| (1..=12).contains(m))?;
        let Some(day) = parts.next() else {
            return Some(Self { year, month, day: 0 });
        };
        let day = u8::try_from(digits(day, 2)?).ok()?;
        if parts.next().is_some() {
            return None;
        }
        Self::from_day(year.get(), month, day)
    }

    /// Whether it names a day.
    #[must_use]
    pub fn has_day(self) -> bool {
        self.day != 0
    }

    /// Whether it names a month.
    #[must_use]
    pub fn has_month(self) -> bool {
        self.month != 0
    }

    /// Its first day, for comparing.
    #[must_use]
    pub fn first_day(self) -> Self {
        Self { year: self.year, month: self.month.max(1), day: self.day.max(1) }
    }

    /// Its last day, for comparing.
    #[must_use]
    pub fn last_day(self) -> Self {
        let month = if self.month == 0 { 12 } else { self.month };
        let day = if self.day == 0 { days_in(self.year.get(), month) } else { self.day };
        Self { year: self.year, month, day }
    }

    /// The calendar month before it, as `YYYY-MM`; `None` when its month is not known.
    #[must_use]
    pub fn month_before(self) -> Option<Self> {
        match self.month {
            0 => None,
            1 => NonZeroU16::new(self.year.get() - 1).map(|year| Self { year, month: 12, day: 0 }),
            month => Some(Self { year: self.year, month: month - 1, day: 0 }),
        }
    }
}

fn days_in(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.year)?;
        if self.month != 0 {
            write!(f, "-{:02}", self.month)?;
        }
        if self.day != 0 {
            write!(f, "-{:02}", self.day)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_each_precision_round_trip() {
        for text in ["2024", "2024-02", "2024-02-29", "2025-12-31", "1970-01-01"] {
            assert_eq!(Date::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "24", "2025-25-11", "2025-02-31", "2024-1", "2024-01-01-01", "0000", "2024-00", "２０２４"]
        {
            assert!(Date::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_month_before_crosses_the_year() {
        let before = |text| Date::parse(text).unwrap().month_before().map(|d| d.to_string());
        assert_eq!(before("2024-12-06").as_deref(), Some("2024-11"));
        assert_eq!(before("2025-01-21").as_deref(), Some("2024-12"));
        assert_eq!(before("2024"), None);
    }

    #[test]
    fn spans_compare_by_their_ends() {
        let date = |text| Date::parse(text).unwrap();
        assert_eq!(date("2024-02").last_day(), date("2024-02-29"));
        assert_eq!(date("2023").last_day(), date("2023-12-31"));
        assert!(date("2024-02").first_day() > date("2024-01-31"));
    }
}
