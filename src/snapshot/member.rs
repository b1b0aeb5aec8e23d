//! The members of the archive, by their names. What has any other name is refused: nothing is ever written to
//! a path that a snapshot names.

use crate::alyx::Endpoint;

/// A member.
#[derive(Debug, Clone, Copy)]
pub(super) enum Member {
    Manifest,
    Marks,
    /// The head of a table.
    Table(&'static Endpoint),
    /// Records of a table; the number counts from 1.
    Records(&'static Endpoint, u32),
    /// Stored answers; the number counts from 1.
    Answers(u32),
    /// The head of a kept file; the number counts from 1.
    File(u32),
    /// Bytes of a kept file; both numbers count from 1.
    Part(u32, u32),
    Contents,
}

impl Member {
    pub(super) fn name(self) -> String {
        match self {
            Self::Manifest => "manifest.json".to_owned(),
            Self::Marks => "marks.jsonl".to_owned(),
            Self::Table(endpoint) => format!("mirror/{}/table.json", endpoint.name),
            Self::Records(endpoint, number) => format!("mirror/{}/{number:06}.jsonl", endpoint.name),
            Self::Answers(number) => format!("answers/{number:06}.jsonl"),
            Self::File(file) => format!("files/{file:06}/file.json"),
            Self::Part(file, number) => format!("files/{file:06}/{number:06}.part"),
            Self::Contents => "contents.json".to_owned(),
        }
    }

    /// The member of this name, exactly.
    pub(super) fn named(name: &str) -> Option<Self> {
        let number = |text: &str| text.strip_suffix(".jsonl")?.parse().ok();
        let member = match name.split('/').collect::<Vec<_>>().as_slice() {
            ["manifest.json"] => Self::Manifest,
            ["marks.jsonl"] => Self::Marks,
            ["contents.json"] => Self::Contents,
            ["answers", file] => Self::Answers(number(file)?),
            ["files", file, "file.json"] => Self::File(file.parse().ok()?),
            ["files", file, part] => {
                Self::Part(file.parse().ok()?, part.strip_suffix(".part")?.parse().ok()?)
            }
            ["mirror", endpoint, "table.json"] => Self::Table(Endpoint::named(endpoint)?),
            ["mirror", endpoint, file] => Self::Records(Endpoint::named(endpoint)?, number(file)?),
            _ => return None,
        };
        (member.name() == name).then_some(member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_that_are_written_are_read() {
        let sessions = Endpoint::named("sessions").unwrap();
        for member in [
            Member::Manifest,
            Member::Marks,
            Member::Table(sessions),
            Member::Records(sessions, 7),
            Member::Answers(1_234_567),
            Member::File(3),
            Member::Part(3, 4),
            Member::Contents,
        ] {
            let name = member.name();
            assert_eq!(Member::named(&name).unwrap().name(), name);
        }
        for name in [
            "../manifest.json",
            "/manifest.json",
            "./manifest.json",
            "mirror/../answers/000001.jsonl",
            "mirror/nothing/table.json",
            "answers/1.jsonl",
            "answers/+00001.jsonl",
            "files/000001/../file.json",
            "files/000001/000001.exe",
            "answers/000001.jsonl/",
            "",
        ] {
            assert!(Member::named(name).is_none(), "{name}");
        }
    }
}
