//! Objects that a schema allows: the members it requires, and more only where fewer do not do.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::search::{Search, Wish};

/// Most members of one object.
const MEMBERS_MAX: u64 = 500;

impl<'s> Search<'s> {
    /// An object that meets the wish and is none of those to avoid.
    pub(super) fn object(&self, wish: &Wish<'s>, avoid: &[Value]) -> Option<Value> {
        [false, true].into_iter().find_map(|is_full| {
            let required = required(wish);
            let names = self.names(wish, &required, is_full)?;
            // What is to be another object differs in one member.
            let different: Vec<Option<&String>> = if avoid.is_empty() { vec![None] } else { names.list.iter().map(Some).collect() };
            different.into_iter().find_map(|different| {
                let object = self.build(wish, &names, &required, different, avoid)?;
                self.is_good(&object, wish, avoid).then_some(object)
            })
        })
    }

    fn build(
        &self,
        wish: &Wish<'s>,
        names: &Names,
        required: &HashSet<&str>,
        different: Option<&String>,
        avoid: &[Value],
    ) -> Option<Value> {
        let mut object = Map::new();
        for name in &names.list {
            let others = avoid.iter().filter(|_| different == Some(name));
            let taken: Vec<Value> = others.filter_map(|other| other.get(name)).cloned().collect();
            match self.meet(wish.of_part(self.of_member_in_all(wish, name)), &taken) {
                Some(value) => object.insert(name.clone(), value),
                None if required.contains(name.as_str()) => return None,
                None => continue,
            };
        }
        Some(Value::Object(object))
    }

    /// Every schema that speaks of a member.
    fn of_member_in_all(&self, wish: &Wish<'s>, name: &str) -> Vec<&'s Value> {
        let mut found: Vec<&Value> = wish.flat.iter().flat_map(|schema| self.of_member(schema, name)).collect();
        if found.is_empty() {
            found.extend(wish.all("unevaluatedProperties"));
        }
        found
    }

    /// The names of the members, in the order in which the schema has them.
    fn names(&self, wish: &Wish<'s>, required: &HashSet<&str>, is_full: bool) -> Option<Names> {
        let declared = || wish.all("properties").filter_map(Value::as_object).flatten().map(|(name, _)| name.as_str());
        let is_possible = |name: &str| !self.of_member_in_all(wish, name).iter().any(|schema| **schema == Value::Bool(false));
        let mut names = Names::default();
        // Looking through a long list is work too.
        self.step(1 + declared().count() / 64 + required.len() / 64)?;
        for name in declared().filter(|name| required.contains(name) || (is_full && is_possible(name))) {
            self.step(1)?;
            names.add(name);
        }
        for name in wish.all("required").filter_map(Value::as_array).flatten().filter_map(Value::as_str) {
            names.add(name);
        }
        // What is there can ask for more.
        let mut at = 0;
        while let Some(name) = names.list.get(at).cloned() {
            self.step(1)?;
            let dependent = wish.all("dependentRequired").chain(wish.all("dependencies")).filter_map(|all| all.get(&name)?.as_array());
            dependent.flatten().filter_map(Value::as_str).for_each(|name| names.add(name));
            at += 1;
        }
        let least = wish.most("minProperties");
        if least > MEMBERS_MAX {
            return None;
        }
        for name in declared() {
            if names.list.len() as u64 >= least {
                break;
            }
            if is_possible(name) {
                names.add(name);
            }
        }
        while (names.list.len() as u64) < least {
            let name = self.invent_name(wish, &names)?;
            names.add(&name);
        }
        Some(names)
    }

    /// A name that nobody has given, as the rules for names allow.
    fn invent_name(&self, wish: &Wish<'s>, names: &Names) -> Option<String> {
        let taken: Vec<Value> = names.list.iter().map(|name| Value::String(name.clone())).collect();
        let rules: Vec<&Value> = wish.all("propertyNames").collect();
        let free = self.meet(wish.of_part(rules), &taken).and_then(|name| name.as_str().map(str::to_owned));
        let patterns = wish.all("patternProperties").filter_map(Value::as_object).flatten().map(|(pattern, _)| pattern);
        let by_pattern =
            patterns.flat_map(|pattern| (0..=names.list.len()).filter_map(|at| self.patterns.borrow_mut().text(pattern, 1, at)));
        let is_possible = |name: &String| {
            self.step(1).is_some()
                && !names.seen.contains(name)
                && !self.of_member_in_all(wish, name).iter().any(|schema| **schema == Value::Bool(false))
        };
        free.into_iter().chain(by_pattern).find(is_possible)
    }
}

/// Names, each of them once.
#[derive(Default)]
struct Names {
    list: Vec<String>,
    seen: HashSet<String>,
}

impl Names {
    fn add(&mut self, name: &str) {
        if self.seen.insert(name.to_owned()) {
            self.list.push(name.to_owned());
        }
    }
}

fn required<'s>(wish: &Wish<'s>) -> HashSet<&'s str> {
    wish.all("required").filter_map(Value::as_array).flatten().filter_map(Value::as_str).collect()
}
