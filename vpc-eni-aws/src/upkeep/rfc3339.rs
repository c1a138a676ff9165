//! Reads the times that ENIs are stamped with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The moment that an RFC 3339 text names, to the second; `None` if it names none, or one before 1970.
///
/// Others stamp too: with fractions of seconds, and in the zone that their machine is set to.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't'])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let within = (1..=12).contains(&month)
        && (1..=month_len(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !within {
        return None;
    }
    let zone = zone_offset_s(fraction_skipped(rest)?)?;
    let local = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let secs = u64::try_from(local - zone).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(secs))
}

/// Three numbers of these widths.
fn numbers(text: &str, between: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(between);
    let mut next = |width: usize| {
        let part = parts.next()?;
        let digits = part.len() == width && part.bytes().all(|b| b.is_ascii_digit());
        if digits { part.parse::<i64>().ok() } else { None }
    };
    let numbers = [next(widths[0])?, next(widths[1])?, next(widths[2])?];
    parts.next().is_none().then_some(numbers)
}

/// What follows the fraction of a second, if there is one.
fn fraction_skipped(text: &str) -> Option<&str> {
    match text.strip_prefix('.') {
        None => Some(text),
        Some(rest) => {
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            (zone.len() < rest.len()).then_some(zone)
        }
    }
}

/// Seconds that the zone's clocks are ahead of UTC.
fn zone_offset_s(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let [hours, minutes, _] = numbers(&format!("{hours}:{minutes}:00"), ':', [2, 2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn month_len(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a Gregorian date: Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tags::rfc3339;

    fn secs(text: &str) -> Option<u64> {
        parse(text).and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|d| d.as_secs())
    }

    #[test]
    fn stamps_of_all_who_stamp_are_read() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2026-11-24T07:05:00Z", 1_795_503_900),
            ("2026-11-24t07:05:00z", 1_795_503_900),
            ("2026-11-24T09:05:00+02:00", 1_795_503_900),
            ("2026-11-23T20:35:00-10:30", 1_795_503_900),
            ("2026-11-24T07:05:00.123456789Z", 1_795_503_900),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(secs(text), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in [
            "",
            "yesterday",
            "1795503900",
            "2026-11-24",
            "2026-11-24 07:05:00Z",
            "2026-11-24T07:05:00",
            "2026-11-24T07:05Z",
            "2026-11-24T07:05:00.Z",
            "2026-11-24T07:05:00Z ",
            "2026-11-24T07:05:00+0200",
            "2026-11-24T07:05:00+24:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-11-24T24:00:00Z",
            "+026-11-24T07:05:00Z",
            "26-11-24T07:05:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-24T0é:05:00Z",
        ] {
            assert_eq!(secs(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_we_stamp_is_read_back(secs_then in 0u64..250_000_000_000) {
            let text = rfc3339(UNIX_EPOCH + Duration::from_secs(secs_then));
            prop_assert_eq!(secs(&text), Some(secs_then), "{}", text);
        }

        #[test]
        fn no_text_panics(text in ".{0,40}", date in "[0-9]{4}-[0-9]{2}-[0-9]{2}T.{0,20}") {
            let _ = (parse(&text), parse(&date));
        }
    }
}
