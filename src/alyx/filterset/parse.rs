//! Text read as Python and Django read it: numbers, UUIDs, days and times (ALYX.md 2.1).

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

impl<T> Read<T> {
    fn of(read: Option<T>) -> Self {
        read.map_or(Self::Not, Self::Is)
    }
}

/// What Python's `str.strip()` takes for a space.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Whether digits of other scripts are in a text: Python reads most of them, here they are not read.
fn has_other_digits(text: &str) -> bool {
    text.chars().any(|c| !c.is_ascii() && c.is_numeric())
}

/// A UUID in any form that Python takes, in its usual form.
pub(crate) fn uuid(text: &str) -> Read<String> {
    let text = text.replace("urn:", "").replace("uuid:", "");
    let hex: String = text.trim_matches(['{', '}']).replace('-', "");
    if hex.chars().count() != 32 {
        return Read::Not;
    }
    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        // Python reads them as one number, which may be written in odd ways.
        let odd = |c: char| c.is_ascii_hexdigit() || matches!(c, 'x' | 'X' | '_' | '+') || !c.is_ascii();
        return if hex.chars().all(|c| odd(c) || is_space(c)) { Read::Unsure } else { Read::Not };
    }
    let hex = hex.to_ascii_lowercase();
    Read::Is(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// A number as Python's `Decimal` reads it, which has no greatest one; infinities by name are none.
pub(crate) fn decimal(text: &str) -> Read<f64> {
    if has_other_digits(text) {
        return Read::Unsure;
    }
    let text = text.trim_matches(is_space).replace('_', "");
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    match if digits && plain { text.parse::<f64>().ok() } else { None } {
        // Of the longest exponents Python makes no number.
        Some(number) if number.is_infinite() && text.len() > 12 => Read::Unsure,
        number => Read::of(number),
    }
}

/// A whole number as Python's `int` reads it.
pub(crate) fn whole(text: &str) -> Read<i128> {
    if has_other_digits(text) {
        return Read::Unsure;
    }
    let text = text.trim_matches(is_space);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sound =
        digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !sound {
        return Read::Not;
    }
    text.replace('_', "").trim_start_matches('+').parse().map_or(Read::Unsure, Read::Is)
}

/// A day as Django's `parse_date` reads it.
pub(crate) fn day(text: &str) -> Read<Date> {
    // Python's patterns take digits of every script, and the end of a line for the end of the text.
    if has_other_digits(text) || text.contains(char::is_control) {
        return Read::Unsure;
    }
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
/// zone are not read here: the server's own is not known. Spaces around it are stripped by forms, not here.
pub(crate) fn time(text: &str) -> Read<DateTime> {
    if has_other_digits(text) || text.contains(char::is_control) {
        return Read::Unsure;
    }
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Read::Not;
    }
    let (date_text, time_text) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    // Python takes any character between the two.
    let between = |at: usize| clock(text.get(at..)?.get(text[at..].chars().next()?.len_utf8()..)?);
    if time_text.is_none() && (between(8).is_some() || between(10).is_some()) {
        return Read::Unsure;
    }
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
            assert_eq!(uuid(text), Read::Is(usual.to_owned()));
        }
        assert_eq!(uuid("not-a-uuid"), Read::Not);
        assert_eq!(uuid("0x07813450f5504862ac5c8eb5e0a962"), Read::Unsure);
        assert_eq!(uuid("07813450_5504862ac5c8eb5e0a962f3"), Read::Unsure);
    }

    #[test]
    fn numbers() {
        assert_eq!(decimal(" 1e2 "), Read::Is(100.0));
        assert_eq!(decimal("NaN"), Read::Not);
        assert_eq!(decimal("1e99999999999999999999"), Read::Unsure);
        assert_eq!(decimal("1,2"), Read::Not);
        assert_eq!(decimal("١"), Read::Unsure);
        assert_eq!(whole("001"), Read::Is(1));
        assert_eq!(whole("-1_000"), Read::Is(-1000));
        assert_eq!(whole("1.0"), Read::Not);
        assert_eq!(whole("١"), Read::Unsure);
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
        assert_eq!(time("2024-01-01t10:20"), Read::Is(date(2024, 1, 1).at(10, 20, 0, 0)));
        assert_eq!(time("2024-01-01_10:20"), Read::Unsure);
        assert_eq!(time("2024-01-01T10:20+02:00"), Read::Unsure);
        assert_eq!(time("2024-01-01  10:20"), Read::Unsure);
        assert_eq!(time(" 2024-01-01"), Read::Not);
        assert_eq!(day("2024-01-01\n"), Read::Unsure);
        assert_eq!(time("junk"), Read::Not);
    }
}
