//! Reads `data/hardware/` and `data/compliance.toml`: kinds of accelerators, what is assumed of them, rules for data.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::domain::date::Date;
use crate::domain::hosting::{
    Accelerator, Assumed, Assumption, ComplianceRule, Hardware, Prices, Route, Stance, Standing,
};

/// Collects files of the folder, and every problem of them.
#[derive(Debug, Default)]
pub struct HardwareFiles {
    hardware: Hardware,
    problems: Vec<String>,
}

impl HardwareFiles {
    /// Takes a file that lists any of accelerators, assumptions and rules for data.
    pub fn read(&mut self, shown: &str, text: &str) {
        let file: File = match toml::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                self.problems.push(format!("{shown}: {}", error.message()));
                return;
            }
        };
        for row in file.accelerators {
            let at = format!("{shown}: accelerator `{}`", row.id);
            self.problems.extend(row.problems().into_iter().map(|problem| format!("{at}: {problem}")));
            self.hardware.accelerators.push(row.into());
        }
        for row in file.assumptions {
            let at = format!("{shown}: assumption `{}`", row.name);
            match Assumption::parse(&row.name) {
                None => self.problems.push(format!("{at}: write one of {}", Assumption::WORDS.join(", "))),
                Some(_) if !(row.least <= row.value && row.value <= row.most) => {
                    self.problems.push(format!("{at}: {} is not from {} to {}", row.value, row.least, row.most));
                }
                Some(assumption) => self.hardware.assumed.push(row.of(assumption)),
            }
        }
        for row in file.rules {
            let at = format!("{shown}: rule `{}`", row.id);
            match row.read() {
                Ok(rule) => self.hardware.compliance.push(rule),
                Err(problem) => self.problems.push(format!("{at}: {problem}")),
            }
        }
    }

    /// What the files hold together.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn finish(mut self) -> Result<Hardware, Vec<String>> {
        let Hardware { accelerators, assumed, compliance } = &mut self.hardware;
        accelerators.sort_by(|a, b| a.id.cmp(&b.id));
        assumed.sort_by_key(|row| row.assumption);
        compliance.sort_by(|a, b| a.id.cmp(&b.id));
        let mut seen = BTreeSet::new();
        let ids = accelerators.iter().map(|kind| &*kind.id).chain(compliance.iter().map(|rule| &*rule.id));
        for id in ids {
            if !seen.insert(id) {
                self.problems.push(format!("hardware/: `{id}` is there twice"));
            }
        }
        for assumption in Assumption::ALL {
            let rows = assumed.iter().filter(|row| row.assumption == *assumption).count();
            if rows != 1 {
                self.problems.push(format!("hardware/: the assumption `{assumption}` is there {rows} times, not once"));
            }
        }
        if self.problems.is_empty() { Ok(self.hardware) } else { Err(self.problems) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    accelerators: Vec<AcceleratorRow>,
    #[serde(default)]
    assumptions: Vec<AssumptionRow>,
    #[serde(default)]
    rules: Vec<RuleRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceleratorRow {
    id: Box<str>,
    display_name: Box<str>,
    vendor: Box<str>,
    memory_gb: f64,
    memory_mib: Option<u32>,
    bandwidth_gb_per_s: f64,
    bf16_tflops: f64,
    fp8_tflops: Option<f64>,
    per_machine: u32,
    interconnect: Box<str>,
    link_gb_per_s: f64,
    url: Box<str>,
    usd_per_hour: Option<PricesRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PricesRow {
    low: f64,
    typical: f64,
    high: f64,
    date: Box<str>,
    source: Box<str>,
}

impl AcceleratorRow {
    fn problems(&self) -> Vec<String> {
        let mut out = Vec::new();
        let is_slug = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if self.id.is_empty() || !self.id.chars().all(is_slug) {
            out.push("its id is of lower-case letters, digits, `-` and `.`".to_owned());
        }
        let figures = [
            ("memory_gb", Some(self.memory_gb)),
            ("bandwidth_gb_per_s", Some(self.bandwidth_gb_per_s)),
            ("bf16_tflops", Some(self.bf16_tflops)),
            ("fp8_tflops", self.fp8_tflops),
            ("link_gb_per_s", Some(self.link_gb_per_s)),
        ];
        for (field, value) in figures {
            if value.is_some_and(|value| !(value > 0.0 && value.is_finite())) {
                out.push(format!("{field} is more than 0"));
            }
        }
        // The label counts in 10^9 or 2^30 bytes, and a little is taken for error correction.
        if self.memory_mib.is_some_and(|mib| !(0.9..1.1).contains(&(f64::from(mib) / 1024.0 / self.memory_gb))) {
            out.push("memory_mib is another size than memory_gb".to_owned());
        }
        if self.per_machine == 0 {
            out.push("per_machine is 1 or more".to_owned());
        }
        if let Some(PricesRow { low, typical, high, date, source }) = &self.usd_per_hour {
            if !(*low > 0.0 && low <= typical && typical <= high && high.is_finite()) {
                out.push("usd_per_hour goes from low to typical to high, all more than 0".to_owned());
            }
            if Date::parse(date).is_err() {
                out.push(format!("usd_per_hour.date: `{date}` is no date"));
            }
            if source.is_empty() {
                out.push("usd_per_hour.source: it must be set".to_owned());
            }
        }
        out
    }
}

impl From<AcceleratorRow> for Accelerator {
    fn from(row: AcceleratorRow) -> Self {
        Self {
            id: row.id,
            display_name: row.display_name,
            vendor: row.vendor,
            label_gb: row.memory_gb,
            memory_bytes: row.memory_mib.map_or(row.memory_gb * 1e9, |mib| f64::from(mib) * 1_048_576.0),
            bandwidth: row.bandwidth_gb_per_s * 1e9,
            bf16_flops: row.bf16_tflops * 1e12,
            fp8_flops: row.fp8_tflops.map(|tflops| tflops * 1e12),
            per_machine: row.per_machine,
            interconnect: row.interconnect,
            link: row.link_gb_per_s * 1e9,
            url: row.url,
            prices: row.usd_per_hour.map(|PricesRow { low, typical, high, date, source }| Prices {
                low,
                typical,
                high,
                date,
                source,
            }),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AssumptionRow {
    name: Box<str>,
    value: f64,
    least: f64,
    most: f64,
    #[serde(default)]
    unit: Box<str>,
    text: Box<str>,
    source: Box<str>,
}

impl AssumptionRow {
    fn of(self, assumption: Assumption) -> Assumed {
        let Self { name: _, value, least, most, unit, text, source } = self;
        Assumed { assumption, value, least, most, unit, text, source }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleRow {
    id: Box<str>,
    display_name: Box<str>,
    url: Box<str>,
    vendor_api: StanceRow,
    hosted_open_weights: StanceRow,
    self_hosted: StanceRow,
    on_premises: StanceRow,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StanceRow {
    standing: Box<str>,
    text: Box<str>,
    #[serde(default)]
    clause: Box<str>,
}

impl RuleRow {
    fn read(self) -> Result<ComplianceRule, String> {
        let Self { id, display_name, url, vendor_api, hosted_open_weights, self_hosted, on_premises } = self;
        let stances = [
            (Route::VendorApi, false, vendor_api),
            (Route::HostedOpenWeights, false, hosted_open_weights),
            (Route::SelfHosted, false, self_hosted),
            (Route::SelfHosted, true, on_premises),
        ];
        let stances = stances.into_iter().map(|(route, on_premises, StanceRow { standing, text, clause })| {
            let word = standing.to_ascii_uppercase();
            let standing =
                Standing::parse(&word).ok_or_else(|| format!("`{standing}`: write open, review or closed"))?;
            Ok(Stance { route, on_premises, standing, text, clause })
        });
        Ok(ComplianceRule { id, display_name, url, stances: stances.collect::<Result<_, String>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told() {
        let mut files = HardwareFiles::default();
        files.read("a.toml", "nonsense = 1");
        files.read(
            "b.toml",
            r#"
            [[accelerators]]
            id = "Big One"
            display_name = ""
            vendor = ""
            memory_gb = 0
            bandwidth_gb_per_s = 1
            bf16_tflops = nan
            per_machine = 0
            interconnect = ""
            link_gb_per_s = 1
            url = ""
            usd_per_hour = { low = 2, typical = 1, high = 3, date = "soon", source = "" }

            [[assumptions]]
            name = "luck"
            value = 1
            least = 0
            most = 1
            text = ""
            source = ""

            [[assumptions]]
            name = "framework_gb"
            value = 2
            least = 0
            most = 1
            text = ""
            source = ""

            [[rules]]
            id = "r"
            display_name = ""
            url = ""
            vendor_api = { standing = "maybe", text = "" }
            hosted_open_weights = { standing = "open", text = "" }
            self_hosted = { standing = "open", text = "" }
            on_premises = { standing = "open", text = "" }
            "#,
        );
        let problems = files.finish().unwrap_err();
        for part in [
            "a.toml: unknown field `nonsense`",
            "its id is of lower-case",
            "memory_gb is more than 0",
            "bf16_tflops is more than 0",
            "per_machine is 1",
            "low to typical to high",
            "`soon` is no date",
            "usd_per_hour.source",
            "assumption `luck`: write one of usable_memory_fraction",
            "2 is not from 0 to 1",
            "rule `r`: `maybe`: write open, review or closed",
            "`usable_memory_fraction` is there 0 times",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part}\n{}", problems.join("\n"));
        }
    }
}
