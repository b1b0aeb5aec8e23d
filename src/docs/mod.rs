//! The documentation, which the program carries with it: `docs/src`, served at `/-/docs`.
//!
//! The sources are those of an mdBook, so that they can be built as a site of their own too (`mdbook build docs`).
//! Here they are rendered by the library that mdBook uses, into the proxy's own look: what it serves needs no
//! script and nothing from outside. Raw HTML in a page is shown as text.

mod pages;
mod render;

use std::sync::OnceLock;

pub use pages::{Chapter, chapters, picture};
pub use render::Heading;

/// A page, ready to be served.
#[derive(Debug)]
pub struct DocPage {
    /// Its name, the file's without `.md`: `start`.
    pub name: &'static str,
    /// What the table of contents calls it.
    pub title: String,
    /// Its text as HTML.
    pub html: String,
    /// Its headings below the first.
    pub headings: Vec<Heading>,
}

/// The page of this name; `index` is the first one.
pub fn page(name: &str) -> Option<&'static DocPage> {
    static PAGES: OnceLock<Vec<DocPage>> = OnceLock::new();
    let pages = PAGES.get_or_init(|| {
        let entries = chapters().iter().flat_map(|chapter| &chapter.pages);
        entries
            .filter_map(|entry| {
                let (html, headings) = render::html(pages::source(entry.name)?);
                Some(DocPage { name: entry.name, title: entry.title.clone(), html, headings })
            })
            .collect()
    });
    pages.iter().find(|page| page.name == name)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_book_is_carried_and_is_in_its_contents() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src");
        let files: BTreeSet<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "SUMMARY.md")
            .collect();
        let named = chapters().iter().flat_map(|chapter| &chapter.pages);
        let carried: BTreeSet<String> = named
            .map(|entry| format!("{}.md", entry.name))
            .chain(pages::pictures().map(str::to_owned))
            .collect();
        assert_eq!(carried, files);
        for entry in chapters().iter().flat_map(|chapter| &chapter.pages) {
            assert!(page(entry.name).is_some_and(|page| !page.html.is_empty()), "{}", entry.name);
        }
    }

    #[test]
    fn every_link_leads_somewhere() {
        for chapter in chapters() {
            for entry in &chapter.pages {
                for link in render::links(pages::source(entry.name).unwrap()) {
                    assert!(leads_somewhere(entry.name, &link), "{}: {link}", entry.name);
                }
            }
        }
    }

    fn leads_somewhere(from: &str, link: &str) -> bool {
        if ["https://", "http://127.0.0.1:8040/", "/-/"].iter().any(|start| link.starts_with(start)) {
            return true;
        }
        let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
        if picture(file).is_some() {
            return true;
        }
        let name = if file.is_empty() { Some(from) } else { file.strip_suffix(".md") };
        let Some(page) = name.and_then(page) else { return false };
        fragment.is_empty() || page.headings.iter().any(|heading| heading.id == fragment)
    }
}
