//! Names that somebody has mistyped: which of those that there are was likely meant.

/// The name that comes nearest to what was typed, if one comes near. Case, and what is neither letter nor digit, count for
/// nothing.
pub fn nearest<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = plain(typed);
    // The longer a name, the more mistakes are made in it.
    let most = (wanted.chars().count() / 3).clamp(1, 3);
    let far = |name: &str| strsim::damerau_levenshtein(&wanted, &plain(name));
    let near = names.into_iter().map(|name| (far(name), name)).filter(|(far, _)| *far <= most);
    if wanted.is_empty() { None } else { near.min_by_key(|(far, _)| *far).map(|(_, name)| name) }
}

/// What ends a sentence that says that there is no such name: "; did you mean …?", or nothing.
pub fn did_you_mean<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    nearest(typed, names).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

fn plain(name: &str) -> String {
    name.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_near_is_meant() {
        let names = ["sessions", "subjects", "ZFM-02279", "cortexlab", "users"];
        for (typed, meant) in [
            ("sesions", Some("sessions")),
            ("session", Some("sessions")),
            ("Subject", Some("subjects")),
            ("cortexlabb", Some("cortexlab")),
            ("CortexLab", Some("cortexlab")),
            ("zfm02279", Some("ZFM-02279")),
            ("user", Some("users")),
            ("weighings", None),
            ("", None),
            ("--", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
        assert_eq!(did_you_mean("sesions", names), "; did you mean `sessions`?");
        assert_eq!(did_you_mean("weighings", names), "");
    }
}
