//! Parts of a record's text, and others in their place.

use crate::alyx::record;

/// The objects at a place of a text.
pub(super) fn items<'t>(text: &'t str, at: &str) -> Vec<&'t str> {
    let mut items = vec![text];
    for name in at.split('.').filter(|name| !name.is_empty()) {
        let name = name.trim_end_matches("[]");
        let found = items.into_iter().filter_map(|item| field(item, name));
        items = found
            .flat_map(|value| match value.as_bytes().first() {
                Some(b'[') => record::members(value).collect(),
                Some(b'{') => vec![value],
                _ => Vec::new(),
            })
            .collect();
    }
    items
}

pub(super) fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    record::fields(text).find(|(key, _)| *key == name).map(|(_, text)| text)
}

/// The key in a field, without quotes; with `#` what stands behind the last slash.
pub(super) fn key<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    match name.strip_suffix('#') {
        Some(name) => inner(field(text, name)?)?.rsplit('/').next(),
        None => inner(field(text, name)?),
    }
}

/// A JSON string without its quotes; what is escaped stays so.
pub(super) fn inner(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

/// A text with others in the place of these parts of it.
pub(super) fn replaced(text: &str, mut edits: Vec<(&str, String)>) -> String {
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
