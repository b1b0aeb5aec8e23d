//! Text read as Python and Django read it: numbers, UUIDs, days and times (ALYX.md 2.1).

use jiff::{
    Span,
    civil::{Date, DateTime, Time, date},
};

use super::digits;

/// A text that ought to be a day or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed<T> {
    /// It is this.
    Is(T),
    /// It is none.
    Not,
    /// It may be one, in a way of writing that is not read here.
    Unsure,
}

impl<T> Parsed<T> {
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
pub(crate) fn uuid(text: &str) -> Parsed<String> {
    let text = text.replace("urn:", "").replace("uuid:", "");
    let hex: String = text.trim_matches(['{', '}']).replace('-', "");
    if hex.chars().count() != 32 {
        return Parsed::Not;
    }
    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        // Python reads them as one number, which may be written in odd ways.
        let odd = |c: char| c.is_ascii_hexdigit() || matches!(c, 'x' | 'X' | '_' | '+') || !c.is_ascii();
        return if hex.chars().all(|c| odd(c) || is_space(c)) { Parsed::Unsure } else { Parsed::Not };
    }
    let hex = hex.to_ascii_lowercase();
    Parsed::Is(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// A number as Python's `Decimal` reads it, which has no greatest one; infinities by name are none.
pub(crate) fn decimal(text: &str) -> Parsed<f64> {
    let text = digits::in_ascii(text).trim_matches(is_space).replace('_', "");
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    match if digits && plain { text.parse::<f64>().ok() } else { None } {
        // Of the longest exponents Python makes no number.
        Some(number) if number.is_infinite() && text.len() > 12 => Parsed::Unsure,
        number => Parsed::of(number),
    }
}

/// A whole number as Python's `int` reads it.
pub(crate) fn whole(text: &str) -> Parsed<i128> {
    let text = digits::in_ascii(text);
    let text = text.trim_matches(is_space);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sound =
        digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !sound {
        return Parsed::Not;
    }
    text.replace('_', "").trim_start_matches('+').parse().map_or(Parsed::Unsure, Parsed::Is)
}

/// A day as Django's `parse_date` reads it.
pub(crate) fn day(text: &str) -> Parsed<Date> {
    // Python's patterns take digits of every script, and the end of a line for the end of the text.
    if has_other_digits(text) || text.contains(char::is_control) {
        return Parsed::Unsure;
    }
    let parts: Vec<&str> = text.split('-').collect();
    if let [year, month, day] = parts.as_slice()
        && let (Some(year), Some(month), Some(day)) =
            (digits(year, 4, 4), digits(month, 1, 2), digits(day, 1, 2))
    {
        return match make_day(year, month, day) {
            Some(day) => Parsed::Is(day),
            None => Parsed::Unsure,
        };
    }
    if text.len() == 8
        && let Some(number) = digits(text, 8, 8)
        && let Some(day) = make_day(number / 10_000, number / 100 % 100, number % 100)
    {
        return Parsed::Is(day);
    }
    // Weeks and days of weeks are written with digits at the beginning.
    if text.starts_with(|c: char| c.is_ascii_digit()) && (text.contains('W') || digits(text, 7, 8).is_some())
    {
        return Parsed::Unsure;
    }
    Parsed::Not
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
/// zone are not read here: see [`time_and_offset`]. Spaces around it are stripped by forms, not here.
pub(crate) fn time(text: &str) -> Parsed<DateTime> {
    match time_and_offset(text) {
        Parsed::Is((time, None)) => Parsed::Is(time),
        Parsed::Is(_) | Parsed::Unsure => Parsed::Unsure,
        Parsed::Not => Parsed::Not,
    }
}

/// The same with what is written of its zone: how far it is ahead of UTC.
pub(crate) fn time_and_offset(text: &str) -> Parsed<(DateTime, Option<Span>)> {
    if has_other_digits(text) || text.contains(char::is_control) {
        return Parsed::Unsure;
    }
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Parsed::Not;
    }
    let (date_text, time_text) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    // Python takes any character between the two, and a time of day that begins with two digits.
    let between = |at: usize| {
        let rest = text.get(at..)?;
        digits(rest.get(rest.chars().next()?.len_utf8()..)?.get(..2)?, 2, 2)
    };
    if time_text.is_none() && (between(8).is_some() || between(10).is_some()) {
        return Parsed::Unsure;
    }
    let date = match day(date_text) {
        Parsed::Is(date) => date,
        Parsed::Not => return Parsed::Not,
        Parsed::Unsure => return Parsed::Unsure,
    };
    let Some(time_text) = time_text else { return Parsed::Is((date.at(0, 0, 0, 0), None)) };
    let (time_text, offset) = zone(time_text);
    match clock(time_text) {
        Some(time) => Parsed::Is((date.to_datetime(time), offset)),
        None if is_no_clock(time_text) => Parsed::Not,
        None => Parsed::Unsure,
    }
}

/// A time of day, and how far its zone is ahead of UTC where that is written: `Z`, `+HH:MM`, `+HHMM`, `+HH`.
fn zone(text: &str) -> (&str, Option<Span>) {
    if let Some(time) = text.strip_suffix('Z') {
        return (time, Some(Span::new()));
    }
    let Some(at) = text.rfind(['+', '-']) else { return (text, None) };
    let (hours, minutes) = match text[at + 1..].split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None => text[at + 1..].split_at_checked(2).unwrap_or_default(),
    };
    let minutes = if minutes.is_empty() { Some(0) } else { digits(minutes, 2, 2) };
    let (Some(hours), Some(minutes)) = (digits(hours, 2, 2), minutes.filter(|minutes| *minutes < 60)) else {
        return (text, None);
    };
    if hours > 23 {
        return (text, None);
    }
    let minutes = i64::from(hours * 60 + minutes);
    let ahead = if text[at..].starts_with('-') { -minutes } else { minutes };
    (&text[..at], Span::new().try_minutes(ahead).ok())
}

/// Whether a time of day is written as one, and is none: Python takes no hour beyond the 23rd (ALYX.md 2.1).
fn is_no_clock(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<&str> = whole.split(':').collect();
    let is_written = (2..=3).contains(&parts.len())
        && parts.iter().all(|part| digits(part, 2, 2).is_some())
        && (fraction.is_empty() && !text.contains('.') || digits(fraction, 1, 6).is_some());
    let beyond = |part: &&str, most: u32| digits(part, 2, 2).is_some_and(|number| number > most);
    // A second of 60 is none either; of an hour of 24 later versions of Python make the next day where nothing follows.
    let (hour, others) = parts.split_first().map_or((&"", &[][..]), |(hour, others)| (hour, others));
    is_written && (beyond(hour, 24) || others.iter().any(|part| beyond(part, 59)))
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

/// A day in a form of an older Alyx: `D/M/YYYY`.
pub(crate) fn day_first(text: &str) -> Parsed<Date> {
    let text = text.trim();
    if has_other_digits(text) || text.contains(char::is_control) || text.contains("/ ") {
        return Parsed::Unsure;
    }
    let parts: Vec<&str> = text.split('/').collect();
    let [day, month, year] = parts.as_slice() else { return Parsed::Not };
    match (digits(day, 1, 2), digits(month, 1, 2), digits(year, 4, 4)) {
        (Some(day), Some(month), Some(year)) => make_day(year, month, day).map_or(Parsed::Not, Parsed::Is),
        _ => Parsed::Not,
    }
}

/// Whether a text is a time as to its form, and none that there is.
pub(crate) fn is_beyond_clocks(text: &str) -> bool {
    text.split_once(['T', 't', ' ']).is_some_and(|(_, time)| is_no_clock(zone(time).0))
}

/// A day in a form: `YYYY-MM-DD` or `M/D/Y`.
pub(crate) fn form_day(text: &str) -> Parsed<Date> {
    let text = text.trim();
    if has_other_digits(text) {
        return Parsed::Unsure;
    }
    if let [month, day, year] = text.split('/').collect::<Vec<_>>().as_slice()
        && let (Some(month), Some(day)) = (digits(month, 1, 2), digits(day, 1, 2))
    {
        return match digits(year, 4, 4).map(|year| make_day(year, month, day)) {
            Some(Some(day)) => Parsed::Is(day),
            Some(None) => Parsed::Not,
            None => Parsed::Unsure,
        };
    }
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let lower = text.to_lowercase();
    if months.iter().any(|month| lower.contains(month)) {
        return Parsed::Unsure;
    }
    match day(text) {
        // The form takes one way of writing; a day that there is not is none.
        Parsed::Is(_) | Parsed::Unsure if !text.contains('-') => Parsed::Not,
        Parsed::Unsure => Parsed::Not,
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
            assert_eq!(uuid(text), Parsed::Is(usual.to_owned()));
        }
        assert_eq!(uuid("not-a-uuid"), Parsed::Not);
        assert_eq!(uuid("0x07813450f5504862ac5c8eb5e0a962"), Parsed::Unsure);
        assert_eq!(uuid("07813450_5504862ac5c8eb5e0a962f3"), Parsed::Unsure);
    }

    #[test]
    fn numbers() {
        assert_eq!(decimal(" 1e2 "), Parsed::Is(100.0));
        assert_eq!(decimal("NaN"), Parsed::Not);
        assert_eq!(decimal("1e99999999999999999999"), Parsed::Unsure);
        assert_eq!(decimal("1,2"), Parsed::Not);
        assert_eq!(decimal("١"), Parsed::Is(1.0));
        assert_eq!(decimal("²"), Parsed::Not);
        assert_eq!(whole("001"), Parsed::Is(1));
        assert_eq!(whole("-1_000"), Parsed::Is(-1000));
        assert_eq!(whole("1.0"), Parsed::Not);
        assert_eq!(whole("١٢"), Parsed::Is(12));
        assert_eq!(whole("²"), Parsed::Not);
    }

    #[test]
    fn days_and_times() {
        assert_eq!(day("2024-1-1"), Parsed::Is(date(2024, 1, 1)));
        assert_eq!(day("20240101"), Parsed::Is(date(2024, 1, 1)));
        assert_eq!(day("junk"), Parsed::Not);
        assert_eq!(form_day("13/01/2020"), Parsed::Not);
        assert_eq!(form_day("1/13/2020"), Parsed::Is(date(2020, 1, 13)));
        assert_eq!(time("2024-01-01"), Parsed::Is(date(2024, 1, 1).at(0, 0, 0, 0)));
        assert_eq!(time("2024-01-01T10:20:30.5"), Parsed::Is(date(2024, 1, 1).at(10, 20, 30, 500_000_000)));
        assert_eq!(time("2024-01-01t10:20"), Parsed::Is(date(2024, 1, 1).at(10, 20, 0, 0)));
        assert_eq!(time("2024-01-01_10:20"), Parsed::Unsure);
        // ISO 8601's short form after any character: the second is a time of day, the third its fraction.
        for text in ["20240101,2020", "20240101,202001", "20240101,20200101", "20240101x20", "2024-01-01x20"]
        {
            assert_eq!(time(text), Parsed::Unsure, "{text}");
        }
        assert_eq!(form_day("２０２４-01-01"), Parsed::Unsure);
        assert_eq!(time("2024-01-01T10:20+02:00"), Parsed::Unsure);
        let with_zone = |text: &str, minutes: i64| {
            let ten = date(2024, 1, 1).at(10, 20, 0, 0);
            let Parsed::Is((time, Some(ahead))) = time_and_offset(text) else { panic!("{text}") };
            assert_eq!((time, ahead.get_minutes()), (ten, minutes), "{text}");
        };
        with_zone("2024-01-01T10:20+02:00", 120);
        with_zone("2024-01-01T10:20-0130", -90);
        with_zone("2024-01-01 10:20Z", 0);
        assert_eq!(time("2024-01-01T25:00"), Parsed::Not);
        assert_eq!(time("2024-01-01T24:00"), Parsed::Unsure);
        assert_eq!(time("2024-01-01  10:20"), Parsed::Unsure);
        assert_eq!(time(" 2024-01-01"), Parsed::Not);
        assert_eq!(day("2024-01-01\n"), Parsed::Unsure);
        assert_eq!(time("junk"), Parsed::Not);
    }
}
