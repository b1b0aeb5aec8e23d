//! `one-setup` as a script in Python, for machines without this program.

/// In the order of the file that is served.
const SOURCE: &str = concat!(
    include_str!("script/start.py"),
    include_str!("script/files.py"),
    include_str!("script/home.py"),
    include_str!("script/plan.py"),
    include_str!("script/undo.py"),
    include_str!("script/command.py"),
);
/// The line that names the proxy.
const URL: &str = "\nURL = \"http://127.0.0.1:8040\"\n";

/// The script that makes the proxy at this base URL the database that ONE asks, or puts that back. It holds no secret.
pub fn script(base: &str) -> String {
    // A string of JSON in ASCII is one of Python's, too.
    let ascii: String = base.chars().filter(char::is_ascii).collect();
    SOURCE.replacen(URL, &format!("\nURL = {}\n", serde_json::Value::from(ascii)), 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_script_names_the_proxy_that_gave_it() {
        let script = super::script("https://[::1]:8040");
        assert!(script.contains("\nURL = \"https://[::1]:8040\"\n"), "{script}");
        assert!(!script.contains(super::URL) && script.is_ascii());
        assert!(script.lines().all(|line| line.len() <= 120));
    }
}
