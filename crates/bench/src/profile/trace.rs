//! A profile as a trace that Chrome (`chrome://tracing`) and Perfetto (<https://ui.perfetto.dev>) show: a row a stage, a bar a
//! dispatch. The format is the one of Chrome's trace events, with times in microseconds.

use serde_json::{Value, json};

use super::{Dispatch, Profile, Stage};

impl Profile {
    /// The trace events, as a JSON object.
    pub fn to_trace(&self) -> Value {
        let process = json!({
            "ph": "M", "name": "process_name", "pid": 1, "tid": 0,
            "args": { "name": format!("{}, {}", self.device.summary(), self.model) },
        });
        let stages = self.stages.iter().zip(1..);
        let events = stages.flat_map(|(stage, row)| stage.events(row));
        let events: Vec<Value> = std::iter::once(process).chain(events).collect();
        json!({
            "displayTimeUnit": "ns",
            "otherData": {
                "program": self.program, "platform": self.platform, "driver": self.device.driver,
            },
            "traceEvents": events,
        })
    }
}

impl Stage {
    fn events(&self, row: usize) -> impl Iterator<Item = Value> {
        let name = json!({
            "ph": "M", "name": "thread_name", "pid": 1, "tid": row, "args": { "name": self.name },
        });
        let dispatches = self.dispatches.iter().zip(1..);
        let bars = dispatches.map(move |(dispatch, number)| dispatch.event(row, number));
        std::iter::once(name).chain(bars)
    }
}

impl Dispatch {
    fn event(&self, row: usize, number: usize) -> Value {
        json!({
            "ph": "X", "cat": "kernel", "name": self.kernel, "pid": 1, "tid": row,
            "ts": self.begin_s * 1e6, "dur": self.seconds * 1e6,
            "args": {
                "dispatch": number, "submission": self.submission, "bytes": self.bytes, "flop": self.flops,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::profile;

    #[test]
    fn every_dispatch_is_a_bar_on_its_stage() {
        let trace = profile().to_trace();
        let events = trace["traceEvents"].as_array().unwrap();
        let bars: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
        let names: Vec<_> = bars.iter().map(|bar| bar["name"].as_str()).collect();
        let expected = ["matvec", "norm", "sample_best", "matvec"].map(Some);
        assert_eq!(names, expected);
        assert_eq!(
            (&bars[1]["ts"], &bars[1]["dur"]),
            (&32.0.into(), &10.0.into())
        );
        assert!(bars.iter().all(|bar| bar["tid"] == 1));
        assert_eq!(events[1]["args"]["name"], "decode");
    }
}
