//! Floating-point numbers as text: as Python's `repr()` writes them, and as PostgreSQL casts `double precision`.

/// As Python writes it.
pub(crate) fn python(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = written(number, 16);
    if text.contains(['.', 'e']) { text } else { text + ".0" }
}

/// As PostgreSQL writes it (since 12: the fewest digits that tell it from its neighbours).
pub(crate) fn postgresql(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    written(number, 15)
}

/// The shortest digits, with an exponent where it is less than -4 or reaches `most`.
fn written(number: f64, most: i32) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..most).contains(&exponent) {
        // Without an exponent Rust writes the same digits.
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_python_and_postgresql_do() {
        for (number, by_python, by_postgresql) in [
            (1960.0, "1960.0", "1960"),
            (-2679.5, "-2679.5", "-2679.5"),
            (0.1 + 0.2, "0.30000000000000004", "0.30000000000000004"),
            (1e15, "1000000000000000.0", "1e+15"),
            (123_456_789_012_345.0, "123456789012345.0", "123456789012345"),
            (1e16, "1e+16", "1e+16"),
            (1e-5, "1e-05", "1e-05"),
            (0.0001, "0.0001", "0.0001"),
            (1.5e300, "1.5e+300", "1.5e+300"),
            (f64::NAN, "nan", "NaN"),
            (f64::NEG_INFINITY, "-inf", "-Infinity"),
            (0.0, "0.0", "0"),
            (-0.0, "-0.0", "-0"),
        ] {
            assert_eq!((python(number).as_str(), postgresql(number).as_str()), (by_python, by_postgresql));
        }
    }
}
