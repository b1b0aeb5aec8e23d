//! From Markdown to HTML: tables, headings with anchors, links between pages.

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html::push_html};

/// A heading below the page's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// Its anchor.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// The page as HTML, and its headings.
pub(super) fn html(source: &str) -> (String, Vec<Heading>) {
    let mut events: Vec<Event<'_>> = Parser::new_ext(source, Options::ENABLE_TABLES).map(no_html).collect();
    let headings = anchor(&mut events);
    for event in &mut events {
        if let Event::Start(Tag::Link { dest_url, .. }) = event
            && let Some(link) = served(dest_url)
        {
            *dest_url = link.into();
        }
    }
    let events = events.into_iter().flat_map(scrollable);
    let mut html = String::new();
    push_html(&mut html, events);
    (html, headings)
}

/// Where the page's links and pictures lead, as they are written.
#[cfg(test)]
pub(super) fn links(source: &str) -> Vec<String> {
    Parser::new_ext(source, Options::ENABLE_TABLES)
        .filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some(dest_url.into_string())
            }
            _ => None,
        })
        .collect()
}

fn no_html(event: Event<'_>) -> Event<'_> {
    match event {
        // Notes to those who write.
        Event::Html(text) if text.starts_with("<!--") => Event::Text("".into()),
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        event => event,
    }
}

/// Gives headings their anchors, made as mdBook makes them.
fn anchor(events: &mut [Event<'_>]) -> Vec<Heading> {
    let mut headings = Vec::new();
    for start in 0..events.len() {
        let Event::Start(Tag::Heading { level, .. }) = &events[start] else { continue };
        let level = *level;
        let inside =
            events[start..].iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
        let text: String = inside
            .filter_map(|event| match event {
                Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
                _ => None,
            })
            .collect();
        let id = anchor_of(&text);
        if let Event::Start(Tag::Heading { id: place, .. }) = &mut events[start] {
            *place = Some(CowStr::from(id.clone()));
        }
        if level != HeadingLevel::H1 {
            headings.push(Heading { id, text });
        }
    }
    headings
}

fn anchor_of(text: &str) -> String {
    let kept = |c: char| match c {
        c if c.is_alphanumeric() || matches!(c, '_' | '-') => Some(c.to_ascii_lowercase()),
        c if c.is_whitespace() => Some('-'),
        _ => None,
    };
    text.chars().filter_map(kept).collect()
}

/// A link to a file of the book as the proxy serves it; none for all others.
fn served(link: &str) -> Option<String> {
    let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
    let name = file.strip_suffix(".md").filter(|name| !name.contains(['/', ':']))?;
    let hash = if fragment.is_empty() { "" } else { "#" };
    Some(format!("/-/docs/{name}{hash}{fragment}"))
}

/// Wide tables and code scroll by themselves, and can be scrolled by the keyboard.
fn scrollable(event: Event<'_>) -> Vec<Event<'_>> {
    const OPEN: &str = "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\">";
    match event {
        Event::Start(Tag::CodeBlock(_)) => vec![Event::Html("<pre tabindex=\"0\"><code>".into())],
        Event::End(TagEnd::CodeBlock) => vec![Event::Html("</code></pre>\n".into())],
        Event::Start(Tag::Table(_)) => vec![Event::Html(OPEN.into()), event],
        Event::End(TagEnd::Table) => vec![event, Event::Html("</div>".into())],
        event => vec![event],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_link_to_each_other_and_carry_no_html_of_their_own() {
        let (html, headings) = html(
            "# A\n\n<!-- note -->\n\n## The `sync` way\n\n[b](b.md#c) [d](https://d.md) <b>x</b>\n\n```sh\na < b\n```\n",
        );
        assert!(html.contains(r#"<h2 id="the-sync-way">"#), "{html}");
        assert!(html.contains(r#"href="/-/docs/b#c""#) && html.contains(r#"href="https://d.md""#), "{html}");
        assert!(html.contains("&lt;b&gt;x") && !html.contains("note"), "{html}");
        assert!(html.contains("<pre tabindex=\"0\"><code>a &lt; b\n</code></pre>"), "{html}");
        let heading = Heading { id: "the-sync-way".to_owned(), text: "The sync way".to_owned() };
        assert_eq!(headings, [heading]);
    }
}
