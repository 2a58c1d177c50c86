//! Arrays that a schema allows: a tuple in full, otherwise one item, or as many as it wants.

use serde_json::Value;

use super::{
    check::of_item,
    search::{Search, Wish, count},
};

/// Most items of one array.
const ITEMS_MAX: u64 = 1_000;

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
        while items.len() < length {
            let at = items.len();
            let mut schemas: Vec<&Value> = wish.flat.iter().filter_map(|schema| of_item(schema, at)).collect();
            schemas.extend(at.checked_sub(first_contained).and_then(|at| contained.get(at)).copied());
            let mut taken = if is_unique { items.clone() } else { Vec::new() };
            if at == 0 {
                taken.extend(avoid.iter().filter_map(|other| other.get(0)).cloned());
            }
            match self.meet(wish.of_part(schemas), &taken) {
                Some(item) => items.push(item),
                None => break,
            }
        }
        Value::Array(items)
    }
}
