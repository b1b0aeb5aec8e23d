//! What records show of others, and how it is made of them (ALYX.md 3): where the other changes it is made anew here, and
//! Alyx is not asked. Texts are put together as they stand, so that they are Alyx's to the byte.

pub(super) mod rules;
mod source;
mod text;

use std::{cmp::Ordering, collections::HashMap};

use super::{collation::Collations, record};
use text::{field, inner, items, key, replaced};

/// How what is shown of a record is made of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Copied {
    /// Where it stands: in an object, or in each of an array; empty: in the record itself.
    pub at: &'static str,
    /// The field there that names the other, and the other's field; `#` stands for the end of a link.
    pub key: (&'static str, &'static str),
    /// The fields there, and what they are made of.
    pub fields: &'static [(&'static str, Source)],
    /// Fields of the other of which nothing is shown there.
    pub unseen: &'static [&'static str],
}

/// How what is shown of a record follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyRule {
    /// By such a rule.
    Copied(&'static Copied),
    /// It is the other's key and no more.
    Key {
        /// Where it stands.
        at: &'static str,
        /// The other's field.
        key: &'static str,
    },
}

/// What a field is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This field of the other, as it stands.
    Field(&'static str),
    /// An array of the other's; of several items nobody knows in which order.
    Set(&'static str),
    /// An object of the other's, field by field; arrays in it as in [`Self::Set`].
    Inner(&'static str),
    /// The number behind the label in this field of the other's.
    Quality(&'static str),
    /// Where a file is read: the repository's address, with the file's path in which the dataset's id stands.
    FileUrl,
    /// Where a dataset is read: as its first file on a server; of none that is not there.
    DatasetUrl,
    /// This field of the repository that the other, a file, is in;
    RepositoryField(&'static str),
    /// and where that file is read.
    UrlOfFile,
    /// This field of the file, among those of the other, a dataset, that the record is.
    OwnFile(&'static str),
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
    fn covers(&self, change: &RecordChange, shown: &[&str]) -> bool {
        let (before, after) = (by_name(&change.before), by_name(&change.after));
        differing(&before, &after, shown).all(|name| {
            self.unseen.contains(&name)
                || self.fields.iter().any(|(_, source)| source.follows(name, &before, &after))
        })
    }

    /// What it shows of the others must be what they made it before, or what they make it now.
    fn follow(&self, text: &str, changes: &Changed<'_>, besides: Besides<'_>) -> Followed {
        let mut edits: Vec<(&str, String)> = Vec::new();
        for item in items(text, self.at) {
            let Some(change) = key(item, self.key.0).and_then(|key| changes.get(key)) else { continue };
            for (name, source) in self.fields {
                let Some(now) = field(item, name) else { continue };
                let made = |other: &str| source.text(now, item, text, other, besides);
                match (made(&change.before), made(&change.after)) {
                    (before, after) if before.is_some() && before == after => {}
                    (_, Some(after)) if now == after => {}
                    (Some(before), Some(after)) if now == before => edits.push((now, after)),
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
        let named = items(text, self.at).into_iter().filter(|item| key(item, self.key.0) == own.as_deref());
        let of_item = |item: &'t str| {
            let one = |(name, source): &(&str, Source)| {
                let now = field(item, name)?;
                Some((now, source.text(now, item, text, other, besides)))
            };
            self.fields.iter().filter_map(one).collect::<Vec<_>>()
        };
        named.flat_map(of_item).collect()
    }

    /// The keys of the others that a text shows.
    pub fn keys<'t>(&self, text: &'t str) -> Vec<&'t str> {
        items(text, self.at).into_iter().filter_map(|item| key(item, self.key.0)).collect()
    }
}

/// Others that have changed, by the keys that they were named by.
pub type Changed<'c> = HashMap<String, &'c RecordChange>;

impl CopyRule {
    /// The key that those name the other by who show it; none where it can't be followed through this change.
    pub fn key_of(&self, change: &RecordChange) -> Option<String> {
        match self {
            Self::Copied(copied) => {
                copied.key_of(&change.before).filter(|key| copied.key_of(&change.after).as_ref() == Some(key))
            }
            Self::Key { key: name, .. } => {
                key(&change.after, name)?;
                key(&change.before, name).map(str::to_owned)
            }
        }
    }

    /// Whether all that differs in these fields of the other is followed here; of no fields: in any.
    pub fn covers(&self, change: &RecordChange, shown: &[&str]) -> bool {
        match self {
            Self::Copied(copied) => copied.covers(change, shown),
            Self::Key { key, .. } => {
                let (before, after) = (by_name(&change.before), by_name(&change.after));
                differing(&before, &after, shown).all(|name| name == *key)
            }
        }
    }

    /// Whether a change may be one of what is shown.
    pub fn concerns(&self, change: &RecordChange) -> bool {
        let Self::Copied(copied) = self else { return true };
        copied.fields.iter().any(|(_, source)| source.concerns(change))
    }

    /// A text that shows others, after these changes of theirs.
    pub fn follow(&self, text: &str, changes: &Changed<'_>, besides: Besides<'_>) -> Followed {
        match self {
            Self::Copied(copied) => copied.follow(text, changes, besides),
            Self::Key { at, key } => renamed(text, at, key, changes),
        }
    }
}

/// A text with the new keys of others in the place of those that they had. An array of them is in their order.
fn renamed(text: &str, at: &str, name: &str, changes: &Changed<'_>) -> Followed {
    let new = |old: &str| key(&changes.get(inner(old)?)?.after, name).map(|key| format!("\"{key}\""));
    let mut edits = Vec::new();
    let (folder, last) = at.rsplit_once('.').unwrap_or(("", at));
    for item in items(text, folder) {
        let Some(now) = field(item, last.trim_end_matches("[]")) else { continue };
        if !last.ends_with("[]") {
            edits.extend(new(now).map(|new| (now, new)));
            continue;
        }
        let after: Vec<(&str, Option<String>)> = record::members(now).map(|old| (old, new(old))).collect();
        if after.iter().all(|(_, new)| new.is_none()) {
            continue;
        }
        let names = after.iter().map(|(old, new)| new.as_deref().unwrap_or(old).trim_matches('"'));
        let names: Vec<&str> = names.collect();
        let rises = |pair: &[&str]| Collations::ANY.order(pair[0], pair[1]).is_some_and(Ordering::is_lt);
        if !names.windows(2).all(rises) {
            return Followed::Unknown;
        }
        edits.extend(after.into_iter().filter_map(|(old, new)| Some((old, new?))));
    }
    edits.retain(|(now, new)| now != new);
    if edits.is_empty() { Followed::Same } else { Followed::Changed(replaced(text, edits)) }
}

fn by_name(text: &str) -> HashMap<&str, &str> {
    record::fields(text).collect()
}

/// The names of these fields, or of all, that differ.
fn differing<'t>(
    before: &HashMap<&'t str, &'t str>,
    after: &HashMap<&'t str, &'t str>,
    shown: &[&str],
) -> std::vec::IntoIter<&'t str> {
    let names = before.keys().chain(after.keys()).copied();
    let differ = names.filter(|name| before.get(name) != after.get(name));
    let shown = differ.filter(|name| shown.is_empty() || shown.contains(name));
    shown.collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::{
        rules::{FILES, IN_SESSION},
        *,
    };

    const ID: &str = "000805e6-bc6c-4315-a880-01dee4d11b3a";

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
        let (files, in_session) = (CopyRule::Copied(&FILES), CopyRule::Copied(&IN_SESSION));
        assert!(files.covers(&change, &["data_url", "name"]));
        let changes = [("r".to_owned(), &change)].into();
        let none = HashMap::new();
        let follow = |text: &str| files.follow(text, &changes, &none);
        assert_eq!(follow(&dataset(&of("http://a/"))), Followed::Changed(dataset(&of("http://b/"))));
        assert_eq!(follow(&dataset(&of("http://b/"))), Followed::Same);
        assert_eq!(follow(&dataset(&of("http://c/"))), Followed::Unknown);
        let besides = [
            ("r".to_owned(), change.after.clone()),
            ("s".to_owned(), repository("null").replace("\"r\"", "\"s\"")),
        ]
        .into();
        let moved = RecordChange { before: dataset(&of("http://a/")), after: dataset(&of("http://b/")) };
        assert!(in_session.covers(&moved, &[]));
        let gone = RecordChange { after: moved.after.replace("true", "false"), ..moved.clone() };
        assert!(!in_session.covers(&gone, &[]), "it may no longer be shown");
        let session = |url: &str| {
            format!(r#"{{"id":"s","data_dataset_session_related":[{{"id":"{ID}","data_url":{url}}}]}}"#)
        };
        let changes = [(ID.to_owned(), &moved)].into();
        assert_eq!(
            in_session.follow(&session(&of("http://a/")), &changes, &besides),
            Followed::Changed(session(&of("http://b/")))
        );
        assert_eq!(in_session.follow(&session("null"), &changes, &besides), Followed::Unknown);
    }
}
