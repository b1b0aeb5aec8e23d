//! What HTTP asks of a cache that stands before Alyx (RFC 9110, 9111, 9211, 5861), as clients see it.

mod current;
mod freshness;
mod links;
mod pages;
mod tables;
mod through;
mod validators;

use crate::support::{self, Answer, Lab, Proxy, Setup, lab};

const LIST: &str = "/sessions?limit=3";

async fn open() -> (Lab, Proxy) {
    open_with(&[]).await
}

async fn open_with(settings: &[(&str, &str)]) -> (Lab, Proxy) {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url());
    let setup = settings.iter().fold(setup, |setup, (name, value)| setup.set(name, value));
    (lab, setup.start().await)
}

/// A GET of `target` with some headers.
async fn get(proxy: &Proxy, target: &str, headers: &[(&str, &str)]) -> Answer {
    let ask = proxy.client().ask("GET", target);
    headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send().await
}

fn version(answer: &Answer) -> usize {
    lab::version(&answer.json())
}

fn etag(answer: &Answer) -> String {
    answer.header("etag").unwrap_or_else(|| panic!("no ETag: {}", answer.describe())).to_owned()
}

fn varies(answer: &Answer, name: &str) -> bool {
    let lists = answer.headers.get_all("vary").iter().map(|vary| vary.to_str().unwrap());
    lists.flat_map(|list| list.split(',')).any(|n| n.trim().eq_ignore_ascii_case(name))
}
