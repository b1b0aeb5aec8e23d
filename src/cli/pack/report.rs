//! What will work on the journey, and what won't.

use serde_json::{Value, json};

use super::fetch::{Item, PackOutcome};
use crate::cli::status::time_for_people;

/// What came of it.
pub(super) struct Report {
    pub(super) place: String,
    pub(super) items: Vec<Item>,
    pub(super) requests: u64,
    pub(super) from_alyx: u64,
    /// Until when the traveller's token counts without Alyx.
    pub(super) token_counts_until: Option<String>,
    /// Whether Alyx was out of reach meanwhile.
    pub(super) is_away: bool,
}

impl Item {
    /// The questions that will meet no answer, each with the reason.
    fn missing(&self) -> Vec<(&str, &str)> {
        self.asked
            .iter()
            .filter_map(|asked| match &asked.outcome {
                PackOutcome::No(why) => Some((asked.question.as_str(), why.as_str())),
                PackOutcome::Refused(_, why) => self.named.then_some((asked.question.as_str(), why.as_str())),
                PackOutcome::Mirror | PackOutcome::Stored => None,
            })
            .collect()
    }

    /// Whether it was asked once, and Alyx itself does not answer it.
    fn is_refused_anyway(&self) -> bool {
        !self.named && self.asked.iter().any(|asked| matches!(asked.outcome, PackOutcome::Refused(..)))
    }

    fn count(&self, outcome: &PackOutcome) -> usize {
        self.asked.iter().filter(|asked| asked.outcome == *outcome).count()
    }
}

impl Report {
    /// How many wishes will not be met whole.
    pub(super) fn missing(&self) -> usize {
        self.items.iter().filter(|item| !item.missing().is_empty()).count()
    }

    /// For other programs.
    pub(super) fn json(&self) -> Value {
        let item = |item: &Item| {
            let missing: Vec<Value> = item
                .missing()
                .into_iter()
                .map(|(question, why)| json!({ "question": question, "why": why }))
                .collect();
            json!({
                "wanted": item.name, "requests": item.asked.len(), "mirror": item.count(&PackOutcome::Mirror),
                "stored": item.count(&PackOutcome::Stored), "works_offline": missing.is_empty(), "missing": missing,
            })
        };
        json!({
            "url": self.place, "requests": self.requests, "from_alyx": self.from_alyx,
            "alyx_is_away": self.is_away, "token_counts_until": self.token_counts_until,
            "wanted": self.items.iter().map(item).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub(super) fn readable(&self) -> String {
        let mut lines = vec![format!(
            "{} requests; Alyx was asked for {} of them, the others were here already.",
            self.requests, self.from_alyx
        )];
        if self.is_away {
            lines.push("Alyx is out of reach now: nothing more could be fetched.".to_owned());
        }
        let (good, bad): (Vec<&Item>, Vec<&Item>) = self
            .items
            .iter()
            .filter(|item| !item.is_refused_anyway())
            .partition(|item| item.missing().is_empty());
        if !good.is_empty() {
            lines.push("\nWill work without Alyx:".to_owned());
            lines.extend(good.into_iter().map(|item| format!("  {}   {}", item.name, from(item))));
        }
        if !bad.is_empty() {
            lines.push("\nWill not work, or not wholly:".to_owned());
        }
        for item in bad {
            lines.push(format!("  {}", item.name));
            lines.extend(item.missing().into_iter().map(|(question, why)| match question {
                question if question == item.name => format!("    {why}"),
                question => format!("    {question}: {why}"),
            }));
        }
        let refused: Vec<&Item> = self.items.iter().filter(|item| item.is_refused_anyway()).collect();
        if !refused.is_empty() {
            lines.push("\nWas asked, but Alyx itself refuses it:".to_owned());
            lines.extend(refused.into_iter().map(|item| format!("  {}", item.name)));
        }
        if let Some(until) = &self.token_counts_until {
            lines.push(format!("\nYour token counts here without Alyx until {}.", time_for_people(until)));
        }
        lines.push(
            "Data files don't pass through this proxy: load those that you will need once, with ONE."
                .to_owned(),
        );
        lines.push("To take it all to another machine: alyx-proxy export lab.tar.zst".to_owned());
        lines.join("\n")
    }
}

/// Where its answers will come from.
fn from(item: &Item) -> String {
    let places = [(item.count(&PackOutcome::Mirror), "mirror"), (item.count(&PackOutcome::Stored), "stored")];
    let places = places.into_iter().filter(|(count, _)| *count > 0);
    let places: Vec<String> = places.map(|(count, place)| format!("{count} {place}")).collect();
    format!("({})", places.join(", "))
}
