//! The manifests of `deploy/`: what they say is what Kubernetes knows, and the settings in them are settings.

use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use weighbridge::auth::digest_of;

use crate::cli::weighbridge;

const MANIFESTS: [&str; 4] =
    ["kubernetes.yaml", "kubernetes-replicas.yaml", "kubernetes-etcd.yaml", "kubernetes-migrate.yaml"];

fn documents(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    // Kubernetes reads YAML 1.1, in which that is an octal number.
    let text = std::fs::read_to_string(path).unwrap().replace(": 0440\n", ": 288\n");
    serde_saphyr::from_multiple(&text).unwrap()
}

/// What Kubernetes reads of it.
fn read<T: DeserializeOwned + Serialize>(document: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(document.clone()).unwrap()).unwrap()
}

/// Where something is written that is not read: a field in the wrong place, or with a name that there is not.
fn lost(written: &Value, read: &Value, at: &str, found: &mut Vec<String>) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (key, value) in written {
                lost(value, read.get(key).unwrap_or(&Value::Null), &format!("{at}.{key}"), found);
            }
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            for (number, (written, read)) in written.iter().zip(read).enumerate() {
                lost(written, read, &format!("{at}[{number}]"), found);
            }
        }
        _ if written == read => {}
        _ => found.push(format!("{at}: {written} is read as {read}")),
    }
}

#[test]
fn kubernetes_knows_all_that_is_written() {
    let mut found = Vec::new();
    for name in MANIFESTS {
        let documents = documents(name);
        assert!(!documents.is_empty(), "{name}");
        for document in documents {
            let kind = document["kind"].as_str().unwrap();
            let read = match kind {
                "ConfigMap" => read::<ConfigMap>(&document),
                "Deployment" => read::<Deployment>(&document),
                "Job" => read::<Job>(&document),
                "NetworkPolicy" => read::<NetworkPolicy>(&document),
                "PodDisruptionBudget" => read::<PodDisruptionBudget>(&document),
                "Service" => read::<Service>(&document),
                "ServiceAccount" => read::<ServiceAccount>(&document),
                "StatefulSet" => read::<StatefulSet>(&document),
                kind => panic!("{name}: {kind}"),
            };
            lost(&document, &read, &format!("{name}: {kind}"), &mut found);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    // It would be seen.
    let service = serde_json::json!({
        "apiVersion": "v1", "kind": "Service", "spec": { "clusterIp": "None", "ports": [{ "port": 1, "targetPort": "x" }] }
    });
    lost(&service, &read::<Service>(&service), "wrong", &mut found);
    assert_eq!(found, [r#"wrong.spec.clusterIp: "None" is read as null"#]);
}

/// The only document of a kind.
fn one(name: &str, kind: &str) -> Value {
    let of_kind = documents(name).into_iter().filter(|document| document["kind"] == kind);
    let [document] = of_kind.collect::<Vec<_>>().try_into().unwrap();
    document
}

/// The files that a pod would find, in a folder in place of the root.
fn mounted(root: &Path) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let token = format!("[[tokens]]\nname = \"a\"\nrole = \"reader\"\nsha256 = \"{}\"\n", digest_of("wb_a"));
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    for (path, text) in [
        ("tls/tls.crt", &certificate),
        ("tls/tls.key", &key),
        ("credentials/credentials.toml", &token),
        ("etcd/ca.crt", &certificate),
        ("etcd/tls.crt", &certificate),
        ("etcd/tls.key", &key),
    ] {
        let path = root.join("etc/weighbridge").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// The paths of a pod are those of a folder.
fn rooted(text: &str, root: &Path) -> String {
    let root = root.to_str().unwrap();
    text.replace("/etc/weighbridge", &format!("{root}/etc/weighbridge"))
        .replace("/var/lib/weighbridge", &format!("{root}/var/lib/weighbridge"))
}

#[test]
fn the_settings_in_them_are_right() {
    let folder = tempfile::tempdir().unwrap();
    mounted(folder.path());
    for name in ["kubernetes.yaml", "kubernetes-replicas.yaml"] {
        let settings = one(name, "ConfigMap")["data"]["weighbridge.toml"].as_str().unwrap().to_owned();
        let file: PathBuf = folder.path().join(name).with_extension("toml");
        std::fs::write(&file, rooted(&settings, folder.path())).unwrap();
        let output = weighbridge().args(["config", "check", "--config"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if name == "kubernetes-replicas.yaml" && !cfg!(feature = "etcd") {
            // Nothing else is wrong with them.
            assert!(said.contains("this build has no store in etcd") && said.trim().lines().count() == 1, "{said}");
        } else {
            assert!(output.status.success(), "{name}: {said}");
        }
    }
}

#[test]
fn the_job_calls_the_command_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    mounted(folder.path());
    let job: Job = serde_json::from_value(one("kubernetes-migrate.yaml", "Job")).unwrap();
    let pod = job.spec.unwrap().template.spec.unwrap();
    let arguments = pod.containers[0].args.clone().unwrap();
    let output = weighbridge().args(arguments.iter().map(|text| rooted(text, folder.path()))).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let wanted = if cfg!(feature = "etcd") { "holds no store" } else { "this build has no store in etcd" };
    assert!(said.contains(wanted), "{said}");
}
