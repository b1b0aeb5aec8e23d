//! How heavy laboratory mice are at an age: the reference table of Alyx 3.6.1 (`actions/static/ref_weighings_*.csv`).

/// The age in weeks at which both tables begin.
const FIRST_WEEK: i64 = 4;

/// Mean and standard deviation in grams, for each week; after the last the weight stays.
const FEMALE: &[(f64, f64)] = &[
    (14.1, 1.8),
    (16.9, 1.2),
    (17.5, 1.0),
    (18.2, 1.1),
    (18.7, 1.2),
    (19.3, 1.2),
    (19.8, 1.3),
    (20.2, 1.4),
    (20.7, 1.4),
    (21.7, 1.5),
    (22.0, 1.6),
    (22.3, 1.7),
    (22.6, 1.8),
    (22.6, 2.0),
    (23.0, 2.1),
    (23.5, 2.3),
    (23.6, 2.3),
];

const MALE: &[(f64, f64)] = &[
    (15.7, 2.2),
    (19.4, 1.8),
    (21.1, 1.5),
    (22.9, 1.5),
    (24.0, 1.5),
    (25.0, 1.6),
    (25.6, 1.7),
    (26.7, 1.7),
    (27.7, 1.7),
    (28.4, 1.9),
    (29.1, 1.9),
    (29.7, 2.2),
    (30.1, 2.1),
    (30.7, 2.2),
    (31.1, 2.3),
    (31.4, 2.4),
    (31.8, 2.5),
];

/// Mean and standard deviation of the weight, in grams, at an age in weeks. Whoever is not male counts as
/// female, and an age outside the table as its nearest end.
pub(super) fn weight(male: bool, weeks: i64) -> (f64, f64) {
    let table = if male { MALE } else { FEMALE };
    let week = usize::try_from(weeks - FIRST_WEEK).unwrap_or(0);
    table.get(week).or(table.last()).copied().unwrap_or_default()
}
