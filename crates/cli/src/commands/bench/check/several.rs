//! Several sequences at once, held against what the CPU twins come to with each of them alone.

use thalweg_bench::Finding;
use thalweg_rwkv::{Next, Part, Wanted};

use super::expected::{Expected, SEQUENCES, STEPS};
use super::{Checking, compare_states, or_lost, stop_if_interrupted};
use crate::failure::Failure;
use crate::model::{BatchModel, Slots};

/// How the prompts of the sequences are cut where they are read in common steps.
const CUTS: [&[usize]; SEQUENCES] = [&[17, 16], &[24], &[9, 8]];
/// Steps that all sequences of a test make at once.
const STEPS_AT_ONCE: usize = 2;

impl Checking<'_> {
    /// Several sequences in common steps: in different places of their prompts, then so many of them as are measured, then
    /// in a loop.
    pub(super) fn several_sequences(
        &self,
        expected: &[Expected; SEQUENCES],
        numbers: &[usize],
    ) -> Result<Vec<Finding>, Failure> {
        let most = numbers.iter().copied().fold(SEQUENCES, usize::max);
        let slots = Slots::Sequences(most);
        let mut model = self.compute.start_shared_batch(self.shared, slots)?;
        let mut findings = vec![self.mixed_steps(&mut model, expected)?];
        findings.extend(self.loops(&mut model, expected)?);
        let mut numbers: Vec<usize> = numbers.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        // The CPU reads one sequence after the other, however many there are.
        numbers.retain(|number| *number > 1 && !self.is_on_cpu);
        for number in numbers {
            findings.push(self.common_steps(&mut model, expected, number)?);
        }
        Ok(findings)
    }

    /// Sequences that share steps while some read their prompts and others do not. Tokens are chosen after each part.
    fn mixed_steps(
        &self,
        model: &mut BatchModel,
        expected: &[Expected; SEQUENCES],
    ) -> Result<Finding, Failure> {
        let mut finding = self.finding_of_twins(format!(
            "{SEQUENCES} sequences, their prompts in common steps, then {STEPS} single tokens each"
        ));
        let batch = model.batch_mut();
        let mut read = [0; SEQUENCES];
        let lengths = |slot: usize| CUTS[slot].iter().copied().chain([1; STEPS]);
        for slot in 0..SEQUENCES {
            batch.reset(slot)?;
        }
        let steps = (0..SEQUENCES).map(|slot| lengths(slot).count()).max();
        for step in 0..steps.unwrap_or(0) {
            stop_if_interrupted()?;
            let mut parts = Vec::new();
            for (slot, expected) in expected.iter().enumerate() {
                if let Some(length) = lengths(slot).nth(step) {
                    let tokens = &expected.tokens[read[slot]..read[slot] + length];
                    parts.push(part(slot, tokens));
                    read[slot] += length;
                    finding.tokens += length;
                }
            }
            let chosen = batch.sample(&parts)?;
            for (Part { slot, .. }, chosen) in parts.iter().zip(chosen) {
                let row = expected[*slot].logits_behind(read[*slot]);
                let Some(chosen) = chosen else {
                    finding.ran_away();
                    return Ok(finding);
                };
                finding.compare_choice(Some(chosen.token), row);
                finding.compare_logits(&batch.logits(*slot)?, row);
            }
        }
        for (slot, expected) in expected.iter().enumerate() {
            compare_states(&mut finding, &batch.state(slot)?, &expected.end);
        }
        Ok(finding)
    }

    /// Steps in a loop, in which the device feeds on what it chooses.
    fn loops(
        &self,
        model: &mut BatchModel,
        expected: &[Expected; SEQUENCES],
    ) -> Result<Option<Finding>, Failure> {
        let mut finding =
            self.finding_of_twins(format!("{SEQUENCES} sequences in a loop of {STEPS} steps"));
        let batch = model.batch_mut();
        let mut next = Vec::new();
        for (slot, expected) in expected.iter().enumerate() {
            batch.set_state(slot, &expected.behind_prompt)?;
            let token = expected.tokens[expected.prompt];
            next.push(Next { slot, token });
        }
        let chosen = batch.decode(&next, STEPS)?;
        finding.tokens = chosen.len();
        for (slot, expected) in expected.iter().enumerate() {
            let of_slot = chosen.iter().skip(slot).step_by(SEQUENCES);
            let tokens: Vec<_> = of_slot.map(|c| c.as_ref().map(|c| c.token)).collect();
            let is_followed = compare_choices(&mut finding, &tokens, expected);
            if is_followed {
                compare_states(&mut finding, &batch.state(slot)?, &expected.end);
            }
        }
        // Where every choice is too near, no loop says anything.
        let is_compared = finding.choices + finding.states > 0;
        Ok(is_compared.then_some(finding))
    }

    /// As many sequences as a test has, each going on from the state behind a prompt of the twins.
    fn common_steps(
        &self,
        model: &mut BatchModel,
        expected: &[Expected; SEQUENCES],
        number: usize,
    ) -> Result<Finding, Failure> {
        let mut finding =
            self.finding_of_twins(format!("{STEPS_AT_ONCE} steps of {number} sequences"));
        let batch = model.batch_mut();
        let of_slot = |slot: usize| &expected[slot % SEQUENCES];
        for slot in 0..number {
            match slot < SEQUENCES {
                true => batch.set_state(slot, &of_slot(slot).behind_prompt)?,
                false => batch.copy_state(slot % SEQUENCES, slot)?,
            }
        }
        let vocab = batch.hyperparameters().vocab;
        for step in 0..STEPS_AT_ONCE {
            stop_if_interrupted()?;
            let read = |slot: usize| of_slot(slot).prompt + step;
            let token = |slot: usize| std::slice::from_ref(&of_slot(slot).tokens[read(slot)]);
            let parts: Vec<_> = (0..number).map(|slot| part(slot, token(slot))).collect();
            finding.tokens += number;
            let Some(logits) = or_lost(batch.forward(&parts), &mut finding)? else {
                return Ok(finding);
            };
            for (slot, logits) in logits.chunks(vocab).enumerate() {
                finding.compare_logits(logits, of_slot(slot).logits_behind(read(slot) + 1));
            }
        }
        Ok(finding)
    }
}

/// Compares what a loop chose behind a prompt and the first token, as long as it went the way that the twins did. Returns whether it
/// did to the end, so that it read the same tokens.
fn compare_choices(finding: &mut Finding, chosen: &[Option<u32>], expected: &Expected) -> bool {
    let behind_first = expected.prompt + 1;
    for (read, &token) in (behind_first..).zip(chosen) {
        finding.compare_choice(token, expected.logits_behind(read));
        let is_last = read + 1 == expected.tokens.len();
        if !is_last && token != Some(expected.tokens[read]) {
            return false;
        }
    }
    true
}

fn part(slot: usize, tokens: &[u32]) -> Part<'_> {
    Part {
        slot,
        tokens,
        wanted: Wanted::Last,
    }
}
