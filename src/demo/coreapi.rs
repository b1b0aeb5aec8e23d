//! `/docs/`: the interface as a CoreAPI document, which ONE 2 reads where ONE 3 reads `/api/schema`.
//!
//! It says the same as the OpenAPI schema in another form (endpoint ▸ action ▸ fields, REST.md 5), so it
//! is made from that schema: from its `paths` and the `components` that these refer to.

use serde_json::{Map, Value, json};

/// Paths that the document leaves out, as Alyx's does: those that describe the interface.
const LEFT_OUT: [&str; 2] = ["/api/schema", "/docs/"];

/// The CoreAPI document that says what the OpenAPI `schema` says.
pub(super) fn document(schema: &Value) -> Value {
    let mut document = Map::new();
    document.insert("_type".to_owned(), "document".into());
    document.insert("_meta".to_owned(), json!({ "url": "/docs/", "title": schema["info"]["title"] }));
    for (path, operations) in schema["paths"].as_object().into_iter().flatten() {
        if LEFT_OUT.contains(&path.as_str()) {
            continue;
        }
        for (method, operation) in operations.as_object().into_iter().flatten() {
            if let (Some(action), Some(endpoint)) = (action(method, path), endpoint(&mut document, path)) {
                // `POST /water-type/{name}` does what `POST /water-type` does, which came first.
                endpoint.entry(action).or_insert_with(|| link(schema, path, method, operation));
            }
        }
    }
    Value::Object(document)
}

/// What REST framework calls a method on a list or on one record.
fn action(method: &str, path: &str) -> Option<&'static str> {
    Some(match method {
        "get" if path.ends_with('}') => "read",
        "get" => "list",
        "post" => "create",
        "put" => "update",
        "patch" => "partial_update",
        "delete" => "delete",
        _ => return None,
    })
}

/// The table of actions for the path's fixed segments, e.g. `cache` ▸ `info`.
fn endpoint<'a>(document: &'a mut Map<String, Value>, path: &str) -> Option<&'a mut Map<String, Value>> {
    let mut table = document;
    for segment in path.split('/').filter(|segment| !segment.is_empty() && !segment.starts_with('{')) {
        table = table.entry(segment).or_insert_with(|| json!({})).as_object_mut()?;
    }
    Some(table)
}

fn link(schema: &Value, path: &str, method: &str, operation: &Value) -> Value {
    let parameters = operation["parameters"].as_array().into_iter().flatten().map(|parameter| {
        let (name, location) = (&parameter["name"], &parameter["in"]);
        field(name, location, parameter["required"] == true, &parameter["schema"])
    });
    let body = body(schema, operation);
    let required = |name: &str| {
        body["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
    };
    let properties = body["properties"].as_object().into_iter().flatten();
    let written = properties.filter(|(_, property)| property["readOnly"] != true);
    let form = written
        .map(|(name, property)| field(&name.as_str().into(), &"form".into(), required(name), property));
    let fields: Vec<Value> = parameters.chain(form).collect();
    let mut link = json!({ "_type": "link", "url": path, "action": method });
    if !body.is_null() {
        link["encoding"] = "application/json".into();
    }
    link["fields"] = fields.into();
    link
}

fn field(name: &Value, location: &Value, required: bool, schema: &Value) -> Value {
    let kind = schema["type"].as_str().unwrap_or("string");
    let mut field = json!({ "name": name });
    if required {
        field["required"] = true.into();
    }
    field["location"] = location.clone();
    field["schema"] =
        json!({ "_type": kind, "title": "", "description": schema["description"].as_str().unwrap_or("") });
    field
}

/// The schema of the operation's JSON body; null if it has none.
fn body<'a>(schema: &'a Value, operation: &'a Value) -> &'a Value {
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    match body["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => schema.pointer(pointer).unwrap_or(&Value::Null),
        None => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_becomes_endpoints_with_actions_and_fields() {
        let schema = json!({
            "info": { "title": "Alyx" },
            "paths": {
                "/api/schema": { "get": {} },
                "/cache/info/": { "get": {} },
                "/labs": {
                    "get": { "parameters": [{ "in": "query", "name": "limit", "schema": { "type": "integer" } }] },
                    "post": { "requestBody": { "content": { "application/json": {
                        "schema": { "$ref": "#/components/schemas/Lab" } } } } },
                },
                "/labs/{name}": { "get": { "parameters": [
                    { "in": "path", "name": "name", "required": true, "schema": { "type": "string" } }] } },
            },
            "components": { "schemas": { "Lab": {
                "required": ["name"],
                "properties": {
                    "id": { "type": "string", "readOnly": true },
                    "name": { "type": "string", "description": "Its name." },
                    "json": { "type": "object" },
                },
            } } },
        });
        let field =
            |kind: &str, description: &str| json!({ "_type": kind, "title": "", "description": description });
        assert_eq!(
            document(&schema),
            json!({
                "_type": "document",
                "_meta": { "url": "/docs/", "title": "Alyx" },
                "cache": { "info": { "list": {
                    "_type": "link", "url": "/cache/info/", "action": "get", "fields": [] } } },
                "labs": {
                    "list": { "_type": "link", "url": "/labs", "action": "get", "fields": [
                        { "name": "limit", "location": "query", "schema": field("integer", "") }] },
                    "create": { "_type": "link", "url": "/labs", "action": "post",
                        "encoding": "application/json", "fields": [
                            { "name": "name", "required": true, "location": "form",
                              "schema": field("string", "Its name.") },
                            { "name": "json", "location": "form", "schema": field("object", "") }] },
                    "read": { "_type": "link", "url": "/labs/{name}", "action": "get", "fields": [
                        { "name": "name", "required": true, "location": "path", "schema": field("string", "") }] },
                },
            })
        );
    }
}
