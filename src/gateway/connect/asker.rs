//! Who asks to be let in: what a program put into the address of the login page, checked and made safe to show.

use std::borrow::Cow;

use crate::{
    domain::{Cycle, SpendLimit, text::one_line},
    gateway::error::GatewayError,
};

/// Lengths of a state. Lava's SDK sends 32 hexadecimal digits.
const STATE: std::ops::RangeInclusive<usize> = 16..=128;
/// Ports below belong to the system; no program that waits for a login listens there.
const PORT_MIN: u16 = 1_024;
/// Longest name of a program or a machine that is shown, in characters.
const NAME_MAX: usize = 60;

/// Most fields that are looked at; a login has eight.
const FIELDS_MAX: usize = 32;

/// A program that waits for the answer on a port of the machine on which the browser runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asker {
    /// Goes back with the answer as it came, so that the program knows its own login.
    pub(super) state: String,
    pub(super) port: u16,
    /// What it calls itself, its machine, and the limit it will set; nobody has checked them.
    pub(super) client: Option<String>,
    pub(super) machine: Option<String>,
    pub(super) limit: Option<SpendLimit>,
}

impl Asker {
    /// Reads the fields of a query or a form. Those it does not know are not its business.
    pub(super) fn read(encoded: &[u8]) -> Result<Self, GatewayError> {
        let fields = Fields::read(encoded)?;
        let required = |name| fields.get(name).ok_or_else(|| wrong(name, "it is missing; the program that opens this page sends it"));
        let state = required("state")?;
        if !STATE.contains(&state.len()) || !state.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
            return Err(wrong("state", "must be 16 to 128 letters, digits, \"_\" or \"-\""));
        }
        let port = required("port")?;
        let is_plain = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| is_plain && *port >= PORT_MIN);
        let port = port.ok_or_else(|| wrong("port", "must be a port from 1024 to 65535, on which the program waits for the answer"))?;
        let name = |field| fields.get(field).map(|text| one_line(text, NAME_MAX)).filter(|text| !text.is_empty());
        let limit = match fields.get("limit").filter(|text| !text.is_empty()) {
            Some(text) => Some(SpendLimit::parse_short(&one_line(text, NAME_MAX)).map_err(|message| wrong("limit", &message))?),
            None => None,
        };
        Ok(Self { state: state.to_owned(), port, client: name("client"), machine: name("machine"), limit })
    }

    /// Its fields as a form sends them back; [`Asker::read`] makes the same of them.
    pub(super) fn fields(&self) -> [(&'static str, Cow<'_, str>); 5] {
        let text = |text: &'_ Option<String>| Cow::Owned(text.clone().unwrap_or_default());
        let limit = self.limit.map(|limit| format!("{}/{}", limit.amount, limit.cycle.as_str()));
        [
            ("state", Cow::Borrowed(&self.state)),
            ("port", self.port.to_string().into()),
            ("client", text(&self.client)),
            ("machine", text(&self.machine)),
            ("limit", limit.unwrap_or_default().into()),
        ]
    }

    /// What the secret key is called that comes of it.
    pub(super) fn key_name(&self) -> String {
        let client = self.client.as_deref().unwrap_or("a program without a name");
        match &self.machine {
            Some(machine) => format!("login: {client} on {machine}"),
            None => format!("login: {client}"),
        }
    }

    /// The limit in words.
    pub(super) fn limit_in_words(&self) -> Option<String> {
        let limit = self.limit?;
        let cycle = match limit.cycle {
            Cycle::Daily => "a day",
            Cycle::Weekly => "a week",
            Cycle::Monthly => "a month",
            Cycle::Total => "in total",
        };
        Some(format!("{} USD {cycle}", limit.amount))
    }

    /// Where the browser takes the answer. Always this literal address: a name could be made to lead elsewhere.
    pub(super) fn callback(&self, answer: &str) -> String {
        format!("http://127.0.0.1:{}/callback?{answer}&state={}", self.port, self.state)
    }
}

/// The fields of a query or a form.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads them; one that stands there twice is refused, as two readers could disagree on it.
    pub(super) fn read(encoded: &[u8]) -> Result<Self, GatewayError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(encoded) {
            if fields.len() >= FIELDS_MAX {
                return Err(GatewayError::BadRequest(format!("More than {FIELDS_MAX} fields were sent; a login has eight.")));
            }
            if fields.iter().any(|(other, _)| *other == name) {
                return Err(wrong(&one_line(&name, NAME_MAX), "duplicate field"));
            }
            fields.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(fields))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

fn wrong(field: &str, message: &str) -> GatewayError {
    GatewayError::BadField { field: field.to_owned(), message: format!("{field}: {message}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "0123456789abcdef0123456789abcdef";

    fn read(query: &str) -> Result<Asker, String> {
        Asker::read(query.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_form_sends_back_reads_the_same() {
        let names =
            ["Cursor", "", "%E2%80%AE%20a%0Ab", "%3Cb%3E%26%22", &"x%20".repeat(80), "%C3%A4".repeat(100).as_str()].map(str::to_owned);
        for name in names {
            let asker = read(&format!("state={STATE}&port=1024&client={name}&machine={name}&limit=5/daily&more=1")).unwrap();
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.extend_pairs(asker.fields());
            assert_eq!(read(&form.finish()).unwrap(), asker);
        }
        let bare = read(&format!("port=65535&state={STATE}")).unwrap();
        assert_eq!((bare.port, bare.client.as_ref(), bare.key_name().as_str()), (65_535, None, "login: a program without a name"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, field) in [
            ("port=5000".to_owned(), "state"),
            (format!("state={STATE}"), "port"),
            ("state=&port=5000".to_owned(), "state"),
            ("state=short&port=5000".to_owned(), "state"),
            (format!("state={}&port=5000", "a".repeat(129)), "state"),
            (format!("state={STATE}%26code%3D1&port=5000"), "state"),
            (format!("state={STATE}%0D%0A&port=5000"), "state"),
            (format!("state={STATE}&port=0"), "port"),
            (format!("state={STATE}&port=80"), "port"),
            (format!("state={STATE}&port=1023"), "port"),
            (format!("state={STATE}&port=65536"), "port"),
            (format!("state={STATE}&port=%2B5000"), "port"),
            (format!("state={STATE}&port=5000@evil.example"), "port"),
            (format!("state={STATE}&port="), "port"),
            (format!("state={STATE}&port=5000&port=5001"), "port"),
            (format!("state={STATE}&port=5000&limit=none"), "limit"),
            (format!("state={STATE}&port=5000&limit=-5/daily"), "limit"),
        ] {
            let message = read(&query).unwrap_err();
            assert!(message.starts_with(&format!("{field}: ")), "{query}: {message}");
        }
        let many: String = (0..100_000).map(|n| format!("&{n}")).collect();
        let began = std::time::Instant::now();
        assert!(read(&many).unwrap_err().starts_with("More than 32 fields"));
        assert!(began.elapsed().as_secs() < 2, "looked for among each other they would take half a minute");
    }
}
