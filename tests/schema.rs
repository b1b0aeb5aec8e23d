//! The description of the interface has the paths, methods and parameters of Alyx's own.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;

use alyx_proxy::alyx::schema;
use serde_json::Value;

type Shape = BTreeMap<String, BTreeMap<String, Vec<(String, String)>>>;

/// Paths, methods, and the names and places of parameters, as recorded from Alyx 3.6.1.
fn recorded() -> Shape {
    serde_json::from_str(include_str!("fixtures/schema-shape.json")).unwrap()
}

fn ours() -> Shape {
    let document = schema::document();
    let paths = document["paths"].as_object().unwrap();
    paths.iter().map(|(path, methods)| (path.clone(), shape(methods))).collect()
}

fn shape(methods: &Value) -> BTreeMap<String, Vec<(String, String)>> {
    let operations = methods.as_object().unwrap().iter();
    operations
        .map(|(method, operation)| {
            let text = |parameter: &Value, key: &str| parameter[key].as_str().unwrap().to_owned();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let mut parameters: Vec<_> = parameters.map(|one| (text(one, "name"), text(one, "in"))).collect();
            parameters.sort();
            (method.clone(), parameters)
        })
        .collect()
}

#[test]
fn has_the_paths_methods_and_parameters_of_alyx() {
    let (recorded, ours) = (recorded(), ours());
    let paths = |shape: &Shape| shape.keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(&ours), paths(&recorded));
    for (path, methods) in &recorded {
        assert_eq!(&ours[path], methods, "{path}");
    }
}

/// What ONE's client follows: `requestBody.content['application/json'].schema.$ref`.
#[test]
fn every_body_refers_to_a_described_record() {
    let document = schema::document();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let mut bodies = 0;
    for body in operations.filter_map(|operation| operation.get("requestBody")) {
        let reference = body["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
        let name = reference.rsplit('/').next().unwrap();
        let properties = document["components"]["schemas"][name]["properties"].as_object();
        assert!(properties.is_some_and(|properties| !properties.is_empty()), "{reference}");
        bodies += 1;
    }
    assert!(bodies > 50, "{bodies}");
}
