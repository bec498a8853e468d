//! `--as-of`: a moment of the registry.

use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Which moment of the registry is asked for.
#[derive(Clone, Debug, Args)]
pub(super) struct MomentArguments {
    /// As the registry stood at a revision (1042), at a time (2026-01-31T18:00:00Z), or when a day began (2026-01-31, UTC).
    #[arg(long, value_name = "REVISION|TIME", value_parser = read)]
    as_of: Option<Moment>,
}

/// A moment of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Revision(i64),
    Time(Timestamp),
}

impl MomentArguments {
    /// `as_of_revision` of a request.
    pub(super) fn revision(&self) -> i64 {
        match self.as_of {
            Some(Moment::Revision(revision)) => revision,
            Some(Moment::Time(_)) | None => 0,
        }
    }

    /// `as_of_time` of a request.
    pub(super) fn time(&self) -> Option<prost_types::Timestamp> {
        match self.as_of {
            Some(Moment::Time(at)) => {
                Some(prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() })
            }
            Some(Moment::Revision(_)) | None => None,
        }
    }

    /// Whether one is asked for.
    pub(super) fn is_given(&self) -> bool {
        self.as_of.is_some()
    }
}

fn read(text: &str) -> Result<Moment, String> {
    if let Ok(revision) = text.parse::<i64>() {
        return if revision > 0 { Ok(Moment::Revision(revision)) } else { Err("revisions begin at 1".to_owned()) };
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Moment::Time(at));
    }
    // A text with a time has been read, or lacks its offset: then it is no day.
    let day = (text.len() == "2026-01-31".len()).then(|| text.parse::<Date>().ok()).flatten();
    let began = day.and_then(|day| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok());
    began.map(Moment::Time).ok_or_else(|| {
        "write a revision (1042), a time with its offset (2026-01-31T18:00:00Z), or a day (2026-01-31)".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_revision_a_time_or_a_day() {
        let at = |text: &str| Ok(Moment::Time(text.parse().unwrap()));
        assert_eq!(read("1042"), Ok(Moment::Revision(1042)));
        assert_eq!(read("2026-01-31T18:00:00+01:00"), at("2026-01-31T17:00:00Z"));
        assert_eq!(read("2026-01-31"), at("2026-01-31T00:00:00Z"));
        for text in ["", "0", "-3", "yesterday", "2026-02-30", "2026-01-31T18:00:00", "2026-01"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
