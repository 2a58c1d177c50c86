//! The search for a value that a schema allows.

use std::{
    cell::{Cell, RefCell},
    ptr,
};

use serde_json::{Map, Value};

use super::{
    is_same,
    number::count,
    numbers,
    pattern::Patterns,
    references::{REFERENCES, References},
    text,
};

/// Most pieces of work that one search may take.
const STEPS_MAX: u32 = 60_000;
/// What is only repeated costs less: so many pieces of it are a step.
const REPEATED_PER_STEP: u32 = 16;
/// Bytes of a text that are one such piece.
pub(super) const REPEATED_BYTES: usize = 16;
/// How deep values and choices may nest. Each level takes a few frames of a stack of 2 MiB.
const DEPTH_MAX: usize = 96;
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
    /// Schemas that were entered by reference on the way here.
    entered: Vec<&'s Value>,
    depth: usize,
}

impl<'s> Wish<'s> {
    /// What a part of the value has to meet.
    pub(super) fn of_part(&self, open: Vec<&'s Value>) -> Self {
        Self { open, entered: self.entered.clone(), depth: self.depth + 1, ..Self::default() }
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

/// One search through one schema.
pub(super) struct Search<'s> {
    root: &'s Value,
    references: References<'s>,
    pub(super) patterns: RefCell<Patterns>,
    /// What is left, in pieces of what is repeated.
    left: Cell<u32>,
    reentries: usize,
}

impl<'s> Search<'s> {
    pub(super) fn new(root: &'s Value, reentries: usize) -> Self {
        Self {
            root,
            references: References::new(root),
            patterns: RefCell::default(),
            left: Cell::new(STEPS_MAX * REPEATED_PER_STEP),
            reentries,
        }
    }

    /// A value that meets the whole schema, and these too.
    pub(super) fn run(&self, more: &[&'s Value]) -> Option<Value> {
        let open = more.iter().copied().chain([self.root]).collect();
        self.meet(Wish { open, entered: vec![self.root], ..Wish::default() }, &[])
    }

    /// Takes a number of steps; `None` when there are none left.
    pub(super) fn step(&self, steps: usize) -> Option<()> {
        self.repeat(steps.saturating_mul(REPEATED_PER_STEP as usize))
    }

    /// Takes what it costs to repeat so many pieces.
    pub(super) fn repeat(&self, pieces: usize) -> Option<()> {
        let left = self.left.get().checked_sub(u32::try_from(pieces).unwrap_or(u32::MAX));
        self.left.set(left.unwrap_or(0));
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
            let found = self.resolve(schema, address)?;
            if wish.entered.iter().filter(|entered| ptr::eq(**entered, found)).count() > self.reentries {
                return None;
            }
            wish.entered.push(found);
            wish.open.push(found);
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

    /// The schema within the document at an address that another one has.
    pub(super) fn resolve(&self, from: &Map<String, Value>, address: &str) -> Option<&'s Value> {
        self.step(address.len() / 64)?;
        self.references.resolve(from, address)
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
                "integer" | "number" => first(&numbers::candidates(wish, kind == "integer", avoid.len())?),
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

/// How many pieces a value has.
pub(super) fn weight(value: &Value) -> usize {
    1 + match value {
        Value::String(text) => text.len() / REPEATED_BYTES,
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| name.len() / REPEATED_BYTES + weight(value)).sum(),
        _ => 0,
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
