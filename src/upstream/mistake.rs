//! The mistake that likely stands behind an Alyx that has never answered: then it is no outage that passes by itself.

use url::Url;

use super::UpstreamError;

/// What is likely wrong with `upstream.url`, where asking at this address ended so; none where nothing points to it.
pub(super) fn likely(base: &Url, failure: &UpstreamError) -> Option<String> {
    let host = base.host_str().unwrap_or_default();
    let port = base.port_or_known_default().unwrap_or_default();
    let other = if base.scheme() == "https" { "http" } else { "https" };
    let said = |wrong: &str| Some(format!("{wrong} (`upstream.url` is {base})"));
    let is_for_people = base.path().trim_end_matches('/').ends_with("/admin");
    if is_for_people {
        return said("its /admin is where Alyx's pages for people are: leave it out");
    }
    match failure {
        UpstreamError::Dns => said(&format!("is `{host}` spelt right? No such host is known here")),
        UpstreamError::Refused => {
            said(&format!("nothing listens at port {port} of `{host}`: is that the right port?"))
        }
        UpstreamError::Tls(why) if is_of_no_tls(why) => {
            said("it does not speak https there: is it http://…?")
        }
        UpstreamError::Tls(why) if why.contains("UnknownIssuer") => said(
            "its certificate is of an authority that this machine does not know: if it is the lab's own, add it to those that \
             the system trusts (`update-ca-certificates`) and start again",
        ),
        UpstreamError::Tls(why) if why.contains("NotValidForName") => {
            said(&format!("its certificate is not for `{host}`: is another name of it meant?"))
        }
        UpstreamError::Elsewhere(_) | UpstreamError::NotJson(_) | UpstreamError::Unavailable(_) => {
            said("is an Alyx there, and this its base URL, without a path?")
        }
        UpstreamError::Reset | UpstreamError::Truncated => said(&format!("is it {other}://…?")),
        _ => None,
    }
}

/// Whether what came is no TLS, as the library says it.
fn is_of_no_tls(why: &str) -> bool {
    why.contains("InvalidContentType") || why.contains("corrupt message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_usual_mistake_has_its_hint() {
        let tls = |why: &str| UpstreamError::Tls(why.to_owned());
        for (base, failure, hint) in [
            ("https://alix.example.org", UpstreamError::Dns, "spelt right"),
            ("http://localhost:81", UpstreamError::Refused, "port 81"),
            ("https://lab", tls("received corrupt message of type InvalidContentType"), "http://"),
            ("https://lab", tls("invalid peer certificate: UnknownIssuer"), "update-ca-certificates"),
            ("http://lab", UpstreamError::Reset, "https://"),
            ("http://lab/admin", UpstreamError::NotJson("text/html".to_owned()), "/admin"),
            ("http://lab", UpstreamError::NotJson("text/html".to_owned()), "is an Alyx there"),
        ] {
            let said = likely(&Url::parse(base).unwrap(), &failure).unwrap();
            assert!(said.contains(hint) && said.contains(base), "{said}");
        }
        assert_eq!(likely(&Url::parse("http://lab").unwrap(), &UpstreamError::Timeout), None);
    }
}
