//! Arrays that a schema allows: a tuple in full, otherwise one item, or as many as it wants.

use std::ptr;

use serde_json::Value;

use super::{
    check::of_item,
    number::count,
    search::{Search, Wish, weight},
};

/// Most items of one array.
const ITEMS_MAX: u64 = 100_000;

impl<'s> Search<'s> {
    /// An array that meets the wish and is none of those to avoid.
    pub(super) fn array(&self, wish: &Wish<'s>, avoid: &[Value]) -> Option<Value> {
        let (least, most) = (wish.most("minItems"), wish.least("maxItems"));
        if least > ITEMS_MAX {
            return None;
        }
        let contained: Vec<&Value> = wish.flat.iter().filter_map(|schema| Some((schema.get("contains")?, schema.get("minContains")))).fold(
            Vec::new(),
            |mut all, (schema, number)| {
                let number = usize::try_from(number.and_then(count).unwrap_or(1).min(ITEMS_MAX)).unwrap_or(0);
                all.extend(std::iter::repeat_n(schema, number));
                all
            },
        );
        let tuples = wish.all("prefixItems").chain(wish.all("items")).filter_map(Value::as_array);
        let tuple = tuples.map(Vec::len).max().unwrap_or(0) as u64;
        let has_items = wish.all("items").any(|items| items.is_object());
        let wanted = least.max(tuple + contained.len() as u64).max(has_items.into()).min(most).min(ITEMS_MAX);
        let longer = (wanted + 1..=wanted + avoid.len() as u64).filter(|length| *length <= most);
        [wanted, least].into_iter().chain(longer).find_map(|length| {
            let length = usize::try_from(length).ok()?;
            let array = self.items(wish, &contained, length, avoid);
            self.is_good(&array, wish, avoid).then_some(array)
        })
    }

    /// As many items as there are, up to a length.
    fn items(&self, wish: &Wish<'s>, contained: &[&'s Value], length: usize, avoid: &[Value]) -> Value {
        let is_unique = wish.all("uniqueItems").any(|unique| *unique == Value::Bool(true));
        // At the end, where no tuple says what an item is.
        let first_contained = length.saturating_sub(contained.len());
        let mut items: Vec<Value> = Vec::new();
        let mut last: Option<Vec<&Value>> = None;
        while items.len() < length {
            let at = items.len();
            let mut schemas: Vec<&Value> = wish.flat.iter().filter_map(|schema| of_item(schema, at)).collect();
            schemas.extend(at.checked_sub(first_contained).and_then(|at| contained.get(at)).copied());
            let mut taken = if is_unique { items.clone() } else { Vec::new() };
            if at == 0 {
                taken.extend(avoid.iter().filter_map(|other| other.get(0)).cloned());
            }
            // What has to meet the same as the item before is the same.
            let is_same_wish =
                |last: &Vec<&Value>| last.len() == schemas.len() && last.iter().zip(&schemas).all(|(one, two)| ptr::eq(*one, *two));
            let repeated = items.last().filter(|_| taken.is_empty() && last.as_ref().is_some_and(is_same_wish));
            let item = match repeated {
                Some(item) => self.repeat(schemas.len()).and_then(|()| self.repeat(weight(item))).map(|()| item.clone()),
                None => self.meet(wish.of_part(schemas.clone()), &taken),
            };
            let Some(item) = item else { break };
            items.push(item);
            last = taken.is_empty().then_some(schemas);
        }
        Value::Array(items)
    }
}
