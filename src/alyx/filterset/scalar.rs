//! What a column holds and a record shows: values that can be compared, and what is taken of them.

use jiff::civil::{Date, DateTime};

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Text(String),
    Number(f64),
    Bool(bool),
    Time(DateTime),
    Day(Date),
}

/// What is taken of a value before it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transform {
    None,
    Date,
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    WeekDay,
    Time,
    Item(usize),
}

pub(crate) fn taken(day: Date, transform: Transform) -> Scalar {
    let number = |number: i16| Scalar::Number(f64::from(number));
    match transform {
        Transform::Year => number(day.year()),
        Transform::Month => number(day.month().into()),
        Transform::Day => number(day.day().into()),
        // Sunday is 1.
        Transform::WeekDay => number(i16::from(day.weekday().to_sunday_one_offset())),
        _ => Scalar::Day(day),
    }
}

pub(crate) fn taken_of_time(time: DateTime, transform: Transform) -> Scalar {
    let number = |number: i8| Scalar::Number(f64::from(number));
    match transform {
        Transform::Date | Transform::Year | Transform::Month | Transform::Day | Transform::WeekDay => {
            taken(time.date(), transform)
        }
        Transform::Hour => number(time.hour()),
        Transform::Minute => number(time.minute()),
        Transform::Second => number(time.second()),
        Transform::Time => Scalar::Time(Date::MIN.to_datetime(time.time())),
        Transform::None | Transform::Item(_) => Scalar::Time(time),
    }
}
