//! What Alyx's records say of the files that datasets are.

use percent_encoding::percent_decode;
use uuid::Uuid;

/// What the record of a dataset says of its file, as SQL over the mirror's tables, by the dataset's id.
/// Columns: hash, size, version.
pub const RECORD: &str = "SELECT hash, file_size, version FROM datasets WHERE id = ?1";

/// Where the files of a session lie, as SQL over the mirror's tables, by its id: subject/date/number.
pub const SESSION: &str = "SELECT subject || '/' || date(start_time / 1000000, 'unixepoch') || '/' || number
                           FROM sessions WHERE id = ?1";

/// Digits of an MD5. Alyx's `hash` may be a SHA-1 as well, which has more.
const MD5_DIGITS: usize = 32;

/// The dataset of the file at this path: data servers have its id in the name, before the extension
/// (`spikes.times.<id>.npy`).
pub fn dataset_of(path: &str) -> Option<Uuid> {
    let name: Vec<u8> = percent_decode(path.rsplit('/').next()?.as_bytes()).collect();
    let is_id = |part: &&[u8]| part.len() == 36;
    name.split(|byte| *byte == b'.').filter(is_id).find_map(|part| Uuid::try_parse_ascii(part).ok())
}

/// The session of the file at this path, as ONE writes it: subject/date/number.
pub fn session_of(path: &str) -> Option<String> {
    let segments: Vec<String> = path
        .split('/')
        .map(|segment| percent_decode(segment.as_bytes()).decode_utf8_lossy().into_owned())
        .collect();
    let is_session = |parts: &&[String]| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_date = parts[1].len() == 10
            && parts[1].split('-').map(str::len).eq([4, 2, 2])
            && parts[1].split('-').all(digits);
        !parts[0].is_empty() && is_date && digits(&parts[2])
    };
    segments.windows(3).find(is_session).map(|parts| parts.join("/"))
}

/// Whether a record's `hash` is an MD5.
pub fn is_md5(hash: &str) -> bool {
    hash.len() == MD5_DIGITS && hash.bytes().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_file_it_is() {
        let id = "0f5a9c9e-2b5a-4b6a-9a53-2f7f2c2f3c11";
        for path in ["/lab/a.{}.npy", "/_ibl_trials.table.{}.pqt", "/x/%23a%23/raw.{}.cbin", "/a%2e{}.npy"] {
            let path = path.replace("{}", id);
            assert_eq!(dataset_of(&path).map(|id| id.to_string()).as_deref(), Some(id), "{path}");
        }
        for path in [
            "/",
            "/a.npy",
            "/0f5a9c9e-2b5a-4b6a-9a53-2f7f2c2f3c11/a.npy",
            "/a.0f5a9c9e2b5a4b6a9a532f7f2c2f3c11.npy",
        ] {
            assert_eq!(dataset_of(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_says_whose_session_it_is() {
        let session = |path| session_of(path);
        assert_eq!(
            session("/lab/Subjects/KS%20001/2021-03-01/001/alf/a.npy").unwrap(),
            "KS 001/2021-03-01/001"
        );
        assert_eq!(session("/KS001/2021-03-01/1/a.npy").unwrap(), "KS001/2021-03-01/1");
        for path in ["/", "/2021-03-01/001/a", "/a/2021-3-1/001/b", "/a/2021-03-01/x/b", "/a/b/c"] {
            assert_eq!(session(path), None, "{path}");
        }
    }

    #[test]
    fn a_sha1_is_no_md5() {
        assert!(is_md5("d41d8cd98f00b204e9800998ecf8427e") && is_md5("D41D8CD98F00B204E9800998ECF8427E"));
        assert!(
            !is_md5("da39a3ee5e6b4b0d3255bfef95601890afd80709") && !is_md5("") && !is_md5(&"g".repeat(32))
        );
    }
}
