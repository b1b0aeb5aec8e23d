//! The picture of a day: answers by where they came from, a column for each quarter of an hour.

use crate::telemetry::activity::{KINDS, Minute};

/// Columns of the picture.
const COLUMNS: usize = 96;
/// Its size, in its own units: ten across for each column.
const HEIGHT: f64 = 200.0;

/// A piece of a column.
#[derive(Debug)]
pub(super) struct Bar {
    /// Where its answers came from.
    pub(super) kind: &'static str,
    pub(super) x: usize,
    pub(super) y: String,
    pub(super) height: String,
    /// What it says when it is pointed at.
    pub(super) title: String,
}

/// A day as a picture and as figures.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) bars: Vec<Bar>,
    /// Answers in the highest column.
    pub(super) most: u32,
    /// Answers of the whole day by where they came from.
    pub(super) totals: Vec<(&'static str, u64)>,
    pub(super) spared: u64,
    pub(super) spared_seconds: u64,
    pub(super) errors: u64,
}

/// The picture of these minutes, the oldest first.
pub(super) fn chart(day: &[Minute]) -> Chart {
    let span = day.len().div_ceil(COLUMNS).max(1);
    let columns: Vec<[u32; KINDS.len()]> = day
        .chunks(span)
        .map(|minutes| std::array::from_fn(|kind| minutes.iter().map(|minute| minute.answers[kind]).sum()))
        .collect();
    let most = columns.iter().map(|column| column.iter().sum()).max().unwrap_or(0);
    let scale = HEIGHT / f64::from(most.max(1));
    let mut bars = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let minutes = (columns.len() - at) * span;
        let mut top = HEIGHT;
        for (kind, count) in KINDS.iter().zip(column).filter(|(_, count)| **count > 0) {
            let height = f64::from(*count) * scale;
            top -= height;
            let title = format!("{count} {kind}, {}:{:02} h ago", minutes / 60, minutes % 60);
            bars.push(Bar {
                kind,
                x: at * 10,
                y: format!("{top:.2}"),
                height: format!("{height:.2}"),
                title,
            });
        }
    }
    let sum = |kind: usize| day.iter().map(|minute| u64::from(minute.answers[kind])).sum::<u64>();
    let totals: Vec<(&str, u64)> = KINDS.iter().enumerate().map(|(at, kind)| (*kind, sum(at))).collect();
    let here = |kind: &str| !matches!(kind, "upstream" | "refused");
    Chart {
        bars,
        most,
        spared: totals.iter().filter(|(kind, _)| here(kind)).map(|(_, count)| count).sum(),
        spared_seconds: day.iter().map(|minute| minute.spared_ms).sum::<u64>() / 1000,
        errors: day.iter().map(|minute| u64::from(minute.errors)).sum(),
        totals,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_high_as_its_answers_are_many() {
        let mut day: Vec<Minute> = vec![Minute::default(); 1440];
        day[0].answers[0] = 5;
        day[1439].answers[0] = 6;
        day[1439].answers[5] = 4;
        let chart = chart(&day);
        assert_eq!((chart.most, chart.spared), (10, 11));
        let bars: Vec<_> = chart.bars.iter().map(|bar| (bar.kind, bar.x, bar.height.as_str())).collect();
        assert_eq!(bars, [("memory", 0, "100.00"), ("memory", 950, "120.00"), ("upstream", 950, "80.00")]);
    }
}
