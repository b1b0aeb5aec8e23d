//! One version of a file: what tells it from another, by the word of the data server (RFC 9110 8.8).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    clock::Millis,
    http::{Validators, parse_date},
};

/// A file is kept in blocks of so many bytes, aligned, as S3's clients ask for them.
pub(crate) const BLOCK: u64 = 8 << 20;

/// A date names a version for certain if it was so much older than the answer that bears it (RFC 9110 8.8.2.2).
const SURE_AFTER: Millis = 60_000;

/// A version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileVersion {
    pub(crate) length: u64,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    pub(crate) content_type: Option<String>,
}

impl FileVersion {
    /// The version that the head of an answer with the whole file (200) names; none where none is named for certain, or the
    /// answer is one that is not to be kept.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: HeaderName| {
            let mut lines = headers.get_all(name).iter();
            let (line, None) = (lines.next()?, lines.next()) else { return None };
            line.to_str().ok().map(str::to_owned)
        };
        let length = text(header::CONTENT_LENGTH)?.parse().ok()?;
        let ranges =
            text(header::ACCEPT_RANGES).is_some_and(|unit| unit.trim().eq_ignore_ascii_case("bytes"));
        let version = Self {
            length,
            etag: text(header::ETAG),
            last_modified: text(header::LAST_MODIFIED),
            content_type: text(header::CONTENT_TYPE),
        };
        let is_named = version.strong_etag().is_some() || is_sure_date(headers);
        let may = is_named && may_be_kept(headers) && (ranges || length <= BLOCK);
        may.then_some(version)
    }

    fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|tag| tag.starts_with('"') && tag.len() > 1)
    }

    /// What names it in `If-Range`.
    pub(crate) fn validator(&self) -> Option<HeaderValue> {
        let text = self.strong_etag().or(self.last_modified.as_deref())?;
        HeaderValue::from_str(text).ok()
    }

    /// Whether both are one version.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let named = match (self.strong_etag(), other.strong_etag()) {
            (None, None) => self.last_modified.is_some() && self.last_modified == other.last_modified,
            (one, other) => one == other,
        };
        named && self.length == other.length
    }

    /// Whether an answer to a request with `If-Range` is of this version: 206 says so, and its fields must not say otherwise.
    /// It need not repeat the date (RFC 9110 15.3.7).
    pub(crate) fn is_named_by(&self, headers: &HeaderMap) -> bool {
        let field = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let date_differs =
            || field(header::LAST_MODIFIED).is_some_and(|date| Some(date) != self.last_modified.as_deref());
        match self.strong_etag() {
            Some(tag) => field(header::ETAG) == Some(tag),
            None => !date_differs(),
        }
    }

    /// The fields by which a client knows it.
    pub(crate) fn fields(&self) -> HeaderMap {
        let named = [
            (header::ETAG, &self.etag),
            (header::LAST_MODIFIED, &self.last_modified),
            (header::CONTENT_TYPE, &self.content_type),
        ];
        let fields = named.into_iter().filter_map(|(name, text)| {
            let value = HeaderValue::from_str(text.as_deref()?).ok()?;
            Some((name, value))
        });
        fields.collect()
    }

    /// The same as [`Validators`] of these fields.
    pub(crate) fn validators(fields: &HeaderMap) -> Validators<'_> {
        Validators { tag: fields.get(header::ETAG), modified: fields.get(header::LAST_MODIFIED) }
    }

    /// Where a block begins, and how long it is.
    pub(crate) fn span_of(&self, block: u64) -> (u64, u64) {
        let start = block * BLOCK;
        (start, BLOCK.min(self.length.saturating_sub(start)))
    }
}

/// Whether `Last-Modified` was long past when the answer was made.
fn is_sure_date(headers: &HeaderMap) -> bool {
    let time =
        |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).and_then(parse_date);
    let times = time(header::LAST_MODIFIED).zip(time(header::DATE));
    times.is_some_and(|(modified, made)| made - modified >= SURE_AFTER)
}

/// Whether the data server lets an answer be kept, and it is the same for everybody who gets it. Who gets it is asked of that
/// server for each (`super::look`), so `Authorization` alone forbids nothing.
fn may_be_kept(headers: &HeaderMap) -> bool {
    let words = |name: HeaderName| -> Vec<String> {
        let lines = headers
            .get_all(name)
            .iter()
            .map(|line| String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase());
        lines
            .flat_map(|line| line.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>())
            .collect()
    };
    let forbids = |word: &String| word == "no-store" || word == "private" || word.starts_with("private=");
    let varies =
        |word: &String| !matches!(word.as_str(), "" | "accept-encoding" | "authorization" | "origin");
    !words(header::CACHE_CONTROL).iter().any(forbids)
        && !words(header::VARY).iter().any(varies)
        && words(header::CONTENT_ENCODING).iter().all(|coding| coding.is_empty() || coding == "identity")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let plain =
            [("content-length", "10"), ("accept-ranges", "bytes"), ("date", "Thu, 18 Aug 2022 03:00:00 GMT")];
        let fields = plain.iter().chain(fields);
        fields
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    fn version(fields: &[(&'static str, &'static str)]) -> Option<FileVersion> {
        FileVersion::of(&head(fields))
    }

    const OLD: (&str, &str) = ("last-modified", "Thu, 18 Aug 2022 02:01:18 GMT");
    const NEW: (&str, &str) = ("last-modified", "Thu, 18 Aug 2022 02:59:59 GMT");
    const TAG: (&str, &str) = ("etag", "\"a\"");

    #[test]
    fn a_version_is_kept_if_it_is_named_for_certain() {
        assert!(version(&[TAG]).is_some() && version(&[OLD]).is_some());
        assert!(version(&[("etag", "W/\"a\""), OLD]).is_some());
        for refused in [
            &[][..],
            &[NEW],
            &[("etag", "W/\"a\"")],
            &[TAG, ("content-encoding", "gzip")],
            &[TAG, ("vary", "Cookie")],
            &[TAG, ("vary", "*")],
            &[TAG, ("cache-control", "public, no-store")],
            &[TAG, ("cache-control", "private")],
            &[TAG, ("etag", "\"b\"")],
        ] {
            let named = refused.iter().copied();
            let mut headers = head(&[]);
            for (name, value) in named {
                headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value));
            }
            assert_eq!(FileVersion::of(&headers), None, "{refused:?}");
        }
    }

    #[test]
    fn versions_differ_by_tag_date_or_length() {
        let of = |fields: &[_]| version(fields).unwrap();
        assert!(of(&[TAG]).is_same(&of(&[TAG, OLD])));
        assert!(!of(&[TAG]).is_same(&of(&[("etag", "\"b\"")])));
        assert!(!of(&[TAG, OLD]).is_same(&of(&[OLD])), "one with a tag is not taken for one without");
        assert!(of(&[OLD]).is_same(&of(&[OLD, ("etag", "W/\"z\"")])));
        let longer = FileVersion { length: 11, ..of(&[TAG]) };
        assert!(!longer.is_same(&of(&[TAG])));
    }

    #[test]
    fn blocks_are_aligned() {
        let version = FileVersion { length: 2 * BLOCK + 1, ..version(&[TAG]).unwrap() };
        assert_eq!(version.span_of(0), (0, BLOCK));
        assert_eq!(version.span_of(2), (2 * BLOCK, 1));
    }
}
