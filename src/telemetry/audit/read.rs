//! Reading the audit log, for its page.

use std::{
    fs, io,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use serde_json::Value;

use super::{
    AuditStream,
    file::{PARTS, part},
};

/// What is read of a part for each line that is wanted, in bytes: more than lines are long.
const LINE: u64 = 4 << 10;

/// So many of the newest lines of all files, the last first. Blocks.
pub(super) fn newest(folder: &Path, count: usize) -> io::Result<Vec<Value>> {
    let mut all = Vec::new();
    for stream in AuditStream::ALL {
        let mut left = count;
        for number in 0..PARTS {
            if left == 0 {
                break;
            }
            let lines = match end(&part(folder, stream.name(), number), left) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                read => read?,
            };
            let read: Vec<Value> =
                lines.lines().rev().filter_map(|line| serde_json::from_str(line).ok()).take(left).collect();
            left -= read.len();
            all.extend(read);
        }
    }
    // Those of one file stand in their order.
    all.sort_by(|a, b| at(b).cmp(at(a)));
    all.truncate(count);
    Ok(all)
}

fn at(line: &Value) -> &str {
    line["at"].as_str().unwrap_or_default()
}

/// The end of a file, where so many lines stand.
fn end(path: &Path, lines: usize) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LINE.saturating_mul(lines as u64));
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
