//! The API's description, OpenAPI 3.1, made from the table of routes.
//!
//! # Invariants
//! - What stands there is what the router does: both read the same values.

use axum::http::StatusCode;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::problem::{self, MEDIA_TYPE};
use super::route::{About, Access, Gives, Takes};
use crate::auth::Scope;

/// Where schemas stand in the document.
const SCHEMAS: &str = "/components/schemas";

/// Schemas of what is read get this in front, where they may differ from those of what is written.
const INPUT: &str = "Input";

fn generator(contract: fn(SchemaSettings) -> SchemaSettings) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    SchemaGenerator::new(contract(settings))
}

/// Makes the references of an input schema point at input schemas.
fn to_input(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                let start = format!("#{SCHEMAS}/");
                let name = inner.as_str().and_then(|text| text.strip_prefix(&start));
                match name {
                    Some(name) if key == "$ref" => {
                        *inner = format!("{start}{INPUT}{name}").into();
                    }
                    Some(_) | None => to_input(inner),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(to_input),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

struct Writer {
    output: SchemaGenerator,
    input: SchemaGenerator,
}

impl Writer {
    fn parameters(&mut self, about: &About) -> Vec<Value> {
        let mut list = Vec::new();
        for name in path_names(about.path) {
            let schema = if name == "id" {
                json!({ "type": "string", "pattern": crate::name::ID_PATTERN })
            } else {
                json!({ "type": "string", "minLength": 1, "maxLength": 256 })
            };
            list.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
        }
        if let Some((make, names)) = about.query {
            // The struct of the parameters is taken apart; it is no schema of its own.
            let mut apart = generator(SchemaSettings::for_deserialize);
            let _ = make(&mut apart);
            let definitions = apart.take_definitions(true);
            let object = definitions
                .values()
                .find(|schema| has_properties(schema, names))
                .cloned()
                .unwrap_or_default();
            for name in names {
                let mut schema = object["properties"][*name].clone();
                without_null(&mut schema);
                to_input(&mut schema);
                let description = schema
                    .as_object_mut()
                    .and_then(|map| map.remove("description"))
                    .unwrap_or_default();
                list.push(json!({
                    "name": name, "in": "query", "required": false,
                    "description": description, "schema": schema
                }));
            }
            for (name, schema) in definitions {
                if !has_properties(&schema, names) {
                    self.input.definitions_mut().entry(name).or_insert(schema);
                }
            }
        }
        for header in &about.headers {
            let mut schema = json!({ "type": "string" });
            if let Some(pattern) = header.pattern {
                schema["pattern"] = pattern.into();
            }
            list.push(json!({
                "name": header.name, "in": "header", "required": header.required,
                "description": header.about, "schema": schema
            }));
        }
        list
    }

    fn body(&mut self, takes: &Takes) -> Value {
        let mut content = Map::new();
        for (media, make) in &takes.media {
            let schema = match make {
                Some(make) => {
                    let mut schema = make(&mut self.input).to_value();
                    to_input(&mut schema);
                    schema
                }
                None => json!({ "type": "string" }),
            };
            content.insert((*media).to_owned(), json!({ "schema": schema }));
        }
        json!({ "required": true, "content": content })
    }

    fn answer(&mut self, gives: &Gives) -> Value {
        let Some((media, make)) = gives.media else {
            return json!({ "description": gives.about });
        };
        let schema = match make {
            Some(make) => make(&mut self.output).to_value(),
            None => json!({ "type": "string" }),
        };
        json!({ "description": gives.about, "content": { media: { "schema": schema } } })
    }

    fn operation(&mut self, about: &About) -> Value {
        let mut answers = Map::new();
        for gives in &about.gives {
            answers.insert(gives.status.as_str().to_owned(), self.answer(gives));
        }
        let _ = self.output.subschema_for::<problem::Body>();
        for status in problems(about) {
            let reason = status.canonical_reason().unwrap_or("problem");
            answers.insert(
                status.as_str().to_owned(),
                json!({
                    "description": reason,
                    "content": { MEDIA_TYPE: { "schema": { "$ref": format!("#{SCHEMAS}/Problem") } } }
                }),
            );
        }
        let mut operation = json!({
            "operationId": about.operation,
            "summary": about.summary,
            "parameters": self.parameters(about),
            "responses": answers,
            "security": security(about.access),
        });
        if let Some(map) = operation.as_object_mut() {
            if !about.details.is_empty() {
                map.insert("description".to_owned(), about.details.into());
            }
            if let Access::Needs(scope) = about.access {
                map.insert("x-scope".to_owned(), scope.word().into());
            }
            if let Some(takes) = &about.takes {
                map.insert("requestBody".to_owned(), self.body(takes));
            }
        }
        operation
    }
}

fn has_properties(schema: &Value, names: &[&str]) -> bool {
    match schema["properties"].as_object() {
        Some(map) => {
            !names.is_empty()
                && map.len() == names.len()
                && names.iter().all(|name| map.contains_key(*name))
        }
        None => false,
    }
}

/// A parameter is there or not; it is never null.
fn without_null(schema: &mut Value) {
    if let Some(map) = schema.as_object_mut() {
        map.remove("default");
        if let Some(Value::Array(kinds)) = map.get_mut("type") {
            kinds.retain(|kind| kind != "null");
            if let [only] = &kinds[..] {
                let only = only.clone();
                map.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
            choices.retain(|choice| choice["type"] != "null");
            if let [only] = &choices[..] {
                let only = only.clone();
                map.remove("anyOf");
                if let Value::Object(inner) = only {
                    map.extend(inner);
                }
            }
        }
        if let Some(Value::Array(words)) = map.get_mut("enum") {
            words.retain(|word| !word.is_null());
        }
    }
}

fn path_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        Access::Needs(Scope::Read) | Access::Page => json!([{ "bearer": [] }, { "session": [] }]),
        Access::Needs(Scope::Report) => json!([{ "bearer": [] }, { "certificate": [] }]),
        Access::Needs(Scope::Admin) => json!([{ "bearer": [] }]),
        Access::Identity => json!([{ "certificate": [] }]),
        Access::Join => json!([{ "join": [] }]),
    }
}

/// Statuses of the problems that a route may answer with.
fn problems(about: &About) -> Vec<StatusCode> {
    let mut all = vec![
        StatusCode::BAD_REQUEST,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if about.access != Access::Open {
        all.extend([StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN]);
    }
    if about.gives.iter().any(|gives| gives.media.is_some()) {
        all.push(StatusCode::NOT_ACCEPTABLE);
    }
    if path_names(about.path).next().is_some() {
        all.push(StatusCode::NOT_FOUND);
    }
    if about.takes.is_some() {
        all.extend([
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::INSUFFICIENT_STORAGE,
        ]);
    }
    all.extend(&about.problems);
    all.sort();
    all.dedup();
    all
}

/// What is asked of a report beyond what its type says.
fn tighten(name: &str, schema: &mut Value) {
    match name {
        // Whatever RFC 3339 allows is read; one form is written.
        "Timestamp" => *schema = json!({ "type": "string", "format": "date-time" }),
        "NodeEvent" => {
            schema["properties"]["boot"]["pattern"] = crate::name::ID_PATTERN.into();
        }
        "EnrolmentRequest" => {
            schema["properties"]["node"]["pattern"] = crate::name::ID_PATTERN.into();
            schema["properties"]["schema_version"]["const"] = cupel_model::SCHEMA_VERSION.into();
        }
        "Report" => {
            for id in ["node", "boot"] {
                schema["properties"][id]["pattern"] = crate::name::ID_PATTERN.into();
            }
            schema["properties"]["schema_version"]["const"] = cupel_model::SCHEMA_VERSION.into();
            schema["properties"]["sequence"]["maximum"] = (1_u64 << 53).into();
            let positive = json!({ "type": "number", "exclusiveMinimum": 0 });
            schema["properties"]["uptime_seconds"] = json!({ "type": "number", "minimum": 0 });
            schema["properties"]["next_within_seconds"] = positive;
        }
        _ => {}
    }
}

/// The description of these routes.
pub fn describe<'a>(routes: impl Iterator<Item = &'a About>) -> Value {
    let mut writer = Writer {
        output: generator(SchemaSettings::for_serialize),
        input: generator(SchemaSettings::for_deserialize),
    };
    let mut paths: Map<String, Value> = Map::new();
    for about in routes.filter(|about| about.described) {
        let operation = writer.operation(about);
        let path = paths
            .entry(about.path.to_owned())
            .or_insert_with(|| json!({}));
        if let Some(map) = path.as_object_mut() {
            map.insert(about.method.as_str().to_ascii_lowercase(), operation);
        }
    }
    let mut schemas = writer.output.take_definitions(true);
    for (name, mut schema) in writer.input.take_definitions(true) {
        to_input(&mut schema);
        tighten(&name, &mut schema);
        schemas.insert(format!("{INPUT}{name}"), schema);
    }
    schemas.sort_keys();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Cupel inventory",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What every GPU node told, kept and judged for silence. Times are UTC with six decimals. What nobody told is null. Unknown fields may appear; unknown query parameters are refused.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "join": {
                    "type": "http", "scheme": "bearer",
                    "description": "A join token, of `cupel-inventory join create`"
                },
                "certificate": {
                    "type": "mutualTLS",
                    "description": "A node's certificate, of POST /v1/enrolments"
                },
                "session": { "type": "apiKey", "in": "cookie", "name": super::guard::COOKIE }
            }
        }
    })
}

/// A document, for those who name it as a schema.
#[derive(Debug)]
pub struct Description;

impl JsonSchema for Description {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Description".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object", "required": ["openapi", "paths"] })
    }
}
