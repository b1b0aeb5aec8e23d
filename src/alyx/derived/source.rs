//! What a field that is shown is made of.

use std::collections::HashMap;

use super::{
    Besides, RecordChange, Source,
    text::{field, inner, key, replaced},
};
use crate::alyx::{collation::Collations, model::QC, record};

impl Source {
    /// Whether it follows this field of the other, from what that was to what it is.
    pub(super) fn follows(
        self,
        name: &str,
        before: &HashMap<&str, &str>,
        after: &HashMap<&str, &str>,
    ) -> bool {
        match self {
            Self::Field(field) | Self::Set(field) | Self::Inner(field) | Self::Quality(field) => {
                field == name
            }
            Self::FileUrl => name == "data_url",
            Self::RepositoryField(_) => name == "data_repository",
            Self::UrlOfFile => matches!(name, "data_repository" | "relative_path"),
            Self::OwnFile(_) => name == "file_records",
            Self::DatasetUrl => {
                name == "file_records"
                    && before.get(name).zip(after.get(name)).is_some_and(|(b, a)| same_places(b, a))
            }
        }
    }

    /// Whether a change may be one of what it is made of.
    pub(super) fn concerns(self, change: &RecordChange) -> bool {
        let files = |text| field(text, "file_records").unwrap_or_default();
        !matches!(self, Self::OwnFile(_)) || !same_files(files(&change.before), files(&change.after))
    }

    /// The field, which is `now` so, in an item of a record's text that shows this other; none where that can't be told.
    pub(super) fn text(
        self,
        now: &str,
        item: &str,
        text: &str,
        other: &str,
        besides: Besides<'_>,
    ) -> Option<String> {
        match self {
            Self::Field(name) => field(other, name).map(str::to_owned),
            Self::Set(name) => set(now, field(other, name)?),
            Self::Inner(name) => {
                let object = field(other, name)?;
                let mut edits = Vec::new();
                for (name, own) in record::fields(now) {
                    let new = field(object, name)?;
                    edits.push((own, if new.starts_with('[') { set(own, new)? } else { new.to_owned() }));
                }
                Some(replaced(now, edits))
            }
            Self::Quality(name) => QC.number(inner(field(other, name)?)?).map(|number| number.to_string()),
            Self::FileUrl => file_url(other, item, text),
            Self::RepositoryField(name) => {
                field(besides.get(key(other, "data_repository")?)?, name).map(str::to_owned)
            }
            Self::UrlOfFile => file_url(besides.get(key(other, "data_repository")?)?, other, text),
            Self::OwnFile(name) => {
                let own = key(text, "url#")?;
                let mut files = record::members(field(other, "file_records")?);
                let file = files.find(|file| key(file, "id") == Some(own))?;
                field(file, name).map(str::to_owned)
            }
            Self::DatasetUrl => dataset_url(other, besides),
        }
    }
}

/// An array with the items of another: as it is where these are the same, in whatever order; none where the order is not known.
fn set(now: &str, other: &str) -> Option<String> {
    let sorted = |text: &'_ str| {
        let mut items: Vec<String> = record::members(text).map(str::to_owned).collect();
        items.sort_unstable();
        items
    };
    let items = sorted(other);
    if sorted(now) == items {
        return Some(now.to_owned());
    }
    (items.len() < 2).then(|| other.to_owned())
}

/// Where a file is read: the repository's address, with the file's path in which the dataset's id stands.
fn file_url(repository: &str, file: &str, dataset: &str) -> Option<String> {
    match field(repository, "data_url")? {
        "null" | "\"\"" => Some("null".to_owned()),
        root => {
            let path = with_id(inner(field(file, "relative_path")?)?, key(dataset, "url#")?)?;
            Some(format!("\"{}{path}\"", inner(root)?))
        }
    }
}

/// Whether two arrays of files are of the same ones, but for their addresses.
fn same_files(before: &str, after: &str) -> bool {
    record::members(before).map(without_address).eq(record::members(after).map(without_address))
}

/// Whether two arrays of files are of the same ones, in the same places.
fn same_places(before: &str, after: &str) -> bool {
    const PLACE: [&str; 3] = ["id", "data_repository", "exists"];
    let place = |file| PLACE.map(|name| field(file, name));
    record::members(before).map(place).eq(record::members(after).map(place))
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
