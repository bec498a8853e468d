//! Settings of `serve`: options, environment variables, and a file, in this order; and `weighbridge config`.
//!
//! All three name the same settings, and the options' own readers read all of them: an entry `max-requests = 100` of the file, or
//! `max_requests = 100`, or `requests = 100` under `[max]`, is `--max-requests=100`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Subcommand};

use super::Failure;
use super::output::Output;
use super::serve::ServeArguments;
use super::traces::SECRETS;
use crate::convert::nearest;

/// Largest file.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Commands with the settings of `serve`.
const WITH_SETTINGS: &[&[&str]] = &[&["serve"], &["config", "check"], &["config", "print"]];

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say whether the settings are right, with every problem: those of the file, the environment and the options, and the files
    /// that they name. Nothing is started.
    Check(Box<ServeArguments>),
    /// Say which settings count, and where each comes from.
    Print(Box<ServeArguments>),
}

pub(super) fn run(command: ConfigCommand, settings: &[Setting], out: &Output) -> Result<u8, Failure> {
    match command {
        ConfigCommand::Check(arguments) => {
            arguments.check()?;
            out.line("the settings are right")?;
        }
        ConfigCommand::Print(_) if out.is_json() => {
            let entry = |setting: &Setting| {
                let told = serde_json::json!({ "value": setting.value, "source": setting.source });
                (setting.name.clone(), told)
            };
            out.value(&serde_json::Value::Object(settings.iter().map(entry).collect()))?;
        }
        ConfigCommand::Print(_) => {
            for Setting { name, value, source } in settings {
                let value = value.as_deref().map_or_else(|| "(not set)".to_owned(), |value| format!("{value:?}"));
                out.line(&format!("{name} = {value}  # {source}"))?;
            }
        }
    }
    Ok(0)
}

/// A setting that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    name: String,
    /// `None`: not set, and without a default.
    value: Option<String>,
    source: String,
}

/// The matches of a command line, with what the file says besides; and, where the command has settings, those that count.
pub(super) fn matches(command: &Command, given: &[OsString]) -> Result<(ArgMatches, Vec<Setting>), Wrong> {
    let Some(path) = with_settings(given) else {
        return Ok((command.clone().try_get_matches_from(given).map_err(Wrong::Usage)?, Vec::new()));
    };
    // Read by itself, since one that is wrong would keep the others from being looked at.
    let silent = command.clone().mut_subcommands(without_environment);
    let by_options = silent.clone().try_get_matches_from(given).map_err(Wrong::Usage)?;
    let (of_options, settings) = inner(&by_options, &silent, path);
    let mut problems = Vec::new();
    let mut extra: BTreeMap<String, (Vec<String>, String)> = BTreeMap::new();
    let options: Vec<&Arg> = settings.get_arguments().filter(|option| option.get_long().is_some()).collect();
    let reader = Command::new("settings").args(options.iter().map(|option| (*option).clone()));
    for option in &options {
        let (Some(long), Some(variable)) = (option.get_long(), environment(command, path, option)) else { continue };
        // An empty variable says nothing; of what protects the service it must not look as if it did.
        let protects = option.get_help_heading() == Some("Security");
        let Some(value) = std::env::var_os(&variable).filter(|value| protects || !value.is_empty()) else { continue };
        let source = variable.to_string_lossy().into_owned();
        let Some(text) = value.to_str() else {
            problems.push(format!("{source}: it is no text"));
            continue;
        };
        add(&reader, option, long, &[text.to_owned()], &source, &mut extra, &mut problems);
    }
    let file = path_of_config(of_options).or_else(|| {
        let (values, _) = extra.get("config")?;
        values.first().and_then(|value| value.strip_prefix("--config=")).map(PathBuf::from)
    });
    if let Some(file) = file {
        match entries(&file) {
            Err(problem) => problems.push(problem),
            Ok(entries) => {
                let mut before = BTreeSet::new();
                for (key, value) in entries {
                    let shown = format!("{}: `{key}`", file.display());
                    if !before.insert(key.clone()) {
                        problems.push(format!("{shown} is there twice, in two spellings"));
                    }
                    let known =
                        options.iter().find(|option| option.get_long() == Some(key.as_str()) && key != "config");
                    let Some(option) =
                        known.filter(|option| !matches!(option.get_action(), ArgAction::Help | ArgAction::Version))
                    else {
                        let near = nearest(&key, options.iter().filter_map(|option| option.get_long()));
                        problems.push(format!("{shown} is no setting{near}"));
                        continue;
                    };
                    match values(&value) {
                        None => problems.push(format!("{shown} is no text, number, truth value or list of them")),
                        // What the environment says counts before it, but it has to be right as well.
                        Some(values) if extra.contains_key(&key) => {
                            add(&reader, option, &key, &values, &shown, &mut BTreeMap::new(), &mut problems);
                        }
                        Some(values) => add(&reader, option, &key, &values, &shown, &mut extra, &mut problems),
                    }
                }
            }
        }
    }
    if !problems.is_empty() {
        return Err(Wrong::Settings(problems));
    }
    let by_option = |long: &str| {
        let id = options.iter().find(|option| option.get_long() == Some(long)).map(|option| option.get_id().as_str());
        id.is_some_and(|id| of_options.value_source(id) == Some(ValueSource::CommandLine))
    };
    extra.retain(|long, _| !by_option(long));
    let more = extra.values().flat_map(|(values, _)| values).map(OsString::from);
    let all: Vec<OsString> = given.iter().cloned().chain(more).collect();
    let matches = silent.clone().try_get_matches_from(all).map_err(Wrong::Usage)?;
    let (found, _) = inner(&matches, &silent, path);
    let settings = options.iter().filter_map(|option| counted(option, found, &extra)).collect();
    Ok((matches, settings))
}

/// What is wrong with a command line.
#[derive(Debug)]
pub(super) enum Wrong {
    /// With the options.
    Usage(clap::Error),
    /// With the settings, a line each.
    Settings(Vec<String>),
}

fn with_settings(given: &[OsString]) -> Option<&'static [&'static str]> {
    let words: Vec<&str> = given.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let mut commands = words.iter().filter(|word| !word.starts_with('-') && !matches!(**word, "text" | "json"));
    let (first, second) = (commands.next(), commands.next());
    WITH_SETTINGS.iter().copied().find(|path| match path {
        [one] => first == Some(one),
        [one, two] => first == Some(one) && second == Some(two),
        _ => false,
    })
}

fn without_environment(command: Command) -> Command {
    command.mut_args(|option| option.env(None::<&str>)).mut_subcommands(without_environment)
}

/// Where the settings are among the matches and the commands.
fn inner<'a>(matches: &'a ArgMatches, command: &'a Command, path: &[&str]) -> (&'a ArgMatches, &'a Command) {
    path.iter().fold((matches, command), |(matches, command), name| {
        let deeper = matches.subcommand_matches(name).unwrap_or(matches);
        (deeper, command.find_subcommand(name).unwrap_or(command))
    })
}

fn environment(command: &Command, path: &[&str], option: &Arg) -> Option<OsString> {
    let command = path.iter().try_fold(command, |command, name| command.find_subcommand(name))?;
    let same = command.get_arguments().find(|other| other.get_id() == option.get_id())?;
    same.get_env().map(OsString::from)
}

fn path_of_config(matches: &ArgMatches) -> Option<PathBuf> {
    matches.try_get_one::<PathBuf>("config").ok().flatten().cloned()
}

/// Reads a value as the option would, and notes it as one, or what is wrong with it.
fn add(
    reader: &Command,
    option: &Arg,
    long: &str,
    values: &[String],
    source: &str,
    extra: &mut BTreeMap<String, (Vec<String>, String)>,
    problems: &mut Vec<String>,
) {
    let is_switch = matches!(option.get_action(), ArgAction::SetTrue);
    let written: Vec<String> = match (is_switch, values) {
        (true, [value]) if matches!(value.as_str(), "true" | "1" | "yes" | "on") => vec![format!("--{long}")],
        (true, [value]) if matches!(value.as_str(), "false" | "0" | "no" | "off") => Vec::new(),
        (true, _) => {
            problems.push(format!("{source}: it is true or false"));
            return;
        }
        (false, []) => {
            problems.push(format!("{source}: it is empty"));
            return;
        }
        (false, values) => values.iter().map(|value| format!("--{long}={value}")).collect(),
    };
    let arguments = std::iter::once("settings".to_owned()).chain(written.iter().cloned());
    match reader.clone().try_get_matches_from(arguments) {
        Ok(_) => {
            extra.insert(long.to_owned(), (written, source.to_owned()));
        }
        Err(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            problems.push(format!("{source}: {line}"));
        }
    }
}

/// The entries of a file, with the names of tables in front of the keys in them.
fn entries(path: &Path) -> Result<Vec<(String, toml::Value)>, String> {
    let shown = path.display();
    let bytes = super::client::read_bounded(path, FILE_BYTES_MAX).map_err(|failure| failure.message)?;
    let text = String::from_utf8(bytes).map_err(|_| format!("`{shown}` is no text"))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let line =
            error.span().map_or(0, |span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
        format!("{shown}: line {line}: {}", error.message().lines().collect::<Vec<_>>().join(" "))
    })?;
    let mut found = Vec::new();
    flatten("", table, &mut found);
    Ok(found)
}

fn flatten(before: &str, table: toml::Table, found: &mut Vec<(String, toml::Value)>) {
    for (key, value) in table {
        let key = key.replace('_', "-");
        let key = if before.is_empty() { key } else { format!("{before}-{key}") };
        match value {
            toml::Value::Table(table) => flatten(&key, table, found),
            value => found.push((key, value)),
        }
    }
}

fn values(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Float(number) => Some(vec![number.to_string()]),
        toml::Value::Boolean(is) => Some(vec![is.to_string()]),
        toml::Value::Array(list) => list.iter().map(|entry| values(entry)?.pop()).collect(),
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

fn counted(option: &Arg, matches: &ArgMatches, extra: &BTreeMap<String, (Vec<String>, String)>) -> Option<Setting> {
    let (id, long) = (option.get_id().as_str(), option.get_long()?);
    if matches!(option.get_action(), ArgAction::Help | ArgAction::Version) || long == "format" {
        return None;
    }
    let raw = matches.get_raw(id).map(|values| {
        let values: Vec<_> = values.map(|value| value.to_string_lossy().into_owned()).collect();
        values.join(",")
    });
    let value = match option.get_action() {
        ArgAction::SetTrue => Some(matches.get_flag(id).to_string()),
        _ => raw,
    };
    let value = value.map(|value| if SECRETS.contains(&long) { "***".to_owned() } else { value });
    let source = match (extra.get(long), matches.value_source(id)) {
        (Some((_, source)), _) => source.clone(),
        (None, Some(ValueSource::CommandLine)) => format!("--{long}"),
        (None, _) => "default".to_owned(),
    };
    Some(Setting { name: long.to_owned(), value, source })
}
