//! Names of repositories on the model hub.

/// First parts of the hub's addresses that are no organization.
const NOT_ORGANIZATIONS: &[&str] =
    &["api", "blog", "collections", "datasets", "docs", "join", "learn", "models", "organizations", "papers", "spaces"];

const HOSTS: &[&str] =
    &["https://huggingface.co/", "http://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf:"];

/// The repository of a hub address, `organization/name`; deeper paths belong to it. `None` when it is none.
#[must_use]
pub fn repository_of_url(url: &str) -> Option<Box<str>> {
    let url = url.trim();
    let path = HOSTS.iter().find_map(|host| url.strip_prefix(host))?;
    repository(path.split(['?', '#']).next().unwrap_or(path))
}

/// The repository of a hub address or of a bare `organization/name`.
#[must_use]
pub fn repository_of(text: &str) -> Option<Box<str>> {
    let text = text.trim();
    if let Some(found) = repository_of_url(text) {
        return Some(found);
    }
    // A bare name has two parts and nothing else.
    (text.matches('/').count() == 1).then(|| repository(text)).flatten()
}

fn repository(path: &str) -> Option<Box<str>> {
    let mut parts = path.split('/');
    let (organization, name) = (parts.next()?, parts.next()?);
    let fits = |part: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        !part.is_empty()
            && part.len() <= 96
            && part.bytes().all(plain)
            && part.bytes().any(|b| b.is_ascii_alphanumeric())
    };
    let organization_fits = fits(organization) && !NOT_ORGANIZATIONS.contains(&organization);
    (organization_fits && fits(name)).then(|| format!("{organization}/{name}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_other_pages() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(repository_of(text).as_deref(), expected, "{text}");
        check("https://huggingface.co/Qwen/Qwen-14B", Some("Qwen/Qwen-14B"));
        check(" https://huggingface.co/microsoft/phi-1/blob/main/README.md ", Some("microsoft/phi-1"));
        check("https://huggingface.co/a/b?x=1#y", Some("a/b"));
        check("tiiuae/falcon-40b", Some("tiiuae/falcon-40b"));
        check("https://huggingface.co/papers/2309.16609", None);
        check("https://huggingface.co/collections/a/b", None);
        check("https://huggingface.co/Qwen", None);
        check("https://example.com/Qwen/Qwen-14B", None);
        check("A paper: on a/b", None);
        check("a/b/c", None);
        check("a/", None);
        check("../..", None);
        check("", None);
    }
}
