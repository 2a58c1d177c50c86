//! Whether a value is what a schema allows. Formats are not checked: they are made as they are named.

use std::ptr;

use serde_json::{Map, Value};

use super::{
    is_same,
    number::{self, Worth, count},
    references::REFERENCES,
    search::{REPEATED_BYTES, Search, list, weight},
};

/// How deep schemas may lead into each other.
const DEPTH_MAX: usize = 96;
/// What it costs to read an expression.
pub(super) const PATTERN_STEPS: usize = 8;

impl Search<'_> {
    /// Whether a value meets a schema. What cannot be decided within the steps is a no.
    pub(super) fn holds(&self, schema: &Map<String, Value>, value: &Value, depth: usize) -> bool {
        // Looking through a long list is work too.
        depth <= DEPTH_MAX
            && self.step(1 + (list(schema, "enum").len() + list(schema, "required").len()) / 64).is_some()
            && is_of_kind(schema, value)
            && self.meets_combinations(schema, value, depth)
            && match value {
                Value::Number(number) => number::is_within(schema, number),
                Value::String(text) => self.meets_text(schema, text),
                Value::Array(items) => self.meets_array(schema, items, depth),
                Value::Object(members) => self.meets_object(schema, members, depth),
                Value::Null | Value::Bool(_) => true,
            }
    }

    fn is_met(&self, schema: &Value, value: &Value, depth: usize) -> bool {
        match schema {
            Value::Bool(is_open) => *is_open,
            Value::Object(schema) => self.holds(schema, value, depth + 1),
            _ => false,
        }
    }

    fn meets_combinations(&self, schema: &Map<String, Value>, value: &Value, depth: usize) -> bool {
        let is_met = |other: &Value| self.is_met(other, value, depth);
        let branch = |is_met_by: &str| schema.get(is_met_by).is_none_or(is_met);
        schema.get("const").is_none_or(|only| is_same(only, value))
            && (!schema.contains_key("enum") || list(schema, "enum").iter().any(|one| is_same(one, value)))
            && REFERENCES
                .iter()
                .filter_map(|name| schema.get(*name)?.as_str())
                .all(|address| self.resolve(schema, address).is_some_and(is_met))
            && list(schema, "allOf").iter().all(is_met)
            && (!schema.contains_key("anyOf") || list(schema, "anyOf").iter().any(is_met))
            && (!schema.contains_key("oneOf") || list(schema, "oneOf").iter().filter(|other| is_met(other)).count() == 1)
            && schema.get("not").is_none_or(|other| !is_met(other))
            && schema.get("if").is_none_or(|condition| if is_met(condition) { branch("then") } else { branch("else") })
    }

    fn meets_text(&self, schema: &Map<String, Value>, text: &str) -> bool {
        if self.repeat(text.len() / REPEATED_BYTES).is_none() {
            return false;
        }
        let length = text.chars().count() as u64;
        let pattern = schema.get("pattern").and_then(Value::as_str);
        is_counted(schema, "minLength", "maxLength", length)
            && pattern.is_none_or(|pattern| self.patterns.borrow_mut().is_match(pattern, text))
    }

    fn meets_array(&self, schema: &Map<String, Value>, items: &[Value], depth: usize) -> bool {
        let of_contains = |other: &Value| {
            let found = items.iter().filter(|item| self.is_met(other, item, depth)).count() as u64;
            found >= schema.get("minContains").and_then(count).unwrap_or(1)
                && schema.get("maxContains").and_then(count).is_none_or(|most| found <= most)
        };
        let is_new = |(at, item): (usize, &Value)| self.step(1 + at / 8).is_some() && !items[..at].iter().any(|other| is_same(other, item));
        is_counted(schema, "minItems", "maxItems", items.len() as u64)
            && self.meets_items(schema, items, depth)
            && schema.get("contains").is_none_or(of_contains)
            && (schema.get("uniqueItems") != Some(&Value::Bool(true)) || items.iter().enumerate().all(is_new))
    }

    /// Whether each item is as it should be. One that is like the item before, and has the same schema, needs no second look.
    fn meets_items(&self, schema: &Map<String, Value>, items: &[Value], depth: usize) -> bool {
        let mut last: Option<(&Value, &Value)> = None;
        items.iter().enumerate().all(|(at, item)| {
            let Some(other) = of_item(schema, at) else { return true };
            if last.is_some_and(|(schema, before)| ptr::eq(schema, other) && before == item) {
                return self.repeat(weight(item)).is_some();
            }
            last = Some((other, item));
            self.is_met(other, item, depth)
        })
    }

    fn meets_object(&self, schema: &Map<String, Value>, members: &Map<String, Value>, depth: usize) -> bool {
        let has_all =
            |names: &Value| names.as_array().into_iter().flatten().filter_map(Value::as_str).all(|name| members.contains_key(name));
        let dependents = ["dependentRequired", "dependentSchemas", "dependencies"].iter().filter_map(|name| schema.get(*name)?.as_object());
        let whole = || Value::Object(members.clone());
        is_counted(schema, "minProperties", "maxProperties", members.len() as u64)
            && schema.get("required").is_none_or(has_all)
            && dependents.flatten().filter(|(name, _)| members.contains_key(*name)).all(|(_, other)| match other {
                Value::Array(_) => has_all(other),
                other => self.is_met(other, &whole(), depth),
            })
            && members.iter().all(|(name, value)| {
                schema.get("propertyNames").is_none_or(|other| self.is_met(other, &Value::String(name.clone()), depth))
                    && self.of_member(schema, name).iter().all(|other| self.is_met(other, value, depth))
            })
            && schema.get("unevaluatedProperties").is_none_or(|other| {
                let rest = members.iter().filter(|(name, _)| !self.is_evaluated(schema, name, &whole(), depth));
                rest.map(|(_, value)| value).all(|value| self.is_met(other, value, depth))
            })
    }

    /// The schemas that one schema has for a member.
    pub(super) fn of_member<'s>(&self, schema: &'s Map<String, Value>, name: &str) -> Vec<&'s Value> {
        let own = schema.get("properties").and_then(|properties| properties.get(name));
        let by_pattern = schema.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
        let is_match = |pattern: &str| self.step(PATTERN_STEPS).is_some() && self.patterns.borrow_mut().is_match(pattern, name);
        let by_pattern = by_pattern.filter(|(pattern, _)| is_match(pattern)).map(|(_, schema)| schema);
        let found: Vec<&Value> = own.into_iter().chain(by_pattern).collect();
        if found.is_empty() { schema.get("additionalProperties").into_iter().collect() } else { found }
    }

    /// Whether a schema, or one that it brings in and that the object meets, speaks of a member.
    fn is_evaluated(&self, schema: &Map<String, Value>, name: &str, whole: &Value, depth: usize) -> bool {
        let speaks = |other: &Value| {
            self.is_met(other, whole, depth) && other.as_object().is_some_and(|other| self.is_evaluated(other, name, whole, depth + 1))
        };
        let brought = ["allOf", "anyOf", "oneOf"].iter().flat_map(|keyword| list(schema, keyword));
        let branches = ["if", "then", "else"].iter().filter_map(|keyword| schema.get(*keyword));
        depth <= DEPTH_MAX
            && self.step(1).is_some()
            && (!self.of_member(schema, name).is_empty()
                || brought.chain(branches).any(speaks)
                || REFERENCES.iter().filter_map(|keyword| self.resolve(schema, schema.get(*keyword)?.as_str()?)).any(speaks))
    }
}

/// The schema of the item at a place. Before 2020-12 a list in `items` said what `prefixItems` says now.
pub(super) fn of_item(schema: &Map<String, Value>, at: usize) -> Option<&Value> {
    let (prefix, rest) = match schema.get("items") {
        Some(Value::Array(prefix)) => (prefix.as_slice(), schema.get("additionalItems")),
        items => (list(schema, "prefixItems"), items.or_else(|| schema.get("unevaluatedItems"))),
    };
    prefix.get(at).or(rest)
}

fn is_counted(schema: &Map<String, Value>, least: &str, most: &str, number: u64) -> bool {
    schema.get(least).and_then(count).is_none_or(|least| number >= least)
        && schema.get(most).and_then(count).is_none_or(|most| number <= most)
}

fn is_of_kind(schema: &Map<String, Value>, value: &Value) -> bool {
    let is = |kind: &Value| match (kind.as_str().unwrap_or_default(), value) {
        ("integer", Value::Number(number)) => Worth::of(number).is_whole(),
        ("number", Value::Number(_))
        | ("string", Value::String(_))
        | ("object", Value::Object(_))
        | ("array", Value::Array(_))
        | ("boolean", Value::Bool(_))
        | ("null", Value::Null) => true,
        _ => false,
    };
    match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is),
        Some(kind) => is(kind),
        None => true,
    }
}
