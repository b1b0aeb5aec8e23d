//! What is wanted: queries, and sessions with all that ONE asks of them.

use std::io::{BufRead, IsTerminal, Write};

use url::Url;
use uuid::Uuid;

use crate::cli::{CliError, args::PackFlags};

/// Something that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum PackRequest {
    /// What ONE asks at its start, whatever is done then.
    Beginning,
    /// A question, path and query.
    Question(String),
    /// A question that was asked once.
    Past(String),
    /// A session and what belongs to it.
    Session(Uuid),
}

/// What the arguments name; where they name nothing, what is typed or piped in.
pub(super) fn given(flags: &PackFlags) -> Result<Vec<PackRequest>, CliError> {
    let mut wishes: Vec<PackRequest> = flags.session.iter().copied().map(PackRequest::Session).collect();
    for text in &flags.wanted {
        wishes.push(read(text)?);
    }
    if wishes.is_empty() && flags.from_log.is_none() {
        let input = std::io::stdin();
        if input.is_terminal() {
            eprintln!(
                "What will you need? Queries such as /sessions?lab=cortexlab, or ids of sessions, one a line."
            );
            eprint!("An empty line ends it.\n> ");
        }
        for line in input.lock().lines() {
            let line = line.map_err(|error| anyhow::Error::new(error).context("standard input"))?;
            let line = line.trim();
            if line.is_empty() && input.is_terminal() {
                break;
            }
            if !line.is_empty() && !line.starts_with('#') {
                match read(line) {
                    Ok(wish) => wishes.push(wish),
                    Err(failure) if input.is_terminal() => eprintln!("{failure}"),
                    Err(failure) => return Err(failure),
                }
            }
            if input.is_terminal() {
                eprint!("> ");
                // A prompt that can't be shown hinders nobody.
                let _ = std::io::stderr().flush();
            }
        }
    }
    Ok(wishes)
}

/// A session's id, or a query: as ONE asks it, or pasted as a whole URL.
fn read(text: &str) -> Result<PackRequest, CliError> {
    if let Ok(id) = Uuid::try_parse(text) {
        return Ok(PackRequest::Session(id));
    }
    let question = match Url::parse(text) {
        Ok(url) if url.has_host() => {
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
        }
        _ if text.starts_with('/') => text.to_owned(),
        _ => format!("/{text}"),
    };
    // What is typed by hand may hold a blank, as in `task_protocol=ephys choice`.
    let question = question.replace(' ', "%20");
    let own = question == "/-" || question.starts_with("/-/");
    if own || question.starts_with("//") || question.contains(|c: char| c.is_ascii_control() || c == '#') {
        return Err(CliError::Usage(format!(
            "{text}: neither a query such as /sessions?lab=cortexlab nor the id of a session"
        )));
    }
    Ok(PackRequest::Question(question))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn queries_come_as_paths_or_whole_urls_and_sessions_by_their_ids() {
        let question = |text: &str| PackRequest::Question(text.to_owned());
        for (text, wish) in [
            ("/sessions?lab=x", question("/sessions?lab=x")),
            ("sessions?lab=x", question("/sessions?lab=x")),
            ("http://lab:8040/sessions?a=b,c&d=%20", question("/sessions?a=b,c&d=%20")),
            ("/sessions?task_protocol=a b", question("/sessions?task_protocol=a%20b")),
            (
                "327077ae-57d3-4d40-a9e3-e2eb3c643c5c",
                PackRequest::Session(Uuid::try_parse("327077ae-57d3-4d40-a9e3-e2eb3c643c5c").unwrap()),
            ),
        ] {
            assert_eq!(read(text).unwrap(), wish, "{text}");
        }
        for bad in ["/-/status", "http://lab:8040/-/api/purge", "//elsewhere/x", "/a\nb", "/a#b"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
