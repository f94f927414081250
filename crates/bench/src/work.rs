//! What a model has to move and to compute, by its shape: what rates are held against a device's limits with.

use serde::{Deserialize, Serialize};

use crate::{Case, Setting, Task};

/// Bytes and operations that a model's shape asks for at the least. Bytes are those of the file's encodings, whatever a
/// device keeps instead; activations are left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Bytes of the weights that every pass reads: all but the embedding, of which a row a token is, and the head.
    pub layer_bytes: u64,
    /// Bytes of the head, which is read where logits are wanted.
    pub head_bytes: u64,
    /// Bytes of a sequence's state.
    pub state_bytes: u64,
    /// Elements of the matrices in all layers.
    pub layer_elements: u64,
    /// Elements of the head.
    pub head_elements: u64,
    /// Elements of the recurrence's matrices: layers x heads x head size x head size.
    pub recurrence_elements: u64,
}

/// Operations of the recurrence an element and token: `S a` 2, `S diag(w)` 1, `+ (S a) b` 2, `+ v k` 2, `S r` 2.
const RECURRENCE_FLOP: f64 = 9.0;

impl Work {
    /// Bytes that one sample of the setting moves: the weights once a pass, the states to and fro.
    pub fn bytes(&self, setting: &Setting) -> f64 {
        let Work {
            layer_bytes,
            head_bytes,
            state_bytes,
            ..
        } = *self;
        let [layers, head, state] =
            [layer_bytes, head_bytes, state_bytes].map(|bytes| bytes as f64);
        let states = 2.0 * state * setting.sequences as f64;
        match setting.task {
            Task::Prefill => {
                let chunks = setting.tokens.div_ceil(setting.chunk_size.max(1)) as f64;
                chunks * (layers + states) + head
            }
            _ => setting.tokens as f64 * (layers + head + states),
        }
    }

    /// Operations of one sample of the setting, a multiplication and an addition being two.
    pub fn flop(&self, setting: &Setting) -> f64 {
        let layers =
            2.0 * self.layer_elements as f64 + RECURRENCE_FLOP * self.recurrence_elements as f64;
        let head = 2.0 * self.head_elements as f64;
        let rows_of_logits = match setting.task {
            Task::Prefill => setting.sequences as f64,
            _ => setting.all_tokens(),
        };
        setting.all_tokens() * layers + rows_of_logits * head
    }

    /// Gigabytes (10^9) a second, by the case's median.
    pub fn gb_per_s(&self, case: &Case) -> Option<f64> {
        Some(self.bytes(&case.setting) / case.median_s()? / 1e9)
    }

    /// 10^12 operations a second, by the case's median.
    pub fn tflop_per_s(&self, case: &Case) -> Option<f64> {
        Some(self.flop(&case.setting) / case.median_s()? / 1e12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activations;

    const WORK: Work = Work {
        layer_bytes: 1000,
        head_bytes: 100,
        state_bytes: 10,
        layer_elements: 50,
        head_elements: 7,
        recurrence_elements: 2,
    };

    fn setting(task: Task, tokens: usize, sequences: usize, chunk_size: usize) -> Setting {
        Setting {
            task,
            tokens,
            sequences,
            depth: 0,
            chunk_size,
            block_size: None,
            activations: Activations::F32,
        }
    }

    #[test]
    fn a_prompt_reads_the_weights_once_a_chunk_and_the_head_once() {
        let prompt = setting(Task::Prefill, 100, 1, 40);
        assert_eq!(WORK.bytes(&prompt), 3.0 * (1000.0 + 20.0) + 100.0);
        assert_eq!(WORK.flop(&prompt), 100.0 * (2.0 * 50.0 + 9.0 * 2.0) + 14.0);
    }

    #[test]
    fn sequences_share_the_weights_and_have_states_of_their_own() {
        let steps = setting(Task::Parallel, 5, 8, 1);
        assert_eq!(WORK.bytes(&steps), 5.0 * (1100.0 + 8.0 * 20.0));
        assert_eq!(WORK.flop(&steps), 40.0 * (118.0 + 14.0));
    }

    #[test]
    fn rates_go_by_the_median() {
        let mut case = Case::new(setting(Task::Decode, 1, 1, 1));
        assert_eq!(WORK.gb_per_s(&case), None);
        case.samples_s = vec![1e-9, 2e-9, 9.0];
        assert_eq!(WORK.gb_per_s(&case), Some(1120.0 / 2.0));
        assert!((WORK.tflop_per_s(&case).unwrap() - 132.0 / 2e3).abs() < 1e-12);
    }
}
