//! Small operations one by one: what they take alone, with what it costs to launch them, and fused with others.

mod text;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json::TIMES_S;
use crate::{Device, Error, Summary};

/// What small operations of a model take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operations {
    /// The program and its version.
    pub program: String,
    /// The arguments that it was given.
    pub arguments: Vec<String>,
    /// The operating system and the processor's architecture.
    pub platform: String,
    /// What computed.
    pub device: Device,
    /// The name of the file of the model that has these shapes.
    pub model: String,
    /// The operations, in order.
    pub operations: Vec<OperationTimes>,
}

/// What an operation takes, in every form that there is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationTimes {
    /// What is computed: `layer norm`, `product`.
    pub operation: String,
    /// For how many channels, or with which matrix.
    pub shape: String,
    /// For how many tokens.
    pub tokens: usize,
    /// Its forms: `single` if there is but one, else `unfused` and `fused`.
    pub forms: Vec<FormTimes>,
}

/// What an operation takes in one form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FormTimes {
    /// Its name.
    pub form: String,
    /// Dispatches that it consists of, on a device.
    pub dispatches: Option<usize>,
    /// Seconds that it takes where it is computed, every sample.
    pub alone_s: Vec<f64>,
    /// On a device: seconds until the host, which has nothing else to do, knows that it is done, every sample.
    pub launched_s: Vec<f64>,
}

impl Operations {
    /// Reads what [`to_json`](Operations::to_json) made.
    ///
    /// # Errors
    /// [`Error::Operations`] if it is not that; [`Error::Sample`] for a time that is none.
    pub fn from_json(text: &str) -> Result<Operations, Error> {
        let read: Operations = serde_json::from_str(text).map_err(Error::Operations)?;
        for operation in &read.operations {
            let samples = operation.forms.iter().flat_map(FormTimes::samples);
            if let Some(found) = samples.copied().find(|sample| !TIMES_S.contains(sample)) {
                return Err(Error::Sample {
                    test: operation.operation.clone(),
                    found,
                });
            }
        }
        Ok(read)
    }

    /// All of it as one JSON object, with what the samples come to beside them.
    pub fn to_json(&self) -> Value {
        let mut json = json!(self);
        for (of_all, operation) in self.operations.iter().enumerate() {
            for (of_operation, form) in operation.forms.iter().enumerate() {
                let json = &mut json["operations"][of_all]["forms"][of_operation];
                json["alone"] = json!(Summary::of(&form.alone_s));
                json["launched"] = json!(Summary::of(&form.launched_s));
            }
        }
        json
    }
}

impl OperationTimes {
    fn form(&self, name: &str) -> Option<&FormTimes> {
        self.forms.iter().find(|form| form.form == name)
    }
}

impl FormTimes {
    fn samples(&self) -> impl Iterator<Item = &f64> {
        self.alone_s.iter().chain(&self.launched_s)
    }

    /// Seconds alone, the median.
    fn alone(&self) -> Option<f64> {
        Summary::of(&self.alone_s).map(|summary| summary.median)
    }

    /// Seconds with what a launch costs, the median.
    fn launched(&self) -> Option<f64> {
        Summary::of(&self.launched_s).map(|summary| summary.median)
    }

    /// How many times as long it takes with what a launch costs.
    fn launch_costs(&self) -> Option<f64> {
        Some(self.launched()? / self.alone()?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::samples::report;

    fn form(name: &str, dispatches: usize, alone_us: f64, launched_us: f64) -> FormTimes {
        FormTimes {
            form: name.to_owned(),
            dispatches: Some(dispatches),
            alone_s: vec![alone_us / 1e6; 2],
            launched_s: vec![launched_us / 1e6, 3.0 * launched_us / 1e6],
        }
    }

    pub(crate) fn operations() -> Operations {
        let arguments = ["bench", "--ops", "-m", "/home/me/a.gguf"];
        Operations {
            program: "thalweg 1.2.3".to_owned(),
            arguments: arguments.map(str::to_owned).into(),
            platform: "linux x86_64".to_owned(),
            device: report().device,
            model: "a.gguf".to_owned(),
            operations: vec![
                OperationTimes {
                    operation: "softmax".to_owned(),
                    shape: "1024".to_owned(),
                    tokens: 1,
                    forms: vec![form("single", 1, 4.0, 40.0)],
                },
                OperationTimes {
                    operation: "layer norm, product".to_owned(),
                    shape: "64 x 64, f16".to_owned(),
                    tokens: 1,
                    forms: vec![form("unfused", 2, 9.0, 45.0), form("fused", 1, 6.0, 30.0)],
                },
            ],
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let json = operations().to_json();
        let read = Operations::from_json(&json.to_string()).unwrap();
        assert_eq!(read.to_string(), operations().to_string());
        assert_eq!(read.arguments, operations().arguments);
        let fused = &json["operations"][1]["forms"][1];
        assert_eq!(fused["dispatches"], 1);
        assert_eq!(fused["launched"]["count"], 2);
        assert_eq!(fused["alone"]["median"], 6e-6);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let mut operations = operations();
        operations.operations[0].forms[0].launched_s[0] = -1.0;
        let fault = Operations::from_json(&operations.to_json().to_string()).unwrap_err();
        assert!(fault.to_string().contains("softmax"), "{fault}");
        let fault = Operations::from_json("{\"operations\": 1}").unwrap_err();
        assert!(fault.to_string().contains("--ops"), "{fault}");
    }
}
