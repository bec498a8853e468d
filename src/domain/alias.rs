//! Aliases: what two spellings of one id have in common.

/// Folds case and separators of an alias.
///
/// Two ids fold together only when they differ in ASCII case, or in which blank, `-`, `_` or `.` stands at a place where a
/// separator stands in both. Separators are never added or left out between letters and digits, so `gemma-3n` and
/// `gemma-3-n` stay apart. A `.` or `_` between two digits is part of a version (`3.3`, `3_1`) and stays: `llama-3.3`,
/// `llama-33` and `llama-3-3` are three ids. `/`, `:`, `@` and everything else divides an id into parts that mean
/// different things, and stays too.
#[must_use]
pub fn fold(alias: &str) -> Box<str> {
    let mut out = String::with_capacity(alias.len());
    let mut before: Option<char> = None;
    let mut separated = false;
    let mut chars = alias.chars().peekable();
    while let Some(c) = chars.next() {
        let between_digits = is_digit(before) && is_digit(chars.peek().copied());
        if is_separator(c) && !(matches!(c, '.' | '_') && between_digits) {
            separated = true;
        } else {
            // A separator says nothing at either end, nor beside a part's boundary.
            if separated && before.is_some_and(|b| !is_boundary(b)) && !is_boundary(c) {
                out.push('-');
            }
            separated = false;
            out.push(c.to_ascii_lowercase());
        }
        before = if separated { before.map(|b| if is_digit(Some(b)) { '-' } else { b }) } else { Some(c) };
    }
    out.into()
}

fn is_digit(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_ascii_digit())
}

/// The dashes of typography are what people paste for `-`.
fn is_separator(c: char) -> bool {
    matches!(c, '-' | '_' | '.' | '\u{2010}'..='\u{2015}') || c.is_whitespace()
}

fn is_boundary(c: char) -> bool {
    matches!(c, '/' | ':' | '@')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_id_fold_together() {
        let same = |a: &str, b: &str| assert_eq!(fold(a), fold(b), "{a} | {b}");
        same("Meta-Llama/Llama-3.3-70B-Instruct", "meta-llama/llama-3.3-70b-instruct");
        same("Llama 3.3 70B Instruct", "llama-3.3-70b_instruct");
        same("  DeepSeek V3\t", "deepseek-v3");
        same("GPT\u{2013}4o", "gpt-4o");
        same("a - b", "a-b");
        same("anthropic.claude-x", "anthropic-claude-x");
        same("-qwen-/-max-", "qwen/max");
    }

    #[test]
    fn different_versions_never_fold_together() {
        let apart = |a: &str, b: &str| assert_ne!(fold(a), fold(b), "{a} | {b}");
        apart("llama-3.3", "llama-33");
        apart("llama-3.3", "llama-3-3");
        apart("llama-3_3", "llama-3-3");
        apart("llama-3_3", "llama-3.3");
        apart("qwen2.5-3b", "qwen-2-5-3b");
        apart("qwen2.5-3b", "qwen2-5-3b");
        apart("qwen-3.4b", "qwen-3-4b");
        apart("gemma-3n", "gemma-3-n");
        apart("gemma-3-4b", "gemma-34b");
        apart("gemma3", "gemma-3");
        apart("command-r", "command-r+");
        apart("o1", "o-1");
        apart("gpt-4", "gpt-4o");
        apart("gpt-4.1", "gpt-41");
        apart("kimi-k2:thinking", "kimi-k2-thinking");
        apart("claude@20251001", "claude-20251001");
        apart("qwen/3", "qwen-3");
        apart("v1.-5", "v1.5");
        apart("v1-.5", "v1.5");
    }

    proptest! {
        #[test]
        fn folding_is_idempotent(text in "[a-cA-C0-3._:/@ -]{0,12}") {
            let once = fold(&text);
            prop_assert_eq!(&fold(&once), &once);
        }

        #[test]
        fn digits_and_letters_are_never_lost(text in "\\PC{0,24}") {
            let content = |t: &str| {
                t.chars().filter(|c| !is_separator(*c)).map(|c| c.to_ascii_lowercase()).collect::<String>()
            };
            prop_assert_eq!(content(&fold(&text)), content(&text));
        }
    }
}
