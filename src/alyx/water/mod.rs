//! The water that a subject needs, as Alyx 3.6.1 computes it (`actions/water_control.py`; ALYX.md 2.7.24).
//!
//! Pure functions over what a subject's tables hold: its surgeries, water restrictions, water
//! administrations and weighings, and the percentages of its lab. Weights are in grams, water in
//! millilitres. The sums are made in Alyx's order, as the last digit of a float depends on it, and what is
//! an integer in Alyx (a weight that was never taken, water that was never given) is one here.

mod growth;

use jiff::{
    ToSpan,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use serde::{Serialize, Serializer};

/// What Alyx knows of a subject that bears on its water.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Its day of birth.
    pub birth: Option<Date>,
    /// Whether its sex is `M`.
    pub male: bool,
    /// The percentages of its lab; none for a subject without a lab.
    pub percentages: Option<Percentages>,
    /// Surgeries that left an implant, and its weight.
    pub implants: Vec<(DateTime, f64)>,
    /// Its water restrictions by their start.
    pub restrictions: Vec<Restriction>,
    /// The water that it got.
    pub administrations: Vec<Administration>,
    /// When it was weighed, and its weight with the implant.
    pub weighings: Vec<(DateTime, f64)>,
}

/// How a lab finds the weight that it expects.
#[derive(Debug, Clone, Copy)]
pub struct Percentages {
    /// Share of the reference weight.
    pub reference: f64,
    /// Share of the weight of its age and sex.
    pub zscore: f64,
}

/// A time under water restriction, on the server's clock.
#[derive(Debug, Clone, Copy)]
pub struct Restriction {
    /// Its start.
    pub start: DateTime,
    /// Its end; none while it lasts.
    pub end: Option<DateTime>,
    /// The weight at its start; 0 where Alyx shall take the last one before it.
    pub reference_weight: f64,
}

/// Water given once.
#[derive(Debug, Clone, Copy)]
pub struct Administration {
    /// When.
    pub time: DateTime,
    /// How much; none where it is not known.
    pub volume: Option<f64>,
    /// Whether it was a reward in a session.
    pub in_session: bool,
}

/// A number that Alyx writes as an integer or as a float.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// The integer 0, where there is nothing to count.
    Nothing,
    /// A float.
    Of(f64),
}

impl Number {
    fn get(self) -> f64 {
        match self {
            Self::Nothing => 0.0,
            Self::Of(value) => value,
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_u8(0),
            Self::Of(value) => serializer.serialize_f64(*value),
        }
    }
}

/// One day, with its columns in Alyx's order.
#[derive(Debug, Clone, Serialize)]
pub struct Day {
    /// The day.
    pub date: Date,
    /// The last weight until then.
    pub weight: Number,
    /// The weight on that very day.
    pub weighing_at: Option<f64>,
    /// The reference weight without the implant.
    pub reference_weight: f64,
    /// The weight that the lab expects.
    pub expected_weight: Number,
    /// The least weight.
    pub min_weight: f64,
    /// The weight in percent of the expected one, both without implant.
    pub percentage_weight: f64,
    /// Water in sessions.
    pub given_water_reward: Number,
    /// Water outside sessions.
    pub given_water_supplement: Number,
    /// All water.
    pub given_water_total: Number,
    /// The water that it needs.
    pub expected_water: f64,
    /// Water beyond its need.
    pub excess_water: f64,
    /// Whether it was under water restriction.
    pub is_water_restricted: bool,
    /// The weight of its implant.
    pub implant_weight: Number,
}

/// The body of `/water-requirement/<subject>`, in Alyx's order.
#[derive(Debug, Clone, Serialize)]
pub struct Requirement {
    /// The nickname as it was asked.
    pub subject: String,
    /// The weight of the implant at the first day that was asked for, or now.
    pub implant_weight: Number,
    /// The lab's share of the reference weight.
    pub reference_weight_pct: Number,
    /// The lab's share of the weight of its age and sex.
    pub zscore_weight_pct: Number,
    /// Each day.
    pub records: Vec<Day>,
}

/// Alyx's exception in the place of an answer; its view answers 500 with this text.
pub type Exception = String;

/// The requirement of a subject between two days as they were asked (`YYYY-MM-DD`; none or empty: from its first
/// event, until `now`, which is the time in its lab).
pub fn requirement(
    nickname: &str,
    subject: &Subject,
    asked: (Option<&str>, Option<&str>),
    now: DateTime,
) -> Result<Requirement, Exception> {
    let noon = |text: &str| day(text).map(at_noon);
    let (start, end) = (asked.0.filter(|text| !text.is_empty()), asked.1.filter(|text| !text.is_empty()));
    let first = start.map(noon).transpose()?.or_else(|| subject.first());
    let last = end.map(noon).transpose()?.unwrap_or(now);
    // Alyx asserts that there is a first day; the text of that exception is empty.
    let mut time = first.ok_or_else(String::new)?;
    let mut records = Vec::new();
    while time.date() <= last.date() {
        records.push(subject.day(time));
        let Ok(next) = time.checked_add(1.day()) else { break };
        time = next;
    }
    let midnight = start.map(day).transpose()?.map(|day| day.at(0, 0, 0, 0));
    let percentage = |of: fn(Percentages) -> f64| {
        subject.percentages.map_or(Number::Nothing, |percentages| Number::Of(of(percentages)))
    };
    Ok(Requirement {
        subject: nickname.to_owned(),
        implant_weight: subject.reference_implant(midnight.unwrap_or(now)),
        reference_weight_pct: percentage(|percentages| percentages.reference),
        zscore_weight_pct: percentage(|percentages| percentages.zscore),
        records,
    })
}

/// A time of the server's clock on the clock of a lab. Of an hour that is there twice the first counts.
pub fn moved(time: DateTime, server: &TimeZone, lab: &TimeZone) -> Option<DateTime> {
    Some(lab.to_datetime(server.to_timestamp(time).ok()?))
}

/// A day as `strptime` reads it with `%Y-%m-%d`.
fn day(text: &str) -> Result<Date, Exception> {
    let mismatch = || format!("time data '{text} 12:00:00' does not match format '%Y-%m-%d %H:%M:%S'");
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        let sound = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        sound.then(|| text.parse::<i16>().ok()).flatten()
    };
    let mut parts = text.splitn(3, '-');
    let mut part = |digits| parts.next().and_then(|part| number(part, digits));
    let (Some(year), Some(month @ 1..=12), Some(day @ 1..=31)) = (part(4..=4), part(1..=2), part(1..=2))
    else {
        return Err(mismatch());
    };
    let (Ok(month), Ok(day)) = (i8::try_from(month), i8::try_from(day)) else { return Err(mismatch()) };
    Date::new(year, month, day).map_err(|_| "day is out of range for month".to_owned())
}

fn at_noon(day: Date) -> DateTime {
    day.at(12, 0, 0, 0)
}

impl Subject {
    /// Brings what was recorded into the order of time.
    pub fn sort(&mut self) {
        self.implants.sort_by_key(|(time, _)| *time);
        self.restrictions.sort_by_key(|restriction| restriction.start);
        self.administrations.sort_by_key(|given| given.time);
        self.weighings.sort_by_key(|(time, _)| *time);
    }

    /// All columns of the day of this time.
    pub fn day(&self, time: DateTime) -> Day {
        let expected_water = self.expected_water(time);
        let given_water_total = self.given(time, None);
        Day {
            date: time.date(),
            weight: self.weight(time),
            weighing_at: last(&self.weighings, |day| day == time.date()),
            reference_weight: self.reference_weight(time),
            expected_weight: self.expected_weight(time),
            min_weight: self.min_weight(time),
            percentage_weight: self.percentage_weight(time),
            given_water_reward: self.given(time, Some(true)),
            given_water_supplement: self.given(time, Some(false)),
            given_water_total,
            expected_water,
            excess_water: -(expected_water - given_water_total.get()),
            is_water_restricted: self.restriction(time).is_some(),
            implant_weight: self.implant(time),
        }
    }

    /// The first weighing or administration, or else noon of its day of birth.
    fn first(&self) -> Option<DateTime> {
        let weighed = self.weighings.iter().map(|(time, _)| *time);
        let events = weighed.chain(self.administrations.iter().map(|given| given.time));
        events.min().or(self.birth.map(at_noon))
    }

    fn weight(&self, time: DateTime) -> Number {
        until(&self.weighings, time).map_or(Number::Nothing, Number::Of)
    }

    fn implant(&self, time: DateTime) -> Number {
        until(&self.implants, time).map_or(Number::Nothing, Number::Of)
    }

    /// The start of the water restriction that lasted at this time.
    fn restriction(&self, time: DateTime) -> Option<DateTime> {
        let begun = self.restrictions.iter().rfind(|one| one.start.date() <= time.date())?;
        begun.end.is_none_or(|end| time <= end).then_some(begun.start)
    }

    /// The implant at the start of the water restriction of this time, or else at this time.
    fn reference_implant(&self, time: DateTime) -> Number {
        self.implant(self.restriction(time).unwrap_or(time))
    }

    /// When the reference weight of this time was taken, and that weight, with the implant of then.
    fn reference(&self, time: DateTime) -> Option<(DateTime, f64)> {
        // The newest restriction's weight stays the reference even after its end.
        if let Some(newest) = self.restrictions.last()
            && newest.reference_weight != 0.0
            && time >= newest.start
        {
            return Some((newest.start, newest.reference_weight));
        }
        let start = self.restriction(time)?;
        let own = self.restrictions.iter().find(|one| one.start == start)?;
        if own.reference_weight != 0.0 {
            return Some((start, own.reference_weight));
        }
        self.weighings.iter().rfind(|(weighed, _)| weighed.date() <= start.date()).copied()
    }

    fn reference_weight(&self, time: DateTime) -> f64 {
        self.reference(time).map_or(0.0, |(_, weight)| weight - self.reference_implant(time).get())
    }

    /// The weight of its age and sex, as far from the mean as it was at the reference weighing.
    fn zscore_weight(&self, time: DateTime) -> f64 {
        let (Some((reference_time, weight)), Some(birth)) = (self.reference(time), self.birth) else {
            return 0.0;
        };
        let weeks = |time: DateTime| {
            let age = time.duration_since(at_noon(birth)).as_secs();
            age.div_euclid(7 * 24 * 3600)
        };
        let (mean, deviation) = growth::weight(self.male, weeks(reference_time));
        let zscore = (weight - self.reference_implant(time).get() - mean) / deviation;
        let (mean, deviation) = growth::weight(self.male, weeks(time));
        (deviation * zscore) + mean
    }

    fn percentages(&self) -> Percentages {
        self.percentages.unwrap_or(Percentages { reference: 0.0, zscore: 0.0 })
    }

    fn expected_weight(&self, time: DateTime) -> Number {
        let Percentages { reference, zscore } = self.percentages();
        let sum = reference + zscore;
        if sum == 0.0 {
            return Number::Nothing;
        }
        let (zscore, reference) = (zscore / sum, reference / sum);
        let weight = zscore * self.zscore_weight(time) + reference * self.reference_weight(time);
        Number::Of(weight + self.implant(time).get())
    }

    fn min_weight(&self, time: DateTime) -> f64 {
        let Percentages { reference, zscore } = self.percentages();
        (self.zscore_weight(time) * zscore + self.reference_weight(time) * reference)
            + self.implant(time).get()
    }

    fn percentage_weight(&self, time: DateTime) -> f64 {
        let implant = self.implant(time).get();
        let (weight, expected) = (self.weight(time).get(), self.expected_weight(time).get());
        if expected - implant > 0.0 { 100.0 * (weight - implant) / (expected - implant) } else { 0.0 }
    }

    fn expected_water(&self, time: DateTime) -> f64 {
        let Percentages { reference, zscore } = self.percentages();
        let implant = self.implant(time).get();
        let (weight, expected) = (self.weight(time).get(), self.expected_weight(time).get());
        let least = (reference + zscore) * (expected - implant) + implant;
        let share = if weight < least { 0.05 } else { 0.04 };
        share * (weight - implant)
    }

    /// Water given on the day of this time, in sessions or outside them.
    fn given(&self, time: DateTime, in_session: Option<bool>) -> Number {
        let of_the_day = self.administrations.iter().filter(|given| {
            given.time.date() == time.date() && in_session.is_none_or(|wanted| wanted == given.in_session)
        });
        of_the_day.filter_map(|given| given.volume).fold(Number::Nothing, |sum, volume| {
            // Not `sum + volume` for the first: Python's 0 + -0.0 is 0.0, and so is this.
            Number::Of(sum.get() + volume)
        })
    }
}

/// The last value on a day that fits.
fn last(values: &[(DateTime, f64)], fits: impl Fn(Date) -> bool) -> Option<f64> {
    values.iter().rfind(|(time, _)| fits(time.date())).map(|(_, value)| *value)
}

/// The last value until the end of the day of this time.
fn until(values: &[(DateTime, f64)], time: DateTime) -> Option<f64> {
    last(values, |day| day <= time.date())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_days_as_python_does() {
        for (text, exception) in [
            ("2026-1-5", None),
            ("2026-10-12", None),
            ("bogus", Some("time data 'bogus 12:00:00' does not match format '%Y-%m-%d %H:%M:%S'")),
            ("2026-02-30", Some("day is out of range for month")),
            ("26-02-03", Some("time data '26-02-03 12:00:00' does not match format '%Y-%m-%d %H:%M:%S'")),
        ] {
            assert_eq!(day(text).err().as_deref(), exception, "{text}");
        }
    }

    #[test]
    fn a_subject_of_which_nothing_is_known_has_no_first_day() {
        let now = jiff::civil::date(2026, 11, 23).at(6, 0, 0, 0);
        assert_eq!(requirement("x", &Subject::default(), (None, None), now).err().as_deref(), Some(""));
    }
}
