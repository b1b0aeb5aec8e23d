//! The questions that ONE, and the loaders over it, ask at their start and of one session (ALYX.md 9.4 and 10).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use uuid::Uuid;

use super::fetch::{Item, Packer};
use crate::cli::CliError;

/// What is asked whatever is done: the interface's description, how datasets are named, where files lie.
const BEGINNING: [&str; 6] =
    ["/api/schema", "/docs/", "/dataset-types", "/data-formats", "/data-repository", "/cache/info/"];

/// The provenance that loaders look for.
const ALIGNED: &str = "Ephys aligned histology track";

impl Packer<'_> {
    pub(super) async fn beginning(&self) -> Result<Item, CliError> {
        let mut item = Item::new("what ONE asks at its start");
        for question in BEGINNING {
            let records = self.list(&mut item, question).await?;
            if question == "/data-repository" {
                // Downloads read the records of the repositories that hold the files.
                for name in names(&records, "name") {
                    self.one(&mut item, &format!("/data-repository/{}", encoded(name))).await?;
                }
            }
        }
        Ok(item)
    }

    /// A session: its record by every road, its datasets, its subject, its insertions with their trajectories and
    /// channels.
    pub(super) async fn session(&self, id: Uuid) -> Result<Item, CliError> {
        let mut item = Item::new(format!("session {id}"));
        let Some(session) = self.one(&mut item, &format!("/sessions/{id}")).await? else { return Ok(item) };
        let text = |field: &str| session[field].as_str().unwrap_or_default();
        let (subject, day) = (text("subject"), text("start_time").get(..10).unwrap_or_default());
        let number = session["number"].as_u64();
        if let Some(number) = number.filter(|_| !subject.is_empty() && !day.is_empty()) {
            item.name = format!("session {id} ({subject} {day} {number:03})");
            let path = format!("date_range={day}%2C{day}&number={number:03}&subject={}", encoded(subject));
            self.list(&mut item, &format!("/sessions?{path}")).await?;
        }
        for question in [
            format!("/sessions?django=pk%2C{id}"),
            // `get_details` and `eid2path` of ONE 3; a set of one, as Python writes it.
            format!("/sessions?django=pk__in%2C%28%27{id}%27%2C%29"),
            format!("/sessions?id={id}"),
            format!("/datasets?session={id}"),
            format!("/datasets?session={id}&exists=True"),
        ] {
            self.list(&mut item, &question).await?;
        }
        if !subject.is_empty() {
            self.one(&mut item, &format!("/subjects/{}", encoded(subject))).await?;
        }
        let insertions = self.list(&mut item, &format!("/insertions?session={id}")).await?;
        for insertion in &insertions {
            self.insertion(&mut item, id, insertion).await?;
        }
        Ok(item)
    }

    async fn insertion(&self, item: &mut Item, session: Uuid, insertion: &Value) -> Result<(), CliError> {
        let text = |field: &str| insertion[field].as_str().unwrap_or_default();
        let (id, name) = (encoded(text("id")), encoded(text("name")));
        self.one(item, &format!("/insertions/{id}")).await?;
        for question in [
            format!("/insertions?django=pk%2C{id}"),
            format!("/insertions?name={name}&session={session}"),
            format!("/trajectories?probe_insertion={id}"),
            format!("/trajectories?session={session}&probe={name}&provenance={}", encoded(ALIGNED)),
            format!("/channels?probe_insertion={id}"),
        ] {
            self.list(item, &question).await?;
        }
        Ok(())
    }
}

fn names<'r>(records: &'r [Value], field: &'r str) -> impl Iterator<Item = &'r str> {
    records.iter().filter_map(move |record| record[field].as_str())
}

/// All but what RFC 3986 calls unreserved (section 2.3): people read these questions on the status page.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// As it stands in a URL.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
