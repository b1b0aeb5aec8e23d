//! The files of the book, and its table of contents (`docs/src/SUMMARY.md`).

use std::sync::OnceLock;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

/// A part of the book.
#[derive(Debug)]
pub struct Chapter {
    /// Its heading; empty for what stands before all parts.
    pub title: String,
    /// Its pages.
    pub pages: Vec<TocEntry>,
}

/// A line of the table of contents.
#[derive(Debug)]
pub struct TocEntry {
    /// The page's name.
    pub name: &'static str,
    /// What it is called.
    pub title: String,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../docs/src/", $name)))),*]
    };
}

const SUMMARY: &str = include_str!("../../docs/src/SUMMARY.md");

const FILES: &[(&str, &str)] = files![
    "access.md",
    "backup.md",
    "cluster.md",
    "commands.md",
    "comparison.md",
    "files.md",
    "how.md",
    "index.md",
    "install.md",
    "journey.md",
    "logs.md",
    "mirror.md",
    "monitoring.md",
    "offline.md",
    "one.md",
    "performance.md",
    "settings.md",
    "standard.md",
    "start.md",
    "threats.md",
    "trouble.md",
    "upgrade.md",
];

const PICTURES: &[(&str, &str)] = files!["way.svg", "memories.svg", "dashboard.svg"];

/// The Markdown of a page.
pub(super) fn source(name: &str) -> Option<&'static str> {
    let is_it = |file: &str| file.strip_suffix(".md") == Some(name);
    FILES.iter().find(|(file, _)| is_it(file)).map(|(_, text)| *text)
}

/// A picture (SVG) by its file's name.
pub fn picture(name: &str) -> Option<&'static str> {
    PICTURES.iter().find(|(file, _)| *file == name).map(|(_, text)| *text)
}

#[cfg(test)]
pub(super) fn pictures() -> impl Iterator<Item = &'static str> {
    PICTURES.iter().map(|(file, _)| *file)
}

/// The table of contents. mdBook's form: headings are parts, links are pages.
pub fn chapters() -> &'static [Chapter] {
    static CHAPTERS: OnceLock<Vec<Chapter>> = OnceLock::new();
    CHAPTERS.get_or_init(|| {
        let mut chapters = vec![Chapter { title: String::new(), pages: Vec::new() }];
        let (mut link, mut text) = (None, String::new());
        for event in Parser::new(SUMMARY) {
            match event {
                Event::Start(Tag::Heading { .. }) => text.clear(),
                Event::End(TagEnd::Heading(_)) => {
                    chapters.push(Chapter { title: std::mem::take(&mut text), pages: Vec::new() });
                }
                Event::Start(Tag::Link { dest_url, .. }) => {
                    text.clear();
                    link = known(&dest_url);
                }
                Event::End(TagEnd::Link) => {
                    if let (Some(name), Some(chapter)) = (link.take(), chapters.last_mut()) {
                        chapter.pages.push(TocEntry { name, title: std::mem::take(&mut text) });
                    }
                }
                Event::Text(piece) | Event::Code(piece) => text.push_str(&piece),
                _ => {}
            }
        }
        chapters.retain(|chapter| !chapter.pages.is_empty());
        // The list of contents calls itself a part.
        if let Some(first) = chapters.first_mut() {
            first.title.clear();
        }
        chapters
    })
}

fn known(link: &str) -> Option<&'static str> {
    FILES.iter().find(|(file, _)| *file == link)?.0.strip_suffix(".md")
}
