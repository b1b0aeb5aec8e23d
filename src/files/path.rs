//! The path of a file at the data server, as its client wrote it.

use percent_encoding::percent_decode;

/// A path that is the same path for everybody: without dot segments, empty segments and slashes or control characters in
/// disguise. What is judged here is what the data server is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DataPath(String);

impl DataPath {
    /// Reads the path behind `/-/data`; none where servers would read it differently.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let segments = path.strip_prefix('/')?;
        let last = segments.split('/').count() - 1;
        let sound = |(number, segment): (usize, &str)| {
            (!segment.is_empty() || number == last) && is_sound_segment(segment)
        };
        segments.split('/').enumerate().all(sound).then(|| Self(path.to_owned()))
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is that of a folder.
    pub(crate) fn is_folder(&self) -> bool {
        self.0.ends_with('/')
    }
}

/// Decoded once and twice, as some servers do, it names one thing. What follows a `;` some take for a parameter.
fn is_sound_segment(segment: &str) -> bool {
    let once: Vec<u8> = percent_decode(segment.as_bytes()).collect();
    let twice: Vec<u8> = percent_decode(&once).collect();
    let is_sound = |bytes: &[u8]| {
        let name = bytes.split(|byte| *byte == b';').next().unwrap_or_default();
        let odd = |byte: &u8| matches!(byte, b'/' | b'\\' | 0..=0x1f | 0x7f);
        !bytes.iter().any(odd) && name != b"." && name != b".."
    };
    is_well_encoded(segment) && is_sound(&once) && is_sound(&twice)
}

/// Whether each `%` has two hexadecimal digits behind it.
fn is_well_encoded(segment: &str) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = segment.as_bytes();
    let marks = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    marks.map(|(at, _)| at).all(|at| is_digit(bytes.get(at + 1)) && is_digit(bytes.get(at + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_path() {
        for path in ["/", "/lab/Subjects/a/2021-01-01/001/", "/a%20b/%23rev%23/x.npy", "/..a/b..", "/100%25"]
        {
            assert_eq!(DataPath::of(path).unwrap().as_str(), path);
        }
        for path in [
            "",
            "a",
            "//a",
            "/a//b",
            "/a/../b",
            "/a/..",
            "/./a",
            "/%2e%2e/a",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00b",
            "/a%0ab",
            "/%252e%252e/a",
            "/a%252fb",
            "/..;x/a",
            "/a%",
            "/a%4",
            "/a%zz",
        ] {
            assert_eq!(DataPath::of(path), None, "{path}");
        }
    }
}
