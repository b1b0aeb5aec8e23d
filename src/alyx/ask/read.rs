//! Text read as Python and Django read it: numbers, UUIDs, days and times (REST.md 2.1).

use jiff::civil::{Date, DateTime, Time, date};

/// A text that ought to be a day or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read<T> {
    /// It is this.
    Is(T),
    /// It is none.
    Not,
    /// It may be one, in a way of writing that is not read here.
    Unsure,
}

/// A UUID in any form that Python takes, in its usual form.
pub(crate) fn uuid(text: &str) -> Option<String> {
    let text = text.replace("urn:", "").replace("uuid:", "");
    let hex: String = text.trim_matches(['{', '}']).replace('-', "");
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let hex = hex.to_ascii_lowercase();
    Some(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// A number as Python's `Decimal` reads it, which has no greatest one; infinities by name are none.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    let text = text.trim().replace('_', "");
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if digits && plain { text.parse().ok() } else { None }
}

/// A whole number as Python's `int` reads it.
pub(crate) fn whole(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sound =
        digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if sound { text.replace('_', "").trim_start_matches('+').parse().ok() } else { None }
}

/// A day as Django's `parse_date` reads it.
pub(crate) fn day(text: &str) -> Read<Date> {
    let parts: Vec<&str> = text.split('-').collect();
    if let [year, month, day] = parts.as_slice()
        && let (Some(year), Some(month), Some(day)) =
            (digits(year, 4, 4), digits(month, 1, 2), digits(day, 1, 2))
    {
        return match make_day(year, month, day) {
            Some(day) => Read::Is(day),
            None => Read::Unsure,
        };
    }
    if text.len() == 8
        && let Some(number) = digits(text, 8, 8)
        && let Some(day) = make_day(number / 10_000, number / 100 % 100, number % 100)
    {
        return Read::Is(day);
    }
    // Weeks and days of weeks are written with digits at the beginning.
    if text.starts_with(|c: char| c.is_ascii_digit()) && (text.contains('W') || digits(text, 7, 8).is_some())
    {
        return Read::Unsure;
    }
    Read::Not
}

fn make_day(year: u32, month: u32, day: u32) -> Option<Date> {
    let (year, month, day) = (i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    // Python knows no year 0.
    Date::new(year, month, day).ok().filter(|day| *day >= date(1, 1, 1))
}

fn digits(text: &str, least: usize, most: usize) -> Option<u32> {
    let sound = (least..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if sound { text.parse().ok() } else { None }
}

/// A date and time as Django's `parse_datetime` reads it, with a day alone as its midnight. Times with a
/// zone are not read here: the server's own is not known.
pub(crate) fn time(text: &str) -> Read<DateTime> {
    let text = text.trim();
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Read::Not;
    }
    let (date_text, time_text) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time.trim_start())),
        None => (text, None),
    };
    let date = match day(date_text) {
        Read::Is(date) => date,
        Read::Not => return Read::Not,
        Read::Unsure => return Read::Unsure,
    };
    let Some(time_text) = time_text else { return Read::Is(date.at(0, 0, 0, 0)) };
    match clock(time_text) {
        Some(time) => Read::Is(date.to_datetime(time)),
        None => Read::Unsure,
    }
}

/// `HH:MM[:SS[.ffffff]]`
pub(crate) fn clock(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':').map(|part| digits(part, 2, 2));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    let nanoseconds = if fraction.is_empty() && !text.contains('.') {
        0
    } else {
        let micro = digits(fraction, 1, 6)?;
        micro * 10_u32.pow(9 - u32::try_from(fraction.len()).ok()?)
    };
    let small = |number: u32| i8::try_from(number).ok();
    let nanoseconds = i32::try_from(nanoseconds).ok()?;
    if parts.next().is_some() {
        return None;
    }
    Time::new(small(hour)?, small(minute)?, small(second)?, nanoseconds).ok()
}

/// A day in a form: `YYYY-MM-DD` or `M/D/Y`.
pub(crate) fn form_day(text: &str) -> Read<Date> {
    let text = text.trim();
    if let [month, day, year] = text.split('/').collect::<Vec<_>>().as_slice()
        && let (Some(month), Some(day)) = (digits(month, 1, 2), digits(day, 1, 2))
    {
        return match digits(year, 4, 4).map(|year| make_day(year, month, day)) {
            Some(Some(day)) => Read::Is(day),
            Some(None) => Read::Not,
            None => Read::Unsure,
        };
    }
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let lower = text.to_lowercase();
    if months.iter().any(|month| lower.contains(month)) {
        return Read::Unsure;
    }
    match day(text) {
        // The form takes one way of writing; a day that there is not is none.
        Read::Is(_) | Read::Unsure if !text.contains('-') => Read::Not,
        Read::Unsure => Read::Not,
        read => read,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn uuids_in_every_form() {
        let usual = "07813450-f550-4862-ac5c-8eb5e0a962f3";
        for text in
            [usual, "{07813450F5504862AC5C8EB5E0A962F3}", "urn:uuid:07813450-f550-4862-ac5c-8eb5e0a962f3"]
        {
            assert_eq!(uuid(text).as_deref(), Some(usual));
        }
        assert_eq!(uuid("not-a-uuid"), None);
    }

    #[test]
    fn numbers() {
        assert_eq!(decimal(" 1e2 "), Some(100.0));
        assert_eq!(decimal("NaN"), None);
        assert_eq!(decimal("1,2"), None);
        assert_eq!(whole("001"), Some(1));
        assert_eq!(whole("-1_000"), Some(-1000));
        assert_eq!(whole("1.0"), None);
    }

    #[test]
    fn days_and_times() {
        assert_eq!(day("2024-1-1"), Read::Is(date(2024, 1, 1)));
        assert_eq!(day("20240101"), Read::Is(date(2024, 1, 1)));
        assert_eq!(day("junk"), Read::Not);
        assert_eq!(form_day("13/01/2020"), Read::Not);
        assert_eq!(form_day("1/13/2020"), Read::Is(date(2020, 1, 13)));
        assert_eq!(time("2024-01-01"), Read::Is(date(2024, 1, 1).at(0, 0, 0, 0)));
        assert_eq!(time("2024-01-01T10:20:30.5"), Read::Is(date(2024, 1, 1).at(10, 20, 30, 500_000_000)));
        assert_eq!(time("2024-01-01T10:20+02:00"), Read::Unsure);
        assert_eq!(time("junk"), Read::Not);
    }
}
