//! The order of texts in Alyx's database, which is that of a collation nobody shows (ALYX.md 1, "Collation").
//!
//! What a list that Alyx orders by text shows, is which collations are not its own ([`Collations::refuted`]). Of the others all
//! must agree.

use std::cmp::Ordering;

/// Collations that an Alyx's database may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Collations(u8);

impl Default for Collations {
    fn default() -> Self {
        Self::ANY
    }
}

impl Collations {
    /// By bytes.
    pub(crate) const C: Self = Self(1);
    /// Those of glibc, such as `en_US.UTF-8`.
    pub(crate) const GLIBC: Self = Self(2);
    /// ICU's root.
    pub(crate) const ICU: Self = Self(4);
    /// Each of them, and others.
    pub(crate) const ANY: Self = Self(7);

    /// Those that are known here.
    pub(crate) const KNOWN: [Self; 3] = [Self::C, Self::GLIBC, Self::ICU];

    /// Without these; where nothing is left it is one that is not known here.
    pub(crate) fn without(self, others: Self) -> Self {
        match self.0 & !others.0 {
            0 => Self::ANY,
            left => Self(left),
        }
    }

    /// Whether it is C's alone.
    pub(crate) fn is_by_bytes(self) -> bool {
        self == Self::C
    }

    /// As SQL passes them on.
    pub(crate) fn number(self) -> i64 {
        self.0.into()
    }

    /// What [`Self::number`] made.
    pub(crate) fn of_number(number: i64) -> Self {
        u8::try_from(number).ok().filter(|bits| (1..=7).contains(bits)).map_or(Self::ANY, Self)
    }

    /// Whether texts are ordered by [`key`]: by their bytes otherwise.
    pub(crate) fn has_keys(self) -> bool {
        self == Self::GLIBC || self == Self::ICU
    }

    /// The order of two texts; none where it is not certain.
    pub(crate) fn order(self, first: &str, second: &str) -> Option<Ordering> {
        if first == second || first.is_empty() || second.is_empty() {
            return Some(first.cmp(second));
        }
        if self == Self::ANY {
            let (low, high) = if first < second { (first, second) } else { (second, first) };
            return is_certain(low, high).then(|| first.cmp(second));
        }
        let mut orders = Self::KNOWN.into_iter().filter(|one| self.0 & one.0 != 0);
        let order = orders.next()?.by_one(first, second)?;
        orders.all(|one| one.by_one(first, second) == Some(order)).then_some(order)
    }

    fn by_one(self, first: &str, second: &str) -> Option<Ordering> {
        match self {
            Self::C => Some(first.cmp(second)),
            Self::GLIBC => by_glibc(first, second),
            _ if is_printable(first) && is_printable(second) => {
                Some(key(first, Self::ICU).cmp(&key(second, Self::ICU)))
            }
            _ => None,
        }
    }

    /// The collations which would have these texts in another order than this one.
    pub(crate) fn refuted<'t>(listed: impl IntoIterator<Item = &'t str>) -> Vec<Self> {
        let (mut refuted, mut before) = (Vec::new(), None);
        for own in listed {
            if let Some(before) = before.replace(own) {
                for one in Self::KNOWN {
                    if !refuted.contains(&one) && one.by_one(before, own) == Some(Ordering::Greater) {
                        refuted.push(one);
                    }
                }
            }
        }
        refuted
    }
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Glibc first compares letters and digits alone, whatever their case; then case, small letters first. What else stands
/// between these is compared last, in an order that is not known here.
fn by_glibc(first: &str, second: &str) -> Option<Ordering> {
    let is_known = |text: &str| is_printable(text) && !text.contains('$');
    if !is_known(first) || !is_known(second) {
        return None;
    }
    let plain = |text: &str| {
        text.bytes()
            .filter(u8::is_ascii_alphanumeric)
            .map(|byte| byte.to_ascii_lowercase())
            .collect::<Vec<u8>>()
    };
    match plain(first).cmp(&plain(second)) {
        Ordering::Equal => {
            let cases =
                |text: &str| text.bytes().map(|byte| byte.is_ascii_uppercase()).collect::<Vec<bool>>();
            first.eq_ignore_ascii_case(second).then(|| cases(first).cmp(&cases(second)))
        }
        order => Some(order),
    }
}

/// ICU's order of what stands beside letters and digits.
const ICU_ORDER: &[u8] = b" _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$";

/// What orders a text as its collation does, byte by byte, wherever [`Collations::order`] knows the order.
pub(crate) fn key(text: &str, collation: Collations) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 * text.len() + 1);
    for byte in text.bytes() {
        match ICU_ORDER.iter().position(|known| *known == byte) {
            _ if byte.is_ascii_alphanumeric() => key.push(byte.to_ascii_lowercase()),
            _ if collation == Collations::GLIBC && byte.is_ascii() => {}
            Some(at) => key.push(u8::try_from(at + 1).unwrap_or_default()),
            None => key.push(byte),
        }
    }
    key.push(0);
    key.extend(text.bytes().map(|byte| 1 + u8::from(byte.is_ascii_uppercase())));
    key
}

/// Whether each collation that an Alyx may have (C, those of glibc, ICU's) puts these two in the order of their bytes, in which
/// the first comes before the second.
///
/// After what both begin with, letters and digits stand in one order in all of them, but for the case of letters; other
/// characters are skipped by some, and lie elsewhere in others.
fn is_certain(first: &str, second: &str) -> bool {
    let same = first.bytes().zip(second.bytes()).take_while(|(a, b)| a == b).count();
    let next = |text: &str| text.as_bytes().get(same).copied();
    match (next(first), next(second)) {
        (None, None) => true,
        (None, Some(next)) => next.is_ascii_alphanumeric(),
        (Some(a), Some(b)) => {
            let plain = a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric();
            plain && a.to_ascii_lowercase() < b.to_ascii_lowercase()
        }
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_all_collations_agree_on_is_certain() {
        let certain = [
            ("probe00", "probe01"),
            ("a", "b"),
            ("A", "b"),
            ("9", "a"),
            ("probe", "probe0"),
            ("a-b", "a-c"),
            ("x", "x"),
            ("", "_"),
        ];
        for (first, second) in certain {
            assert!(Collations::ANY.order(first, second).is_some(), "{first} {second}");
        }
        // Case, punctuation, other scripts.
        let uncertain = [
            ("B", "a"),
            ("A", "a"),
            ("a b", "ab"),
            ("a_b", "ab"),
            ("a", "a_"),
            ("a", "é"),
            ("a-b", "a.b"),
            ("Z", "_"),
        ];
        for (first, second) in uncertain {
            assert_eq!(Collations::ANY.order(first, second), None, "{first} {second}");
            assert_eq!(Collations::ANY.order(second, first), None, "{first} {second}");
        }
    }

    /// As PostgreSQL 15 ordered them with `en_US.UTF-8` of glibc 2.36 and with `und-x-icu`.
    #[test]
    fn orders_as_postgresql_does() {
        let glibc = ["007", "_ibl_a", "ibl_b", "probe01", "Probe01", "probe02", "Probe02", "x y", "xz"];
        let icu = ["_ibl_a", "007", "ibl_b", "probe01", "Probe01", "probe02", "Probe02", "x y", "xz"];
        for (collation, texts) in [(Collations::GLIBC, glibc), (Collations::ICU, icu)] {
            for (at, first) in texts.iter().enumerate() {
                for second in &texts[at + 1..] {
                    assert_eq!(collation.order(first, second), Some(Ordering::Less), "{first} {second}");
                    assert_eq!(collation.order(second, first), Some(Ordering::Greater), "{first} {second}");
                    assert!(key(first, collation) < key(second, collation), "{first} {second}");
                }
            }
        }
        for (first, second) in [("a_b", "ab"), ("a$", "b"), ("a", "é")] {
            assert_eq!(Collations::GLIBC.order(first, second), None, "{first} {second}");
        }
    }

    #[test]
    fn a_list_tells_whose_order_it_is_not() {
        let left = |texts: &[&str]| {
            let refuted = Collations::refuted(texts.iter().copied());
            refuted.into_iter().fold(Collations::ANY, Collations::without)
        };
        assert_eq!(left(&["A", "b", "c"]), Collations::ANY);
        assert_eq!(left(&["B", "a"]), Collations::C);
        assert_eq!(left(&["a", "B", "_c", "d"]), Collations::GLIBC);
        assert_eq!(left(&["_c", "a", "B"]), Collations::ICU);
        // None that is known here.
        assert_eq!(left(&["B", "a", "A", "_", "0"]), Collations::ANY);
    }
}
