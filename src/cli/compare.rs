//! `weighbridge licenses compare`.

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::client::{ServerArguments, failed};
use super::output::{Output, Style};
use super::records::Licenses;
use crate::convert;
use crate::domain::license::{License, Row, Side, compare};
use crate::registry::builtin;

/// Columns of the table: the topic, and one for each license.
const TOPIC_CHARS: usize = 34;
const SIDE_CHARS: usize = 40;

/// Which licenses.
#[derive(Debug, Args)]
pub(super) struct CompareArguments {
    /// Id or resource name of the first license.
    left: String,
    /// Id or resource name of the second license.
    right: String,
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
    let CompareArguments { left, right, all, offline, server } = arguments;
    let licenses = Licenses::open(offline, &server).await?;
    let left = license(&licenses, left).await?;
    let right = license(&licenses, right).await?;
    let rows = compare(&left, &right);
    let shown = rows.iter().filter(|row| all || row.differs);
    if out.is_json() {
        let rows: Vec<Value> = shown.map(row_json).collect();
        let value = json!({ "left": &*left.resource_name, "right": &*right.resource_name, "rows": rows });
        return out.value(&value).map(|()| 0);
    }
    let head = table_line(' ', "", left.id.as_str(), right.id.as_str());
    out.line(&out.styled(Style::Bold, &head))?;
    for row in shown {
        let mark = if row.differs { '≠' } else { '=' };
        let style = if row.differs { Style::Warn } else { Style::Dim };
        let line = table_line(mark, &row.topic, &side_text(&row.left), &side_text(&row.right));
        out.line(&out.styled(style, &line))?;
    }
    let differing = rows.iter().filter(|row| row.differs).count();
    let hint = if all { "" } else { "; --all shows them" };
    let summary = format!("{differing} topics differ, {} are equal{hint}", rows.len() - differing);
    out.line(&out.styled(Style::Dim, &summary))?;
    Ok(0)
}

async fn license(licenses: &Licenses, id: String) -> Result<License, Failure> {
    let name = if id.starts_with("licenses/") { id } else { format!("licenses/{id}") };
    let message = licenses.get(name).await.map_err(|s| failed(&s))?;
    if message.spdx_listed && message.permissions.is_none() {
        let id = message.name.trim_start_matches("licenses/");
        return Err(Failure::new(format!(
            "`{id}` is listed by SPDX, but its terms are not modelled: nothing to compare"
        )));
    }
    let name = message.name.clone();
    let license = convert::license(message, "").map_err(|violations| {
        let lines: Vec<String> = violations.iter().map(|v| format!("{name}: {}: {}", v.field, v.description)).collect();
        Failure::new(lines.join("\n"))
    })?;
    let builtin = builtin::builtin().map_err(|problems| Failure::new(problems.join("\n")))?;
    Ok(builtin.with_policy(license))
}

fn row_json(row: &Row) -> Value {
    let side = |side: &Side| json!({ "words": side.words, "clause": side.clause });
    json!({ "topic": row.topic, "left": side(&row.left), "right": side(&row.right), "differs": row.differs })
}

fn side_text(side: &Side) -> String {
    if side.clause.is_empty() { side.words.clone() } else { format!("{} [{}]", side.words, side.clause) }
}

/// One row of the table, on as many lines as its longest cell needs.
fn table_line(mark: char, topic: &str, left: &str, right: &str) -> String {
    let cells = [wrapped(topic, TOPIC_CHARS), wrapped(left, SIDE_CHARS), wrapped(right, SIDE_CHARS)];
    let height = cells.iter().map(Vec::len).max().unwrap_or(1);
    let mut lines = Vec::with_capacity(height);
    for i in 0..height {
        let [topic, left, right] = cells.each_ref().map(|cell| cell.get(i).map_or("", String::as_str));
        let mark = if i == 0 { mark } else { ' ' };
        let line = format!("{mark} {topic:<TOPIC_CHARS$}  {left:<SIDE_CHARS$}  {right}");
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
        let line = table_line('≠', "topic", &"a ".repeat(30), "b");
        assert_eq!(line.lines().count(), 2);
        assert!(line.starts_with("≠ topic"));
    }
}
