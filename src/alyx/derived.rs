//! What records show of others, and how it is made of them (ALYX.md 3): where the other changes it is made anew here, and
//! Alyx is not asked. Texts are put together as they stand, so that they are Alyx's to the byte.

use std::collections::HashMap;

use super::{collation::Collations, record};

/// How what is shown of a record is made of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Copied {
    /// The field it stands in: an object or an array of objects; empty: in the record itself.
    pub at: &'static str,
    /// The field there that names the other, and the other's field; `#` stands for the end of a link.
    pub key: (&'static str, &'static str),
    /// The fields there, and what they are made of.
    pub fields: &'static [(&'static str, Source)],
}

/// What a field is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This field of the other, as it stands.
    Field(&'static str),
    /// Where a file is read: the repository's address, with the file's path in which the dataset's id stands.
    FileUrl,
    /// Where a dataset is read: as its first file on a server; of none that is not there.
    DatasetUrl,
}

/// Records of which the fields are made besides the other: of this endpoint, by the key in this field.
pub const BESIDES: (&str, &str) = ("data-repository", "name");

/// A record that is another than before.
#[derive(Debug, Clone)]
pub struct RecordChange {
    /// Its text in the list before,
    pub before: String,
    /// and now.
    pub after: String,
}

/// What becomes of a text that shows others which have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// It stays.
    Same,
    /// It is this one.
    Changed(String),
    /// It is not what the others before would have made it: only Alyx knows.
    Unknown,
}

/// What is known of the records of [`BESIDES`], as they are now: their texts by their keys.
pub type Besides<'t> = &'t HashMap<String, String>;

impl Copied {
    /// The key that the other is named by.
    pub fn key_of(&self, other: &str) -> Option<String> {
        key(other, self.key.1).map(str::to_owned)
    }

    /// Whether all that differs in these fields of the other is followed here; of no fields: in any.
    pub fn covers(&self, change: &RecordChange, shown: &[&str]) -> bool {
        let before: HashMap<_, _> = record::fields(&change.before).collect();
        let after: HashMap<_, _> = record::fields(&change.after).collect();
        let differ = before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name));
        let mut differ = differ.filter(|name| shown.is_empty() || shown.contains(name));
        differ.all(|name| self.fields.iter().any(|(_, source)| source.follows(name, &before, &after)))
    }

    /// A text that shows others, after these changes of theirs, by their keys. What it shows of them must be what the others
    /// before make it, or what they make it now.
    pub fn follow(
        &self,
        text: &str,
        changes: &HashMap<String, &RecordChange>,
        besides: Besides<'_>,
    ) -> Followed {
        let mut edits: Vec<(&str, String)> = Vec::new();
        for item in self.items(text) {
            let Some(change) = key(item, self.key.0).and_then(|key| changes.get(key)) else { continue };
            for (name, source) in self.fields {
                let Some(now) = field(item, name) else { continue };
                match source.text(item, text, &change.after, besides) {
                    Some(after) if now == after => {}
                    Some(after)
                        if source.text(item, text, &change.before, besides).as_deref() == Some(now) =>
                    {
                        edits.push((now, after));
                    }
                    _ => return Followed::Unknown,
                }
            }
        }
        if edits.is_empty() { Followed::Same } else { Followed::Changed(replaced(text, edits)) }
    }

    /// What a text shows of this other, and what it ought to show, field by field; none where that can't be told.
    pub fn shown<'t>(
        &self,
        text: &'t str,
        other: &str,
        besides: Besides<'_>,
    ) -> Vec<(&'t str, Option<String>)> {
        let own = self.key_of(other);
        let named = self.items(text).into_iter().filter(|item| key(item, self.key.0) == own.as_deref());
        let of_item = |item: &'t str| {
            let one = |(name, source): &(&str, Source)| {
                Some((field(item, name)?, source.text(item, text, other, besides)))
            };
            self.fields.iter().filter_map(one).collect::<Vec<_>>()
        };
        named.flat_map(of_item).collect()
    }

    /// The keys of the others that a text shows.
    pub fn keys<'t>(&self, text: &'t str) -> Vec<&'t str> {
        self.items(text).into_iter().filter_map(|item| key(item, self.key.0)).collect()
    }

    fn items<'t>(&self, text: &'t str) -> Vec<&'t str> {
        if self.at.is_empty() {
            return vec![text];
        }
        match field(text, self.at) {
            Some(array) if array.starts_with('[') => record::members(array).collect(),
            Some(object) if object.starts_with('{') => vec![object],
            _ => Vec::new(),
        }
    }
}

impl Source {
    /// Whether it follows this field of the other, from what that was to what it is.
    fn follows(self, name: &str, before: &HashMap<&str, &str>, after: &HashMap<&str, &str>) -> bool {
        match self {
            Self::Field(field) => field == name,
            Self::FileUrl => name == "data_url",
            Self::DatasetUrl => {
                name == "file_records"
                    && before.get(name).zip(after.get(name)).is_some_and(|(before, after)| {
                        let others = |files| record::members(files).map(without_address).collect::<Vec<_>>();
                        others(*before) == others(*after)
                    })
            }
        }
    }

    /// The field in an item of a record's text that shows this other; none where that can't be told.
    fn text(self, item: &str, text: &str, other: &str, besides: Besides<'_>) -> Option<String> {
        match self {
            Self::Field(name) => field(other, name).map(str::to_owned),
            Self::FileUrl => match field(other, "data_url")? {
                "null" | "\"\"" => Some("null".to_owned()),
                root => {
                    let path = with_id(inner(field(item, "relative_path")?)?, key(text, "url#")?)?;
                    Some(format!("\"{}{path}\"", inner(root)?))
                }
            },
            Self::DatasetUrl => dataset_url(other, besides),
        }
    }
}

/// What of a file's record does not come from its repository's address.
fn without_address(file: &str) -> Vec<(&str, &str)> {
    record::fields(file).filter(|(name, _)| !matches!(*name, "data_url" | "data_repository_path")).collect()
}

/// Where a dataset is read: its first file that exists, in a repository with an address: not personal, personal, unknown; then
/// the last by the repository's name (ALYX.md 3.2).
fn dataset_url(dataset: &str, besides: Besides<'_>) -> Option<String> {
    let mut first: Option<(u8, &str, &str)> = None;
    for file in record::members(field(dataset, "file_records")?) {
        if field(file, "exists")? != "true" {
            continue;
        }
        let name = key(file, "data_repository")?;
        let repository = besides.get(name)?;
        if field(repository, "data_url")? == "null" {
            continue;
        }
        let rank = match field(repository, "globus_is_personal")? {
            "false" => 0,
            "true" => 1,
            "null" => 2,
            _ => return None,
        };
        let comes_first = match first {
            None => true,
            Some((known, _, _)) if known != rank => rank < known,
            // Two files in one repository are in no order.
            Some((_, known, _)) if known == name || name.contains('\\') => return None,
            Some((_, known, _)) => Collations::ANY.order(name, known)?.is_gt(),
        };
        if comes_first {
            first = Some((rank, name, field(file, "data_url")?));
        }
    }
    Some(first.map_or("null", |(_, _, url)| url).to_owned())
}

/// A path with the id of its dataset before its extension, as ONE puts it there; none of one that Python writes otherwise.
fn with_id(path: &str, id: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let plain = |part: &str| !part.is_empty() && part != ".";
    if !path.split('/').all(plain) || name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return None;
    }
    let (stem, suffix) = name.rfind('.').map_or((name, ""), |at| name.split_at(at));
    if stem.rsplit('.').next() == Some(id) {
        return Some(path.to_owned());
    }
    let slash = if folder.is_empty() { "" } else { "/" };
    Some(format!("{folder}{slash}{stem}.{id}{suffix}"))
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    record::fields(text).find(|(key, _)| *key == name).map(|(_, text)| text)
}

/// The key in a field, without quotes; with `#` what stands behind the last slash.
fn key<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    match name.strip_suffix('#') {
        Some(name) => inner(field(text, name)?)?.rsplit('/').next(),
        None => inner(field(text, name)?),
    }
}

/// A JSON string without its quotes; what is escaped stays so.
fn inner(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

/// A text with others in the place of these parts of it.
fn replaced(text: &str, mut edits: Vec<(&str, String)>) -> String {
    let begin = text.as_ptr() as usize;
    edits.sort_by_key(|(part, _)| part.as_ptr() as usize);
    let mut out = String::with_capacity(text.len() + 64);
    let mut end = 0;
    for (part, new) in edits {
        let at = part.as_ptr() as usize - begin;
        out.push_str(&text[end..at]);
        out.push_str(&new);
        end = at + part.len();
    }
    out.push_str(&text[end..]);
    out
}

/// What is shown of a repository in the files of a dataset.
pub(super) static FILES: Copied = Copied {
    at: "file_records",
    key: ("data_repository", "name"),
    fields: &[("data_repository_path", Source::Field("globus_path")), ("data_url", Source::FileUrl)],
};

/// What is shown of a dataset in the detail of its session,
pub(super) static IN_SESSION: Copied = Copied {
    at: "data_dataset_session_related",
    key: ("id", "url#"),
    fields: &[("data_url", Source::DatasetUrl)],
};

/// and of its insertion.
pub(super) static IN_INSERTION: Copied =
    Copied { at: "datasets", key: ("id", "url#"), fields: &[("data_url", Source::DatasetUrl)] };

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "000805e6-bc6c-4315-a880-01dee4d11b3a";

    #[test]
    fn the_id_of_a_dataset_stands_before_the_extension() {
        let put = |path: &str| with_id(path, "ID");
        assert_eq!(put("a/b/c.times.npy").as_deref(), Some("a/b/c.times.ID.npy"));
        assert_eq!(put("c").as_deref(), Some("c.ID"));
        assert_eq!(put("a.b/c").as_deref(), Some("a.b/c.ID"));
        assert_eq!(put("a/c.ID.npy").as_deref(), Some("a/c.ID.npy"));
        for odd in ["a//b.npy", "/a.npy", "a/./b", "a/", "", ".hidden", "a/b.", "a..npy"] {
            assert_eq!(put(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_repository_that_moves_is_followed_and_nothing_else_is_touched() {
        let repository = |url: &str| {
            format!(r#"{{"name":"r","globus_path":"/p/","data_url":{url},"globus_is_personal":false}}"#)
        };
        let dataset = |url: &str| {
            format!(
                r#"{{"url":"http://h/datasets/{ID}","json":{{"data_url":"http://a/"}},"file_records":[{{"id":"1","data_repository":"r","data_repository_path":"/p/","relative_path":"x/a.npy","data_url":{url},"exists":true}},{{"id":"2","data_repository":"s","data_repository_path":null,"relative_path":"x/a.npy","data_url":null,"exists":true}}],"qc":"PASS"}}"#
            )
        };
        let of = |root: &str| format!(r#""{root}x/a.{ID}.npy""#);
        let change =
            RecordChange { before: repository(r#""http://a/""#), after: repository(r#""http://b/""#) };
        assert!(FILES.covers(&change, &["data_url", "name"]));
        let changes = [("r".to_owned(), &change)].into();
        let none = HashMap::new();
        let follow = |text: &str| FILES.follow(text, &changes, &none);
        assert_eq!(follow(&dataset(&of("http://a/"))), Followed::Changed(dataset(&of("http://b/"))));
        assert_eq!(follow(&dataset(&of("http://b/"))), Followed::Same);
        assert_eq!(follow(&dataset(&of("http://c/"))), Followed::Unknown);
        let besides = [
            ("r".to_owned(), change.after.clone()),
            ("s".to_owned(), repository("null").replace("\"r\"", "\"s\"")),
        ]
        .into();
        let moved = RecordChange { before: dataset(&of("http://a/")), after: dataset(&of("http://b/")) };
        assert!(IN_SESSION.covers(&moved, &[]));
        let gone = RecordChange { after: moved.after.replace("true", "false"), ..moved.clone() };
        assert!(!IN_SESSION.covers(&gone, &[]), "it may no longer be shown");
        let session = |url: &str| {
            format!(r#"{{"id":"s","data_dataset_session_related":[{{"id":"{ID}","data_url":{url}}}]}}"#)
        };
        let changes = [(ID.to_owned(), &moved)].into();
        assert_eq!(
            IN_SESSION.follow(&session(&of("http://a/")), &changes, &besides),
            Followed::Changed(session(&of("http://b/")))
        );
        assert_eq!(IN_SESSION.follow(&session("null"), &changes, &besides), Followed::Unknown);
    }
}
