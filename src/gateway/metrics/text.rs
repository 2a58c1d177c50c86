//! The counters in the text format of Prometheus. Names follow OpenTelemetry where it has one: dots become underscores, units and `_total` are added.

use std::fmt::{Display, Formatter, Write};

use super::{ENDS, ROUTES, Table};
use crate::{
    domain::count::{Counter, Histogram},
    gateway::Gateway,
};

const PROVIDER: &str = "gen_ai_provider_name";

/// The whole page.
pub(super) fn page(gateway: &Gateway) -> String {
    let mut page = Page(String::with_capacity(16 << 10));
    page.process(gateway);
    page.requests(gateway);
    page.providers(gateway);
    page.ledger(gateway);
    page.0
}

/// A whole number of the smallest unit, written in the unit that is `10^digits` times larger.
struct Scaled(u64, u32);

impl Display for Scaled {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let one = 10_u64.pow(self.1);
        let (whole, part) = (self.0 / one, self.0 % one);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{part:0width$}", width = self.1 as usize);
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

const MICROS: u32 = 6;
const NANOS: u32 = 9;

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if place == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// One series of a histogram whose values have this many digits behind the point.
    fn histogram(&mut self, name: &str, label: Option<(&str, &str)>, histogram: &Histogram, digits: u32) {
        let (bucket, mut count) = (format!("{name}_bucket"), 0);
        for (bound, below) in histogram.cumulative() {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| Scaled(bound, digits).to_string());
            let labels: Vec<(&str, &str)> = label.into_iter().chain([("le", bound.as_str())]).collect();
            self.sample(&bucket, &labels, below);
            count = below;
        }
        self.sample(&format!("{name}_sum"), label.as_slice(), Scaled(histogram.sum(), digits));
        self.sample(&format!("{name}_count"), label.as_slice(), count);
    }

    fn process(&mut self, gateway: &Gateway) {
        self.family("lava_mcp_build_info", "gauge", "Always 1; the label shows the version.");
        self.sample("lava_mcp_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        let started = u64::try_from(gateway.metrics.started.as_microsecond()).unwrap_or(0);
        self.single("process_start_time_seconds", "gauge", "When the gateway was started, in Unix time.", Scaled(started, MICROS));
        // Linux only; elsewhere the line is left out.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        if let Some(kib) = resident {
            self.single("process_resident_memory_bytes", "gauge", "Resident memory.", kib << 10);
        }
    }

    fn requests(&mut self, gateway: &Gateway) {
        let metrics = &gateway.metrics;
        self.family("lava_mcp_requests_total", "counter", "Requests by route, class of status, and code of the refusal.");
        for ([route, class, code], count) in metrics.requests.all().filter(|(_, count)| count.get() > 0) {
            let labels = [("http_route", route), ("status", class), ("code", code)];
            self.sample("lava_mcp_requests_total", &labels, count.get());
        }
        let name = "http_server_request_duration_seconds";
        self.family(name, "histogram", "Time from the head of a request to the head of its answer.");
        for (route, durations) in ROUTES.iter().zip(&metrics.durations).filter(|(_, durations)| is_used(durations)) {
            self.histogram(name, Some(("http_route", route)), durations, MICROS);
        }
    }

    fn providers(&mut self, gateway: &Gateway) {
        let metrics = &gateway.metrics;
        let used = || metrics.providers.all().filter(|(_, provider)| provider.ends.iter().any(|count| count.get() > 0));
        self.family("lava_mcp_attempts_total", "counter", "Calls of providers by the class of their status, or by why there was none.");
        for ([provider], counted) in used() {
            for (end, count) in ENDS.iter().zip(&counted.ends).filter(|(_, count)| count.get() > 0) {
                self.sample("lava_mcp_attempts_total", &[(PROVIDER, provider), ("result", end)], count.get());
            }
        }
        let first = "lava_mcp_upstream_time_to_first_byte_seconds";
        self.family(first, "histogram", "Time from sending a request to the head of the provider's answer.");
        used().for_each(|([provider], counted)| self.histogram(first, Some((PROVIDER, provider)), &counted.first_byte_us, MICROS));
        let whole = "gen_ai_client_operation_duration_seconds";
        self.family(whole, "histogram", "Time from sending a request to the end of the provider's answer.");
        used().for_each(|([provider], counted)| self.histogram(whole, Some((PROVIDER, provider)), &counted.whole_us, MICROS));
        self.family("lava_mcp_cost_usd_total", "counter", "Charged for calls, in US dollars.");
        for ([provider], counted) in used() {
            self.sample("lava_mcp_cost_usd_total", &[(PROVIDER, provider)], Scaled(counted.cost_n.get(), NANOS));
        }
        self.tokens(&metrics.models);
    }

    fn tokens(&mut self, models: &Table<2, super::OfModel>) {
        let name = "gen_ai_client_token_usage";
        self.family(name, "summary", "Tokens that were charged, and in how many answers.");
        for ([provider, model], counted) in models.all().filter(|(_, counted)| counted.answers.get() > 0) {
            for (kind, tokens) in [("input", &counted.input), ("output", &counted.output)] {
                let labels = [(PROVIDER, provider), ("gen_ai_request_model", model), ("gen_ai_token_type", kind)];
                self.sample(&format!("{name}_sum"), &labels, Counter::get(tokens));
                self.sample(&format!("{name}_count"), &labels, counted.answers.get());
            }
        }
    }

    fn ledger(&mut self, gateway: &Gateway) {
        let (metrics, counters) = (&gateway.metrics, gateway.store.counters());
        self.family("lava_mcp_entries_total", "counter", "Entries this process wrote, by how their amount is known.");
        for (basis, count) in counters.entries() {
            self.sample("lava_mcp_entries_total", &[("basis", basis.as_str())], count);
        }
        self.single("lava_mcp_holds_open", "gauge", "Holds of this process that are not settled yet.", metrics.open_holds.get());
        self.single("lava_mcp_hold_exceeded_total", "counter", "Calls that cost more than was set aside for them.", metrics.exceeded.get());
        self.single("lava_mcp_ledger_failures_total", "counter", "Batches that could not be written.", counters.failures.get());
        self.family("lava_mcp_ledger_commit_duration_seconds", "histogram", "Time of a commit, its flush to the disk included.");
        self.histogram("lava_mcp_ledger_commit_duration_seconds", None, &counters.commit_us, MICROS);
        self.family("lava_mcp_ledger_batch_operations", "histogram", "Operations in one commit.");
        self.histogram("lava_mcp_ledger_batch_operations", None, &counters.batch, 0);
    }
}

fn is_used(histogram: &Histogram) -> bool {
    histogram.cumulative().last().is_some_and(|(_, count)| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_break_out_of_its_line() {
        let mut page = Page(String::new());
        page.sample("x", &[("model", "a\"} 1\nfoo 2\\")], 3);
        assert_eq!(page.0, "x{model=\"a\\\"} 1\\nfoo 2\\\\\"} 3\n");
        assert_eq!(Scaled(1_002_500, MICROS).to_string() + &Scaled(25_000, NANOS).to_string(), "1.00250.000025");
    }
}
