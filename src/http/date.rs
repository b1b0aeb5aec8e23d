//! Dates in HTTP fields (RFC 9110 5.6.7): the three forms, and nothing that only resembles them.

use crate::clock::Millis;

/// The point in time that a date names, `None` if it is none. Names of days, months and the zone may be in either
/// case, as many servers send them.
pub fn parse(text: &str) -> Option<Millis> {
    let text = text.trim_matches([' ', '\t']);
    let since =
        httpdate::parse_http_date(&usual_case(text)).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Millis::try_from(since.as_millis()).ok()
}

/// `THU, 18 aug 2050 02:01:18 gmt` as `Thu, 18 Aug 2050 02:01:18 GMT`.
fn usual_case(text: &str) -> String {
    let mut before = None;
    let mut usual: String = text
        .chars()
        .map(|c| {
            let inside = before.replace(c).is_some_and(|before: char| before.is_ascii_alphabetic());
            if inside { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() }
        })
        .collect();
    if usual.ends_with(" Gmt") {
        usual.replace_range(usual.len() - 3.., "GMT");
    }
    usual
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_and_nothing_else() {
        let at = Some(2_544_400_878_000);
        for date in [
            "Thu, 18 Aug 2050 02:01:18 GMT",
            "Thursday, 18-Aug-50 02:01:18 GMT",
            "Thu Aug 18 02:01:18 2050",
            "THU, 18 aug 2050 02:01:18 gMT",
        ] {
            assert_eq!(parse(date), at, "{date}");
        }
        for none in [
            "",
            "0",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "é, 18 Aug 2050 02:01:18 GMT",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
