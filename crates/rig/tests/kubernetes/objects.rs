//! The objects of the story, and what is read off objects.

use serde_json::{Value, json};
use tombolo_rig::kubernetes::Reply;

pub(crate) fn namespace() -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "rig" } })
}

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "value": value } })
}

pub(crate) fn event(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": "rig" },
        "involvedObject": { "kind": "ConfigMap", "name": "x", "namespace": "rig" },
        "reason": "Rig",
        "message": "it happened",
        "type": "Normal",
    })
}

pub(crate) fn deployment(replicas: u32) -> Value {
    let labels = json!({ "app": "web" });
    let container = json!({ "name": "web", "image": "registry.example/web" });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web" },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    })
}

pub(crate) fn definition() -> Value {
    let spec = json!({ "type": "object", "properties": { "metres": { "type": "integer" } } });
    let schema = json!({ "openAPIV3Schema": { "type": "object", "properties": { "spec": spec } } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "tides.rig.example" },
        "spec": {
            "group": "rig.example",
            "scope": "Namespaced",
            "names": { "plural": "tides", "singular": "tide", "kind": "Tide" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }],
        },
    })
}

pub(crate) fn custom(name: &str, metres: u32) -> Value {
    json!({ "apiVersion": "rig.example/v1", "kind": "Tide", "metadata": { "name": name }, "spec": { "metres": metres } })
}

/// The names of a list's items.
pub(crate) fn names(reply: &Reply) -> Vec<String> {
    reply.object["items"].as_array().into_iter().flatten().map(|item| name(item).to_owned()).collect()
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The version of an object or a list: the store's revision; 0 when there is none.
pub(crate) fn version(object: &Value) -> u64 {
    let text = object["metadata"]["resourceVersion"].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}
