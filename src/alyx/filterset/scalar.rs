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
    IsoWeekDay,
    IsoYear,
    Week,
    Quarter,
    Time,
    Item(usize),
}

impl Transform {
    /// What is taken of days, by its name in Django.
    pub(crate) fn of_day(name: &str) -> Option<Self> {
        Some(match name {
            "year" => Self::Year,
            "month" => Self::Month,
            "day" => Self::Day,
            "week_day" => Self::WeekDay,
            "iso_week_day" => Self::IsoWeekDay,
            "iso_year" => Self::IsoYear,
            "week" => Self::Week,
            "quarter" => Self::Quarter,
            _ => return None,
        })
    }

    /// What is taken of times of day, by its name in Django.
    pub(crate) fn of_clock(name: &str) -> Option<Self> {
        Some(match name {
            "hour" => Self::Hour,
            "minute" => Self::Minute,
            "second" => Self::Second,
            _ => return None,
        })
    }

    /// Its name, as [`Self::of_day`] and [`Self::of_clock`] know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::WeekDay => "week_day",
            Self::IsoWeekDay => "iso_week_day",
            Self::IsoYear => "iso_year",
            Self::Week => "week",
            Self::Quarter => "quarter",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
            Self::None | Self::Date | Self::Time | Self::Item(_) => "",
        }
    }
}

pub(crate) fn taken(day: Date, transform: Transform) -> Scalar {
    let number = |number: i16| Scalar::Number(f64::from(number));
    match transform {
        Transform::Year => number(day.year()),
        Transform::Month => number(day.month().into()),
        Transform::Day => number(day.day().into()),
        // Sunday is 1.
        Transform::WeekDay => number(i16::from(day.weekday().to_sunday_one_offset())),
        // Monday is 1.
        Transform::IsoWeekDay => number(i16::from(day.weekday().to_monday_one_offset())),
        Transform::IsoYear => number(day.iso_week_date().year()),
        Transform::Week => number(day.iso_week_date().week().into()),
        Transform::Quarter => number(i16::from((day.month() - 1) / 3 + 1)),
        _ => Scalar::Day(day),
    }
}

pub(crate) fn taken_of_time(time: DateTime, transform: Transform) -> Scalar {
    let number = |number: i8| Scalar::Number(f64::from(number));
    match transform {
        Transform::Date
        | Transform::Year
        | Transform::Month
        | Transform::Day
        | Transform::WeekDay
        | Transform::IsoWeekDay
        | Transform::IsoYear
        | Transform::Week
        | Transform::Quarter => taken(time.date(), transform),
        Transform::Hour => number(time.hour()),
        Transform::Minute => number(time.minute()),
        Transform::Second => number(time.second()),
        Transform::Time => Scalar::Time(Date::MIN.to_datetime(time.time())),
        Transform::None | Transform::Item(_) => Scalar::Time(time),
    }
}
