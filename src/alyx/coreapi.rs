//! The older description of the interface at `/docs/`: a CoreAPI document, made from [`schema`].
//!
//! ONE 2.x reads it before its first question (ALYX.md 5, 9.2): endpoint ▸ action ▸ `url`, `action` (the
//! method) and `fields`. What `schema` leaves out is left out here, too.

use serde_json::{Map, Value, json};

use super::schema;

/// The media type that is asked for it.
pub const MEDIA_TYPE: &str = "application/coreapi+json";

/// The document.
pub fn document() -> Value {
    let schema = schema::document();
    let mut document = Map::new();
    document.insert("_type".to_owned(), json!("document"));
    document.insert("_meta".to_owned(), json!({ "url": "/docs/", "title": "Alyx" }));
    for (path, operations) in schema["paths"].as_object().into_iter().flatten() {
        if matches!(path.as_str(), "/api/schema" | "/docs/") {
            continue;
        }
        let endpoint = path.split('/').nth(1).unwrap_or_default();
        let entry = document.entry(endpoint).or_insert_with(|| json!({}));
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let link = link(&schema, path, method, operation);
            match path.as_str() {
                // The one path with a name of its own below the endpoint.
                "/cache/info/" => entry["info"]["list"] = link,
                _ => entry[action(path, method)] = link,
            }
        }
    }
    Value::Object(document)
}

/// What CoreAPI calls a method of a path.
fn action(path: &str, method: &str) -> &'static str {
    let of_record = path.contains('{');
    match (path, method) {
        ("/sync-file-status", "get") => "read",
        ("/water-type/{name}", "post") => "create_0",
        (_, "get") if of_record => "read",
        (_, "get") => "list",
        (_, "post") => "create",
        (_, "put") => "update",
        (_, "patch") => "partial_update",
        _ => "delete",
    }
}

fn link(schema: &Value, path: &str, method: &str, operation: &Value) -> Value {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    // On this path the document names no window.
    let windowless = path == "/water-type/{name}";
    let parameters = parameters.filter(|one| !windowless || one["in"] == "path");
    let mut fields: Vec<Value> = parameters
        .map(|one| {
            let name = one["name"].as_str().unwrap_or_default();
            let location = one["in"].as_str().unwrap_or_default();
            field(name, location, &one["schema"], one["description"].as_str().unwrap_or_default())
        })
        .collect();
    let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    if let Some(name) = body.as_str().and_then(|reference| reference.rsplit('/').next()) {
        let properties = schema["components"]["schemas"][name]["properties"].as_object();
        fields.extend(properties.into_iter().flatten().map(|(name, schema)| field(name, "form", schema, "")));
    }
    json!({
        "_type": "link",
        "url": path,
        "action": method,
        "description": operation["description"],
        "fields": fields,
    })
}

fn field(name: &str, location: &str, schema: &Value, description: &str) -> Value {
    let kind = schema["type"].as_str().unwrap_or("object");
    let mut field = json!({
        "name": name,
        "location": location,
        "schema": { "_type": kind, "title": name, "description": description },
    });
    if location == "path" {
        field["required"] = json!(true);
    }
    field
}
