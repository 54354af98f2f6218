//! The two streams: results go to stdout, everything else to stderr.

use std::io::Write;

use serde::Serialize;
use serde_json::Value;

/// One result line; a closed pipe is an error that ends the program quietly.
pub fn print(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}

/// One result as one line of JSON.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string(value)?)
}

/// One line to the user. Nobody can be told that it did not arrive.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A JSON value as indented lines for people: `key  value`, lists of plain values on one line.
pub fn outline(value: &Value) -> String {
    let mut lines = Vec::new();
    add_lines(value, 0, &mut lines);
    lines.join("\n")
}

fn add_lines(value: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let Value::Object(entries) = value else { return lines.push(format!("{indent}{}", text_of(value))) };
    for (key, value) in entries {
        let key = key.replace('_', " ");
        match value {
            Value::Object(_) => {
                lines.push(format!("{indent}{key}"));
                add_lines(value, depth + 1, lines);
            }
            Value::Array(values) if values.iter().any(Value::is_object) => {
                lines.push(format!("{indent}{key}"));
                lines.extend(values.iter().map(|value| format!("{indent}  {}", text_of(value))));
            }
            plain => lines.push(format!("{indent}{key:<22} {}", text_of(plain))),
        }
    }
}

/// A value on one line; of an object, the name first.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.4}", number.as_f64().unwrap_or_default()),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(text_of).collect::<Vec<_>>().join(", "),
        Value::Object(entries) => {
            let name = entries.get("name").map(text_of).unwrap_or_default();
            let others = entries.iter().filter(|(key, _)| *key != "name");
            let others = others.map(|(key, value)| format!("{} {}", key.replace('_', " "), text_of(value)));
            format!("{name:<20} {}", others.collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}
