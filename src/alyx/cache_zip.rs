//! `cache.zip`: telling a zip from what is none, or is not whole (APPNOTE.TXT of PKWARE, 4.3.7 and 4.3.16).

/// How many bytes show whether something may be a zip.
pub const BEGINNING: usize = 4;

/// The record that ends a zip takes so many bytes, and a comment.
const RECORD: usize = 22;
const LONGEST: usize = RECORD + u16::MAX as usize;

/// Whether a zip begins so: with a file in it, or with its end where it is empty.
pub fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// The last bytes of what comes in pieces: as many as may belong to the record that ends a zip.
#[derive(Debug, Default)]
pub struct End(Vec<u8>);

impl End {
    /// Takes the next piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(&piece[piece.len().saturating_sub(LONGEST)..]);
        // Only now and then, as all that stays is moved.
        if self.0.len() > 4 * LONGEST {
            self.0.drain(..self.0.len() - LONGEST);
        }
    }

    /// Whether a zip ends so: with its record, and a comment of the length that this tells.
    pub fn is_of_a_zip(&self) -> bool {
        let last = &self.0[self.0.len().saturating_sub(LONGEST)..];
        last.windows(RECORD).enumerate().any(|(at, record)| {
            let comment = u16::from_le_bytes([record[20], record[21]]);
            record.starts_with(b"PK\x05\x06") && at + RECORD + usize::from(comment) == last.len()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn zip(comment: &str) -> Vec<u8> {
        let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        writer.start_file("sessions.pqt", SimpleFileOptions::default()).unwrap();
        writer.write_all(&[7; 100]).unwrap();
        writer.set_comment(comment).unwrap();
        writer.finish().unwrap().into_inner()
    }

    fn is_whole(bytes: &[u8], piece: usize) -> bool {
        let mut end = End::default();
        bytes.chunks(piece).for_each(|piece| end.add(piece));
        begins(bytes) && end.is_of_a_zip()
    }

    #[test]
    fn only_what_ends_as_it_says_is_whole() {
        for comment in [String::new(), "of today".to_owned(), "x".repeat(65_535)] {
            let zip = zip(&comment);
            for piece in [1000, 100_000, 1 << 20] {
                assert!(is_whole(&zip, piece), "{} in pieces of {piece}", comment.len());
                assert!(!is_whole(&zip[..zip.len() - 1], piece), "{} in pieces of {piece}", comment.len());
            }
        }
        let empty = ZipWriter::new(std::io::Cursor::new(Vec::new())).finish().unwrap().into_inner();
        assert!(is_whole(&empty, 10));
        let long = [b"PK\x03\x04".to_vec(), vec![0; 1 << 20], empty.clone()].concat();
        assert!(is_whole(&long, 10_000) && !is_whole(&long[..long.len() - 30], 10_000));
        for none in
            [&b""[..], b"PK", b"PK\x03\x04", b"Service temporarily overloaded", &[&empty[..], b"\n"].concat()]
        {
            assert!(!is_whole(none, 10), "{none:?}");
        }
    }
}
