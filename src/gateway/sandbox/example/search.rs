//! The search for a value that a schema allows.

use std::cell::{Cell, RefCell};

use serde_json::{Map, Value};

use super::{is_same, number, pattern::Patterns, text};

/// Most pieces of work that one search may take.
const STEPS_MAX: u32 = 60_000;
/// How deep values and choices may nest. Each level takes a few frames of a stack of 2 MiB.
const DEPTH_MAX: usize = 96;
/// Keywords that name another schema by its address.
pub(super) const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// What a value can be, and keywords that only speak of that kind. The most telling ones come first.
const KINDS: [(&str, &[&str]); 7] = [
    ("object", &["properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties", "propertyNames"]),
    ("array", &["items", "prefixItems", "minItems", "maxItems", "contains", "uniqueItems"]),
    ("string", &["minLength", "maxLength", "pattern", "format"]),
    ("integer", &[]),
    ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    ("boolean", &[]),
    ("null", &[]),
];

/// What one value has to meet.
#[derive(Clone, Default)]
pub(super) struct Wish<'s> {
    /// Schemas that were not looked into yet.
    pub(super) open: Vec<&'s Value>,
    /// Those that were: the value has to meet all of them.
    pub(super) flat: Vec<&'s Map<String, Value>>,
    /// Of each of these lists one option has to be met.
    choices: Vec<Vec<Vec<&'s Value>>>,
    /// References that led here.
    refs: Vec<&'s str>,
    depth: usize,
}

impl<'s> Wish<'s> {
    /// What a part of the value has to meet.
    pub(super) fn of_part(&self, open: Vec<&'s Value>) -> Self {
        Self { open, refs: self.refs.clone(), depth: self.depth + 1, ..Self::default() }
    }

    /// A keyword of all schemas that have it.
    pub(super) fn all<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = &'s Value> + 'a {
        self.flat.iter().filter_map(move |schema| schema.get(keyword))
    }

    /// The largest of the numbers of a keyword, which is a count.
    pub(super) fn most(&self, keyword: &str) -> u64 {
        self.all(keyword).filter_map(count).max().unwrap_or(0)
    }

    /// The smallest of them.
    pub(super) fn least(&self, keyword: &str) -> u64 {
        self.all(keyword).filter_map(count).min().unwrap_or(u64::MAX)
    }
}

/// A count as schemas write it.
pub(super) fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| u64::try_from(number::units(value.as_number()?)? / number::ONE).ok())
}

/// One search through one schema.
pub(super) struct Search<'s> {
    pub(super) root: &'s Value,
    pub(super) patterns: RefCell<Patterns>,
    steps: Cell<u32>,
    reentries: usize,
}

impl<'s> Search<'s> {
    pub(super) fn new(root: &'s Value, reentries: usize) -> Self {
        Self { root, patterns: RefCell::default(), steps: Cell::new(STEPS_MAX), reentries }
    }

    /// A value that meets the whole schema, and these too.
    pub(super) fn run(&self, more: &[&'s Value]) -> Option<Value> {
        let open = more.iter().copied().chain([self.root]).collect();
        self.meet(Wish { open, refs: vec!["#"], ..Wish::default() }, &[])
    }

    /// Takes a number of steps; `None` when there are none left.
    pub(super) fn step(&self, steps: usize) -> Option<()> {
        let left = self.steps.get().checked_sub(u32::try_from(steps).unwrap_or(u32::MAX));
        self.steps.set(left.unwrap_or(0));
        left.map(|_| ())
    }

    /// A value that meets the wish and is none of those to avoid.
    pub(super) fn meet(&self, mut wish: Wish<'s>, avoid: &[Value]) -> Option<Value> {
        if wish.depth > DEPTH_MAX {
            return None;
        }
        while let Some(schema) = wish.open.pop() {
            self.step(1)?;
            match schema {
                Value::Bool(true) => {}
                Value::Object(schema) => self.look_into(schema, &mut wish)?,
                _ => return None,
            }
        }
        let Some(options) = wish.choices.pop() else { return self.fill(&wish, avoid) };
        options.into_iter().find_map(|open| {
            self.step(1 + wish.flat.len() + wish.choices.len())?;
            self.meet(Wish { open, depth: wish.depth + 1, ..wish.clone() }, avoid)
        })
    }

    fn look_into(&self, schema: &'s Map<String, Value>, wish: &mut Wish<'s>) -> Option<()> {
        wish.flat.push(schema);
        for address in REFERENCES.iter().filter_map(|name| schema.get(*name)?.as_str()) {
            if wish.refs.iter().filter(|entered| **entered == address).count() > self.reentries {
                return None;
            }
            wish.refs.push(address);
            wish.open.push(self.resolve(address)?);
        }
        wish.open.extend(list(schema, "allOf"));
        for options in ["anyOf", "oneOf"].iter().filter(|name| schema.contains_key(**name)).map(|name| list(schema, name)) {
            // Something says more than nothing.
            let (nothing, something): (Vec<_>, Vec<_>) =
                options.iter().partition(|option| option.get("type").is_some_and(|kind| kind == "null"));
            wish.choices.push(something.into_iter().chain(nothing).map(|option| vec![option]).collect());
        }
        if let Some(condition) = schema.get("if") {
            let with = |name: &str| schema.get(name).into_iter();
            let is_met = [condition].into_iter().chain(with("then")).collect();
            wish.choices.push(vec![Vec::new(), is_met, with("else").collect()]);
        }
        let dependent = ["dependentSchemas", "dependencies"].iter().filter_map(|name| schema.get(*name)?.as_object());
        let schemas = dependent.flatten().map(|(_, dependent)| dependent).filter(|dependent| !dependent.is_array());
        wish.choices.extend(schemas.map(|dependent| vec![Vec::new(), vec![dependent]]));
        Some(())
    }

    /// The schema at an address within the document.
    pub(super) fn resolve(&self, address: &str) -> Option<&'s Value> {
        let own = self.root.get("$id").and_then(Value::as_str).unwrap_or_default().trim_end_matches('#');
        let place = address.strip_prefix(own).unwrap_or(address).strip_prefix('#')?;
        if place.is_empty() || place.starts_with('/') {
            return self.root.pointer(&place.replace("%25", "%").replace("%24", "$"));
        }
        self.find_anchor(self.root, place)
    }

    fn find_anchor(&self, place: &'s Value, anchor: &str) -> Option<&'s Value> {
        self.step(1)?;
        let is_named = |name: &str| place.get(name).and_then(Value::as_str) == Some(anchor);
        if is_named("$anchor") || is_named("$dynamicAnchor") {
            return Some(place);
        }
        match place {
            Value::Object(members) => members.values().find_map(|member| self.find_anchor(member, anchor)),
            Value::Array(items) => items.iter().find_map(|item| self.find_anchor(item, anchor)),
            _ => None,
        }
    }

    /// Looks for a value where all choices are made.
    fn fill(&self, wish: &Wish<'s>, avoid: &[Value]) -> Option<Value> {
        let first = |candidates: &[Value]| candidates.iter().find(|candidate| self.is_good(candidate, wish, avoid)).cloned();
        if let Some(only) = wish.all("const").next() {
            return first(std::slice::from_ref(only));
        }
        if let Some(only) = wish.all("enum").next() {
            return first(only.as_array()?);
        }
        let examples = wish.all("examples").filter_map(Value::as_array).flatten();
        let suggested: Vec<Value> = wish.all("default").chain(examples).chain(wish.all("example")).cloned().collect();
        first(&suggested).or_else(|| {
            kinds(wish).into_iter().find_map(|kind| match kind {
                "object" => self.object(wish, avoid),
                "array" => self.array(wish, avoid),
                "string" => first(&text::candidates(self, wish, avoid.len())?),
                "integer" | "number" => first(&number::candidates(wish, kind == "integer", avoid.len())?),
                "boolean" => first(&[true.into(), false.into()]),
                _ => first(&[Value::Null]),
            })
        })
    }

    /// Whether a value meets all that was laid side by side, and is new.
    pub(super) fn is_good(&self, value: &Value, wish: &Wish<'s>, avoid: &[Value]) -> bool {
        self.step(1 + avoid.len() / 8).is_some()
            && !avoid.iter().any(|other| is_same(other, value))
            && wish.flat.iter().all(|schema| self.holds(schema, value, 0))
    }
}

/// The members of a keyword that is a list.
pub(super) fn list<'s>(schema: &'s Map<String, Value>, keyword: &str) -> &'s [Value] {
    schema.get(keyword).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The kinds that all schemas allow, in the order in which they are tried. Where none is named, the one comes first of which the keywords speak.
fn kinds(wish: &Wish<'_>) -> Vec<&'static str> {
    let named: Vec<Vec<&str>> = wish
        .all("type")
        .map(|kind| match kind {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        })
        .collect();
    let is_allowed = |kind: &str| named.iter().all(|names| names.contains(&kind) || (kind == "integer" && names.contains(&"number")));
    let rank = |kind: &str, keywords: &[&str]| {
        let place = named.first().and_then(|names| names.iter().position(|name| *name == kind));
        let is_meant = keywords.iter().any(|keyword| wish.all(keyword).next().is_some());
        (kind == "null", place.is_none() && !named.is_empty(), place, !is_meant, kind != "string")
    };
    let mut kinds: Vec<_> = KINDS.iter().filter(|(kind, _)| is_allowed(kind)).collect();
    kinds.sort_by_key(|(kind, keywords)| rank(kind, keywords));
    kinds.into_iter().map(|(kind, _)| *kind).collect()
}
