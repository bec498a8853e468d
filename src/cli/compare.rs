//! `weighbridge licenses compare`.

use clap::Args;

use super::Failure;
use super::client::{ServerArguments, failed};
use super::output::{Output, Style};
use super::records::Licenses;
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::compare_licenses_response::{Side, Topic};

/// Columns of the table: the topic, and the licenses, which share the rest.
const TOPIC_CHARS: usize = 34;
const SIDES_CHARS: usize = 84;
const SIDE_CHARS_MIN: usize = 20;

/// Which licenses.
#[derive(Debug, Args)]
pub(super) struct CompareArguments {
    /// Ids or resource names of the licenses, at least two.
    #[arg(required = true, num_args = 2..)]
    licenses: Vec<String>,
    /// Show what is equal, too.
    #[arg(long)]
    all: bool,
    /// Compare the licenses of the built-in catalog in this process, without a server.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) async fn run(arguments: CompareArguments, out: &Output) -> Result<u8, Failure> {
    let CompareArguments { licenses: ids, all, offline, server } = arguments;
    let licenses = Licenses::open(offline, &server).await?;
    let name = |id: &String| if id.starts_with("licenses/") { id.clone() } else { format!("licenses/{id}") };
    let names: Vec<String> = ids.iter().map(name).collect();
    let found = licenses.compare(names.clone()).await.map_err(|s| failed(&s))?;
    let shown = found.topics.iter().filter(|topic| all || topic.differs);
    if out.is_json() {
        let shown = pb::CompareLicensesResponse { topics: shown.cloned().collect() };
        return out.json("weighbridge.v1.CompareLicensesResponse", &shown).map(|()| 0);
    }
    let heads: Vec<&str> = names.iter().map(|name| name.trim_start_matches("licenses/")).collect();
    out.line(&out.styled(Style::Bold, &table_line(' ', "", &heads)))?;
    for Topic { topic, sides, differs } in shown {
        let (mark, style) = if *differs { ('≠', Style::Warn) } else { ('=', Style::Dim) };
        let sides: Vec<String> = sides.iter().map(side_text).collect();
        let cells: Vec<&str> = sides.iter().map(String::as_str).collect();
        out.line(&out.styled(style, &table_line(mark, topic, &cells)))?;
    }
    let differing = found.topics.iter().filter(|topic| topic.differs).count();
    let hint = if all { "" } else { "; --all shows them" };
    let summary = format!("{differing} topics differ, {} are equal{hint}", found.topics.len() - differing);
    out.line(&out.styled(Style::Dim, &summary))?;
    Ok(0)
}

fn side_text(side: &Side) -> String {
    if side.clause.is_empty() { side.words.clone() } else { format!("{} [{}]", side.words, side.clause) }
}

/// One row of the table, on as many lines as its longest cell needs.
fn table_line(mark: char, topic: &str, sides: &[&str]) -> String {
    let width = (SIDES_CHARS / sides.len().max(1)).saturating_sub(2).max(SIDE_CHARS_MIN);
    let topic = wrapped(topic, TOPIC_CHARS);
    let sides: Vec<Vec<String>> = sides.iter().map(|side| wrapped(side, width)).collect();
    let height = sides.iter().map(Vec::len).chain([topic.len()]).max().unwrap_or(1);
    let mut lines = Vec::with_capacity(height);
    for i in 0..height {
        let cell = |lines: &[String]| lines.get(i).cloned().unwrap_or_default();
        let mark = if i == 0 { mark } else { ' ' };
        let mut line = format!("{mark} {:<TOPIC_CHARS$}", cell(&topic));
        for side in &sides {
            line.push_str(&format!("  {:<width$}", cell(side)));
        }
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n")
}

/// A text on lines of at most `width` characters; a longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_wrapped_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("averylongword a", 4), ["averylongword", "a"]);
        assert!(wrapped("", 4).is_empty());
        let line = table_line('≠', "topic", &[&"a ".repeat(30), "b"]);
        assert_eq!(line.lines().count(), 2);
        assert!(line.starts_with("≠ topic"));
    }
}
