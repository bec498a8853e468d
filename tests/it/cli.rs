//! The command line as a user runs it: the real binary, its exit codes and messages.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

pub(super) fn weighbridge() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weighbridge"));
    command.env_remove("WEIGHBRIDGE_SERVER").env_remove("WEIGHBRIDGE_FORMAT").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    weighbridge().args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const LLAMA: &str = "meta-llama/Llama-3.3-70B-Instruct";

fn offline(model: &str, more: &[&str]) -> Output {
    let base = ["check", "--offline", model, "--purpose", "commercial", "--hosting", "self-hosted"];
    run(&[&base[..], more].concat())
}

#[test]
fn exit_codes_tell_the_verdict() {
    let check = |model: &str, more: &[&str]| code(&offline(model, more));
    assert_eq!(check(LLAMA, &["--mau", "700000000@2024-11:group"]), 0);
    assert_eq!(check(LLAMA, &["--mau", "700000000@2024-11:group", "--strict-conditions"]), 3);
    assert_eq!(check(LLAMA, &["--mau", "700000001@2024-11:group"]), 5);
    assert_eq!(check(LLAMA, &[]), 4);
    assert_eq!(check("no-such-org/no-such-model", &[]), 6);
    assert_eq!(check(LLAMA, &["--mau", "lots"]), 2);
    assert_eq!(check(LLAMA, &["--purpose", "profit"]), 2);
    assert_eq!(check(LLAMA, &["--at", "yesterday"]), 2);
    assert_eq!(check(LLAMA, &["--explain"]), 4);
    // The worst of several models decides.
    assert_eq!(code(&run(&["check", "--offline", "allenai/OLMo-2-1124-7B", LLAMA, "--purpose", "research"])), 4);
}

#[test]
fn policies_are_checked_tried_and_switched_on() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let rule = |effect: &str, mode: &str| {
        let condition = "use.labels.environment = production AND model.tier = OPEN_SOURCE";
        format!("name: policies/p\ncondition: {condition}\neffect: {effect}\nmessage: ask us\nmode: {mode}\n")
    };
    let good = write("good.yaml", &rule("BLOCK", "ENFORCED"));
    let bad = write("bad.yaml", "policies:\n- name: policies/q\n  condition: use.purpos = X\n  message: m\n");
    let cases = |verdict: &str| {
        let use_ = "{purpose: research, hosting: self-hosted, labels: {environment: production}}";
        let case = format!("- {{model: allenai/OLMo-2-1124-7B, use: {use_}, verdict: {verdict}, policies: [p]}}");
        write("cases.yaml", &format!("policies: [good.yaml]\ncases:\n{case}\n"))
    };

    let valid = run(&["policies", "validate", &good]);
    assert_eq!(code(&valid), 0, "{}", stderr(&valid));
    let refused = run(&["policies", "validate", &good, &bad]);
    assert_eq!(code(&refused), 2);
    for told in
        ["condition: at character 1: there is no field `use.purpos`", "effect: it must be set", "mode: it must be set"]
    {
        assert!(stderr(&refused).contains(told), "{told}: {}", stderr(&refused));
    }
    assert_eq!(code(&run(&["policies", "test", &cases("INELIGIBLE")])), 0);
    let failed = run(&["policies", "test", &cases("ELIGIBLE")]);
    assert_eq!(code(&failed), 1);
    assert!(stdout(&failed).contains("expected ELIGIBLE, got INELIGIBLE"), "{}", stdout(&failed));
    for (text, told) in [
        ("cases: []", "there is none"),
        ("cases: [{model: x}]", "it expects nothing"),
        ("cases: [{verdict: ELIGIBLE}]", "model: it must be set"),
        ("cases: [{model: x, verdict: MAYBE}]", "`MAYBE` is no verdict: write eligible"),
        ("case: []", "there is no field `case`"),
        ("cases: [{model: x, use: {purpos: y}, verdict: ELIGIBLE}]", "purpos"),
    ] {
        let refused = run(&["policies", "test", &write("broken.yaml", text)]);
        assert_eq!(code(&refused), 2, "{text}");
        assert!(stderr(&refused).contains(told), "{text}: {}", stderr(&refused));
    }

    // Before and after it is switched on, on a server.
    let serving = Serving::start(folder.path(), &["--store", "memory"]);
    let ask = ["check", "allenai/OLMo-2-1124-7B", "--purpose", "research", "--hosting", "self-hosted"];
    let ask = |label: &str| {
        let output = serving.run(&[&ask[..], &["--label", label]].concat());
        code(&output)
    };
    assert_eq!(ask("environment=production"), 0);
    let tried = serving.run(&[
        "policies",
        "simulate",
        &good,
        "--purpose",
        "research",
        "--hosting",
        "self-hosted",
        "--label",
        "environment=production",
        "--filter",
        "model.publisher = allenai",
    ]);
    assert_eq!(code(&tried), 0, "{}", stderr(&tried));
    assert!(stdout(&tried).contains("ELIGIBLE → INELIGIBLE"), "{}", stdout(&tried));
    assert_eq!(code(&serving.run(&["policies", "apply", &good, "--dry-run"])), 0);
    assert_eq!(ask("environment=production"), 0);
    assert_eq!(code(&serving.run(&["policies", "apply", &good])), 0);
    assert_eq!((ask("environment=production"), ask("environment=staging")), (5, 0));
    assert!(stdout(&serving.run(&["policies", "list"])).contains("BLOCK  ENFORCED"));
    assert_eq!(code(&serving.run(&["policies", "delete", "p"])), 0);
    assert_eq!(ask("environment=production"), 0);
    // Without a server, from the file.
    let gate = ["--policies", &good, "--label", "environment=production"];
    assert_eq!(code(&offline("allenai/OLMo-2-1124-7B", &gate)), 5);
    assert_eq!(code(&offline("allenai/OLMo-2-1124-7B", &["--label", "environment"])), 2);
}

#[test]
fn deployments_are_registered_listed_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let one = write(
        "one.yaml",
        "name: deployments/one\nmodel: allenai/OLMo-2-1124-7B\nowner: search\nenvironment: production\nuse: {purpose: research, hosting: self-hosted}\n",
    );
    let policy = write(
        "policy.yaml",
        "name: policies/p\ncondition: model.publisher = allenai\neffect: BLOCK\nmessage: ask us\nmode: ENFORCED\n",
    );
    let serving = Serving::start(folder.path(), &["--store", "memory"]);
    let follower = weighbridge()
        .args(["watch", "deployments", "--since", "1", "--limit", "2"])
        .env("WEIGHBRIDGE_SERVER", serving.address())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(code(&serving.run(&["deployments", "apply", &one])), 0);
    assert!(stdout(&serving.run(&["deployments", "list"])).contains("ELIGIBLE"));
    let tried = serving.run(&["policies", "simulate", &policy, "--deployments"]);
    assert!(stdout(&tried).contains("deployments/one  publishers/allenai/models/olmo-2-1124-7b"), "{}", stdout(&tried));
    assert_eq!(code(&serving.run(&["policies", "apply", &policy])), 0);
    let listed = |verdict: &str| stdout(&serving.run(&["deployments", "list", "--verdict", verdict]));
    assert!(listed("ineligible").contains("deployments/one"));
    assert!(listed("eligible").contains("deployments: 0"));
    assert_eq!(code(&serving.run(&["deployments", "list", "--verdict", "maybe"])), 2);
    let followed = follower.wait_with_output().unwrap();
    let told = stdout(&followed);
    assert_eq!(code(&followed), 0, "{told}");
    assert!(told.contains("ADDED") && told.contains("ELIGIBLE → INELIGIBLE, because of policies/p"), "{told}");
    let got = serving.run(&["deployments", "get", "one", "--format", "json"]);
    assert!(stdout(&got).contains("VERDICT_INELIGIBLE"), "{}", stdout(&got));
    assert_eq!(code(&serving.run(&["deployments", "delete", "one"])), 0);
    assert_eq!(code(&serving.run(&["deployments", "get", "one"])), 6);
}

#[test]
fn the_models_of_a_file_are_gated_and_told_as_sarif() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let list = write(
        "our models.txt",
        &format!("# ours\nallenai/OLMo-2-1124-7B\n{LLAMA} # chat\nno-such-org/no-such-model\n"),
    );
    let gate = |more: &[&str]| {
        run(&[&["check", "--offline", "--purpose", "research", "--hosting", "self-hosted"], more].concat())
    };
    assert_eq!(code(&gate(&["--models", &list])), 6);
    let told = gate(&["--models", &list, "--format", "sarif"]);
    assert_eq!(code(&told), 6);
    let log: serde_json::Value = serde_json::from_str(&stdout(&told)).unwrap();
    assert_eq!((&log["version"], &log["runs"][0]["tool"]["driver"]["name"]), (&"2.1.0".into(), &"weighbridge".into()));
    let results = log["runs"][0]["results"].as_array().unwrap();
    let of = |rule: &str| -> Vec<(&str, i64)> {
        let of_rule = results.iter().filter(|result| result["ruleId"] == rule);
        let place = |result: &'_ serde_json::Value| {
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], list.replace(' ', "%20"));
            place["region"]["startLine"].as_i64().unwrap()
        };
        of_rule.map(|result| (result["level"].as_str().unwrap(), place(result))).collect()
    };
    assert_eq!(of("SCALE_GATE_UNKNOWN"), [("warning", 3)]);
    assert_eq!(of("NO_ANSWER"), [("error", 4)]);
    assert!(of("DUTY_APPLIES").iter().all(|(level, line)| *level == "note" && *line == 3));
    let rules: Vec<&str> = log["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["id"].as_str().unwrap())
        .collect();
    assert!(results.iter().all(|result| rules.contains(&result["ruleId"].as_str().unwrap())));

    let gateway = write(
        "litellm.yaml",
        "model_list:\n- model_name: chat\n  litellm_params: {model: hosted_vllm/allenai/OLMo-2-1124-7B}\n",
    );
    assert_eq!(code(&gate(&["--models", &gateway])), 0);
    for (wrong, told) in [("models: []", "model_list"), ("", "model_list"), ("model_list: []", "names no model")] {
        let refused = gate(&["--models", &write("wrong.yaml", wrong)]);
        assert_eq!(code(&refused), 2, "{wrong}");
        assert!(stderr(&refused).contains(told), "{wrong}: {}", stderr(&refused));
    }
    assert_eq!(code(&gate(&[])), 2);
    assert_eq!(code(&run(&["models", "fields", "--format", "sarif"])), 2);
}

#[test]
fn the_starter_policies_do_what_their_cases_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/policies");
    let tested = run(&["policies", "test", &folder.join("cases.yaml").display().to_string()]);
    assert_eq!(code(&tested), 0, "{}{}", stdout(&tested), stderr(&tested));
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in files.iter().filter(|file| !file.ends_with("cases.yaml")) {
        let valid = run(&["policies", "validate", &file.display().to_string()]);
        assert_eq!(code(&valid), 0, "{}", stderr(&valid));
    }
}

#[test]
fn what_was_is_shown_and_what_changed_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &["--store", "memory"]);
    let file = folder.path().join("one.toml");
    let write = |command: &str, license: &str, family: &str| {
        let part = format!(
            "[[components]]\nkind = \"model-weights\"\navailability = \"available\"\nlicense_expression = \"{license}\""
        );
        let text =
            format!("name = \"publishers/acme/models/one\"\nfamily = \"{family}\"\naliases = [\"Acme/One\"]\n{part}\n");
        std::fs::write(&file, text).unwrap();
        let output = serving.run(&["models", command, file.to_str().unwrap()]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let written: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        written["revision"].as_str().unwrap().to_owned()
    };
    let first = write("create", "CC-BY-NC-4.0", "one");
    write("update", "Apache-2.0", "two");
    let check =
        |more: &[&str]| {
            code(&serving.run(
                &[&["check", "Acme/One", "--purpose", "commercial", "--hosting", "self-hosted"][..], more].concat(),
            ))
        };
    assert_eq!((check(&[]), check(&["--as-of", &first])), (0, 5));
    assert_eq!(check(&["--as-of", "1970-01-02"]), 6);
    assert_eq!((check(&["--as-of", "then"]), check(&["--as-of", "9999-01-01"])), (2, 2));
    let shown = stdout(&serving.run(&["models", "get", "Acme/One", "--as-of", &first]));
    assert!(shown.contains("CC-BY-NC-4.0"), "{shown}");
    let listed = stdout(&serving.run(&["models", "list", "--publisher", "acme", "--as-of", &first]));
    assert!(listed.contains("CC-BY-NC-4.0") && listed.contains("1 models"), "{listed}");
    let eligible = ["models", "eligible", "--publisher", "acme", "--purpose", "commercial", "--as-of", &first];
    assert!(!stdout(&serving.run(&eligible)).contains("acme"));
    assert!(stdout(&serving.run(&["licenses", "get", "MIT", "--as-of", &first])).contains("licenses/MIT"));
    assert!(stdout(&serving.run(&["licenses", "list", "--as-of", "1970-01-02"])).contains("0 licenses"));

    assert_eq!(code(&serving.run(&["models", "delete", "publishers/acme/models/one"])), 0);
    let history = stdout(&serving.run(&["models", "history", "publishers/acme/models/one"]));
    let lines: Vec<Vec<&str>> = history.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 4, "{history}");
    assert_eq!(lines[0][2..], ["DELETED", "OPERATOR", "operator"]);
    assert_eq!(lines[1][2..5], ["UPDATED", "OPERATOR", "operator"]);
    assert_eq!(lines[1][5..], ["components,", "family,", "licenseExpression"], "{history}");
    assert_eq!((lines[2][0], lines[2][2]), (first.as_str(), "CREATED"));
    let history = stdout(&serving.run(&["--format", "json", "licenses", "history", "MIT"]));
    let history: serde_json::Value = serde_json::from_str(&history).unwrap();
    assert_eq!(history["revisions"][0]["change"], "REVISION_CHANGE_CREATED");
    assert_eq!(code(&serving.run(&["models", "history", "publishers/acme/models/none"])), 6);
    let refused = offline(LLAMA, &["--as-of", "1"]);
    assert_eq!(code(&refused), 2);
    assert!(stderr(&refused).contains("no history"), "{}", stderr(&refused));
}

#[test]
fn a_reviewers_conclusion_settles_a_license_in_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &["--store", "memory"]);
    let at = |words: &[&str]| run(&[words, &["--server", serving.address()]].concat());
    let model = "apple/OpenELM-3B";
    let check = ["check", model, "--purpose", "commercial", "--hosting", "self-hosted"];
    assert!(stdout(&at(&check)).contains("LICENSE_EVIDENCE_CONFLICT"));
    let conclude = |more: &[&str]| {
        let base = ["models", "conclude", model, "--license", "Apache-2.0", "--reviewer", "legal@acme.example"];
        at(&[&base[..], &["--url", "https://acme.example/17"], more].concat())
    };
    let misspelled = conclude(&["--component", "model-wieghts"]);
    assert_eq!(code(&misspelled), 2);
    assert!(String::from_utf8_lossy(&misspelled.stderr).contains("model-weights"));
    assert_eq!(code(&conclude(&["--date", "soon"])), 2);
    assert_eq!(code(&conclude(&["--dry-run"])), 0);
    assert!(stdout(&at(&check)).contains("LICENSE_EVIDENCE_CONFLICT"));
    assert_eq!(code(&conclude(&["--date", "2026-03-01"])), 0);
    let text = stdout(&at(&check));
    assert!(text.contains("as legal@acme.example concluded on 2026-03-01 (https://acme.example/17)"), "{text}");
    assert!(!text.contains("LICENSE_EVIDENCE_CONFLICT"), "{text}");
}

#[test]
fn an_answer_in_text_names_clause_and_figures() {
    let text = stdout(&offline(LLAMA, &["--mau", "800M@2024-11:group"]));
    for part in ["INELIGIBLE", "SCALE_GATE_EXCEEDED", "800,000,000", "700,000,000", "clause 2", "https://"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let text = stdout(&offline(LLAMA, &[]));
    assert!(text.contains("missing facts: organization.monthly_active_users"), "{text}");
}

#[test]
fn an_answer_in_json_is_the_proto_mapping() {
    let output = offline(LLAMA, &["--mau", "800M@2024-11:group", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["decision"]["verdict"], "VERDICT_INELIGIBLE");
    assert_eq!(value["decision"]["modelTier"], "TIER_OPEN_WEIGHT");
    let several = run(&["check", "--offline", LLAMA, "nobody/knows-this", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_slice(&several.stdout).unwrap();
    assert_eq!(value.as_array().unwrap().len(), 2);
    assert_eq!(value[1]["error"]["code"], "NotFound");
    assert_eq!(code(&several), 6);
}

#[test]
fn near_names_are_offered() {
    let output = offline("meta-llama/Llama-3.3-70B-Instrct", &[]);
    assert_eq!(code(&output), 6);
    assert!(stderr(&output).contains(&format!("did you mean `{LLAMA}`")), "{}", stderr(&output));
}

#[test]
fn a_use_file_is_read_and_its_problems_are_all_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let yaml = file(
        "use.yaml",
        "purpose: commercial\nhosting: self-hosted\nmeasures:\n  - {metric: monthly_active_users, subject: group, period: 2024-11, value: 5}\n",
    );
    assert_eq!(code(&run(&["check", "--offline", LLAMA, "--use", &yaml])), 0);
    // An option replaces what the file says.
    let research = run(&["check", "--offline", "Qwen/Qwen2.5-3B", "--use", &yaml, "--purpose", "research"]);
    assert_ne!(code(&research), 5);
    let bad = file(
        "bad.toml",
        "purpos = \"commercial\"\nhosting = \"cloud\"\n[organization]\nmonthly_active_users = \"many\"\n",
    );
    let output = run(&["check", "--offline", LLAMA, "--use", &bad]);
    assert_eq!(code(&output), 2);
    for part in ["purpos", "did you mean `purpose`", "hosting", "monthly_active_users"] {
        assert!(stderr(&output).contains(part), "{part} is not in {}", stderr(&output));
    }
    let broken = file("broken.json", "{\"purpose\": ");
    assert_eq!(code(&run(&["check", "--offline", LLAMA, "--use", &broken])), 2);
    assert_eq!(code(&run(&["check", "--offline", LLAMA, "--use", "/no/such/file.json"])), 1);
}

#[test]
fn a_missing_server_says_what_to_do() {
    let output = run(&["check", LLAMA, "--server", "http://127.0.0.1:1"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("weighbridge serve"), "{}", stderr(&output));
    assert_eq!(code(&run(&["status", "--server", "::not an address::"])), 2);
}

#[test]
fn license_files_are_validated_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.toml");
    std::fs::write(
        &good,
        "name = \"licenses/LicenseRef-Acme\"\ndisplay_name = \"Acme\"\ncategory = \"open-weight-permissive\"\n[permissions]\nuse = { status = \"allowed\" }\n",
    )
    .unwrap();
    assert_eq!(code(&run(&["licenses", "validate", good.to_str().unwrap()])), 0);
    let bad = folder.path().join("bad.toml");
    std::fs::write(
        &bad,
        "name = \"licenses/no good\"\ncategory = \"free\"\n[[use_restrictions]]\ncategory = \"militry\"\nstrength = \"absolute\"\n",
    )
    .unwrap();
    let output = run(&["licenses", "validate", folder.path().to_str().unwrap()]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("category") && stderr(&output).contains("bad.toml"), "{}", stderr(&output));
}

/// A running `weighbridge serve`.
pub(super) struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    pub(super) fn start(data: &Path, more: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", data, more)
    }

    fn start_at(listen: &str, data: &Path, more: &[&str]) -> Self {
        let mut child = weighbridge()
            .args(["serve", "--listen", listen, "--log-format", "json", "--data-dir"])
            .arg(data)
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
                event["server.address"].as_str().map(|a| format!("http://{a}"))
            })
            .unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    fn run(&self, arguments: &[&str]) -> Output {
        weighbridge().args(arguments).env("WEIGHBRIDGE_SERVER", &self.address).output().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_served_registry_is_changed_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(&folder.path().join("data"), &[]);
    let status = serving.run(&["status"]);
    assert_eq!(code(&status), 0, "{}", stderr(&status));
    assert!(stdout(&status).contains("takes writes"));

    let model = folder.path().join("model.yaml");
    std::fs::write(
        &model,
        "name: publishers/acme/models/one\naliases: [Acme/One]\ncomponents:\n- {kind: model-weights, availability: available, license_expression: MIT}\n",
    )
    .unwrap();
    let model = model.to_str().unwrap();
    assert_eq!(code(&serving.run(&["models", "create", model, "--dry-run"])), 0);
    let created = serving.run(&["models", "create", model]);
    assert_eq!(code(&created), 0, "{}", stderr(&created));
    assert_eq!(code(&serving.run(&["models", "create", model])), 1);
    assert!(stdout(&serving.run(&["models", "get", "Acme/One"])).contains("publishers/acme/models/one"));
    assert!(stdout(&serving.run(&["models", "list", "--publisher", "acme"])).contains("1 models"));
    let check = ["check", "acme/one", "--purpose", "commercial", "--hosting", "self-hosted"];
    assert_eq!(code(&serving.run(&check)), 0);
    assert_eq!(code(&serving.run(&["models", "delete", "publishers/acme/models/one"])), 0);
    assert_eq!(code(&serving.run(&check)), 6);

    let license = folder.path().join("license.toml");
    std::fs::write(
        &license,
        "name = \"licenses/LicenseRef-Acme\"\ndisplay_name = \"Acme\"\ncategory = \"non-commercial\"\nconfidence = \"read-full-text\"\n[permissions]\nuse = { status = \"allowed\" }\ncommercial_use = { status = \"prohibited\", clause = \"3\" }\n",
    )
    .unwrap();
    let applied = serving.run(&["licenses", "apply", license.to_str().unwrap()]);
    assert_eq!(code(&applied), 0, "{}", stderr(&applied));
    assert!(stdout(&serving.run(&["licenses", "get", "LicenseRef-Acme"])).contains("CATEGORY_NON_COMMERCIAL"));
    assert!(stdout(&serving.run(&["licenses", "list"])).contains("LicenseRef-Acme"));
}

#[test]
fn a_watch_outlives_its_server_and_ends_when_it_has_enough() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut serving = Serving::start(&data, &[]);
    let address = serving.address().to_owned();
    let watch = |more: &[&str]| {
        let mut command = weighbridge();
        command.args(["watch", "models", "--publisher", "acme", "--server", &address, "--since", "1"]).args(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut watching = watch(&["--limit", "3", "--format", "json"]);
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut change = || serde_json::from_str::<serde_json::Value>(&lines.next().unwrap().unwrap()).unwrap();
    let put = |serving: &Serving, context: u32| {
        let file = folder.path().join("model.yaml");
        std::fs::write(&file, format!("name: publishers/acme/models/one\ncontext_tokens: {context}\n")).unwrap();
        let verb = if context == 1 { "create" } else { "update" };
        assert_eq!(code(&serving.run(&["models", verb, file.to_str().unwrap()])), 0);
    };
    put(&serving, 1);
    let created = change();
    assert_eq!((&created["kind"], &created["revision"]), (&"CHANGE_KIND_ADDED".into(), &"2".into()));
    assert_eq!(
        (&created["name"], &created["model"]["contextTokens"]),
        (&"publishers/acme/models/one".into(), &"1".into())
    );

    Command::new("kill").arg(serving.child.id().to_string()).status().unwrap();
    serving.child.wait().unwrap();
    let serving = Serving::start_at(address.trim_start_matches("http://"), &data, &[]);
    put(&serving, 2);
    assert_eq!(change()["kind"], "CHANGE_KIND_CHANGED");
    put(&serving, 3);
    assert_eq!(change()["model"]["contextTokens"], "3");
    let output = watching.wait_with_output().unwrap();
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).contains("trying again from revision 2"), "{}", stderr(&output));

    // In text, from the beginning; Ctrl-C is no failure.
    let mut watching = watch(&[]);
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    for word in ["ADDED", "CHANGED", "CHANGED"] {
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(word) && line.contains("publishers/acme/models/one"), "{line}");
    }
    Command::new("kill").args(["-INT", &watching.id().to_string()]).status().unwrap();
    assert_eq!(code(&watching.wait_with_output().unwrap()), 0);
    let licenses = serving.run(&["watch", "licenses", "--filter", "osi_aproved = true"]);
    assert_eq!(code(&licenses), 2);
    assert!(stderr(&licenses).contains("osi_approved"), "{}", stderr(&licenses));
}

#[test]
fn offline_and_server_give_one_answer() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(&folder.path().join("data"), &[]);
    let arguments = [
        "check",
        "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
        "--purpose",
        "commercial",
        "--hosting",
        "self-hosted",
        "--activity",
        "offer-as-service",
        "--mau",
        "5M",
        "--format",
        "json",
    ];
    let online = serving.run(&arguments);
    let offline = run(&[&arguments[..], &["--offline"]].concat());
    assert_eq!(code(&online), code(&offline));
    assert_eq!(stdout(&online), stdout(&offline));
}

#[test]
fn a_folder_that_cannot_be_served_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let serve = |data: &Path| {
        let data = data.to_str().unwrap();
        run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data])
    };
    let serving = Serving::start(&data, &[]);
    let locked = serve(&data);
    assert_eq!(code(&locked), 1);
    assert!(stderr(&locked).contains("lock") || stderr(&locked).contains("another"), "{}", stderr(&locked));
    drop(serving);

    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert_eq!(code(&serve(&file)), 1);
    let foreign = folder.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.txt"), "x").unwrap();
    assert_eq!(code(&serve(&foreign)), 1);
    // Nobody can make files there, not even root.
    assert_eq!(code(&serve(Path::new("/proc/weighbridge-data"))), 1);

    let head = data.join("1/HEAD");
    let whole = std::fs::read(&head).unwrap();
    std::fs::remove_file(&head).unwrap();
    let lost = serve(&data);
    assert_eq!(code(&lost), 1);
    std::fs::write(&head, whole).unwrap();
    std::fs::write(data.join("FORMAT"), "weighbridge store 99\n").unwrap();
    let newer = serve(&data);
    assert_eq!(code(&newer), 1);
    assert!(stderr(&newer).contains("99"), "{}", stderr(&newer));
}

#[test]
fn other_addresses_than_loopback_need_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let output = run(&["serve", "--listen", "0.0.0.0:0", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--insecure"), "{}", stderr(&output));
    assert!(!data.exists());
}

#[test]
fn a_port_in_use_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(&folder.path().join("one"), &[]);
    let address = serving.address.trim_start_matches("http://");
    let other = folder.path().join("two");
    let output = run(&["serve", "--listen", address, "--data-dir", other.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("cannot be listened on"), "{}", stderr(&output));
}

#[test]
fn a_term_signal_ends_the_server_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut serving = Serving::start(&folder.path().join("data"), &[]);
    assert_eq!(code(&serving.run(&["status"])), 0);
    let killed = Command::new("kill").arg(serving.child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_huge_file_of_zeros_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let zeros = folder.path().join("zeros.json");
    std::fs::File::create(&zeros).unwrap().set_len(100 << 20).unwrap();
    let zeros = zeros.to_str().unwrap();
    let output = run(&["import", "models-dev", zeros]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("bytes"), "{}", stderr(&output));
    let output = run(&["licenses", "validate", zeros]);
    assert_eq!(code(&output), 2);
}

#[test]
fn advice_is_given_offline() {
    let estimated =
        run(&["advise", "hosting", "--offline", LLAMA, "--precision", "int4", "--accelerator", "h100-sxm-80gb"]);
    assert_eq!(code(&estimated), 0, "{}", stderr(&estimated));
    let text = stdout(&estimated);
    assert!(text.contains("35.3 weights") && text.contains("1 x h100-sxm-80gb"), "{text}");
    let all = run(&[
        "advise",
        "hosting",
        "--offline",
        LLAMA,
        "--count",
        "1",
        "--all",
        "--assumptions-shown",
        "--context",
        "16k",
    ]);
    assert!(
        stdout(&all).contains("too much for each") && stdout(&all).contains("framework_gb = 1.5 GB"),
        "{}",
        stdout(&all)
    );
    let sized = run(&["advise", "hosting", "--offline", "--parameters", "8B", "--format", "json"]);
    let sized: serde_json::Value = serde_json::from_slice(&sized.stdout).unwrap();
    assert_eq!(sized["memory"]["weightsBytes"], "16000000000");

    let folder = tempfile::tempdir().unwrap();
    let chart = folder.path().join("costs.svg");
    let drawn = run(&["advise", "costs", "--offline", LLAMA, "--chart", chart.to_str().unwrap()]);
    assert_eq!(code(&drawn), 0, "{}", stderr(&drawn));
    assert!(stdout(&drawn).contains("no offering with a price is known"), "{}", stdout(&drawn));
    let picture = std::fs::read_to_string(chart).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("tokens a day"), "{picture:.200}");

    let route = ["advise", "route", "--offline", "--purpose", "commercial", "--on-premises", "--compliance", "hipaa"];
    let ranked = run(&[&route[..], &["--model", LLAMA, "--tokens-per-day", "5M"]].concat());
    let text = stdout(&ranked);
    assert_eq!(code(&ranked), 0, "{}", stderr(&ranked));
    assert!(text.starts_with("1. SELF_HOSTED  REVIEW") && text.contains("VENDOR_API  CLOSED"), "{text}");
    assert!(text.contains("missing facts: organization.monthly_active_users"), "{text}");
    let listed = run(&["advise", "accelerators", "--offline"]);
    assert!(stdout(&listed).contains("h100-sxm-80gb") && stdout(&listed).contains("itar"), "{}", stdout(&listed));
}

#[test]
fn bad_advice_arguments_say_what_to_write() {
    for (arguments, part) in [
        (&["advise", "hosting", "--offline"][..], "<MODEL>"),
        (&["advise", "hosting", "--offline", LLAMA, "--precision", "int3"], "did you mean `int4`?"),
        (&["advise", "hosting", "--offline", LLAMA, "--accelerator", "h100"], "did you mean `h100-"),
        (&["advise", "hosting", "--offline", LLAMA, "--assume", "framework"], "NAME=NUMBER"),
        (&["advise", "hosting", "--offline", LLAMA, "--context", "many"], "it is no number"),
        (&["advise", "costs", "--offline", LLAMA, "--chart", "costs.png"], "must end in .svg"),
        (&["advise", "costs", "--offline", LLAMA, "--utilization", "2"], "utilization"),
        (&["advise", "route", "--offline", "--budget", "5"], "tokens_per_day"),
        (&["advise", "route", "--offline", "--compliance", "sox"], "known are"),
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?} {}", stdout(&output));
        assert!(stderr(&output).contains(part), "{arguments:?} {}", stderr(&output));
    }
    assert_eq!(code(&run(&["advise", "costs", "--offline", "no-such/model"])), 6);
}
