//! What is to be said of settings that can be used, and are likely not meant so.

use super::LoadedSettings;

impl LoadedSettings {
    /// What is likely not meant so, each in a sentence that names the setting.
    pub fn notes(&self) -> Vec<String> {
        let mirror = &self.settings.mirror;
        let has_token = !mirror.token.is_empty() || !mirror.token_file.as_os_str().is_empty();
        let mut notes = Vec::new();
        if has_token && !mirror.password.is_empty() {
            notes.push(
                "mirror.token (or mirror.token_file) and mirror.password are both set: the token is used, and the password only \
                 where Alyx refuses it"
                    .to_owned(),
            );
        }
        let url = &self.settings.upstream.url;
        if let Some(base) = url.strip_suffix("/admin") {
            notes.push(format!(
                "upstream.url ends with /admin, where Alyx's pages for people are: \"{base}\" is likely meant"
            ));
        }
        notes
    }
}
