//! The states that an engine remembers: in spare slots of its batch, then in a prefix cache.

use std::ops::Range;
use std::sync::Arc;

use thalweg_rwkv::{Batch, Error};

use crate::cache::Tier;
use crate::{PrefixCache, Snapshot};

/// Two tiers. What the slots do not hold any more goes to the cache.
#[derive(Debug)]
pub(crate) struct Memory {
    slots: Tier<Spare>,
    free: Vec<usize>,
    spare: Range<usize>,
    cache: PrefixCache,
}

/// A slot that holds a state for others to begin from.
#[derive(Debug)]
struct Spare {
    slot: usize,
    logits: Option<Vec<f32>>,
}

impl Memory {
    pub(crate) fn new(cache: PrefixCache, spare: Range<usize>) -> Self {
        Self {
            slots: Tier::new(),
            free: spare.clone().collect(),
            spare,
            cache,
        }
    }

    /// Tokens between two states worth keeping within a prompt, if there are any.
    pub(crate) fn stride(&self) -> Option<usize> {
        self.cache.stride()
    }

    /// Puts `slot` into the state after the longest known beginning of `tokens`, or to the start of a sequence. Returns
    /// the beginning's length, and the logits there if they are known.
    pub(crate) fn resume(
        &mut self,
        batch: &mut impl Batch,
        slot: usize,
        tokens: &[u32],
    ) -> Result<(usize, Option<Vec<f32>>), Error> {
        let in_cache = self.cache.known(tokens);
        let accepts = |length: usize, spare: &Spare| {
            length >= in_cache && (length < tokens.len() || spare.logits.is_some())
        };
        if let Some((length, spare)) = self.slots.find(tokens, accepts) {
            batch.copy_state(spare.slot, slot)?;
            return Ok((length, spare.logits.clone()));
        }
        let Some((length, snapshot)) = self.cache.find(tokens) else {
            batch.reset(slot)?;
            return Ok((0, None));
        };
        batch.set_state(slot, &snapshot.state)?;
        Ok((length, snapshot.logits.clone()))
    }

    /// Remembers the state of `slot`, which is that after `tokens`, and the logits from which a token was just chosen there.
    pub(crate) fn remember(
        &mut self,
        batch: &mut impl Batch,
        slot: usize,
        tokens: &[u32],
    ) -> Result<(), Error> {
        if self.knows(tokens) {
            return Ok(());
        }
        let logits = Some(batch.logits(slot)?);
        if let Some(spare) = self.free_slot(batch)? {
            batch.copy_state(slot, spare)?;
            let kept = Spare {
                slot: spare,
                logits,
            };
            let replaced = self.slots.insert(tokens, kept, 0);
            self.free.extend(replaced.map(|replaced| replaced.slot));
        } else if self.cache.has_room() {
            let state = batch.state(slot)?;
            let snapshot = Snapshot { state, logits };
            self.cache.insert(tokens, Arc::new(snapshot));
        }
        Ok(())
    }

    fn knows(&mut self, tokens: &[u32]) -> bool {
        let accepts =
            |length: usize, spare: &Spare| length == tokens.len() && spare.logits.is_some();
        self.slots.find(tokens, accepts).is_some() || self.cache.knows(tokens)
    }

    /// A spare slot to be filled, if there are any: the state that was used longest ago makes room.
    fn free_slot(&mut self, batch: &mut impl Batch) -> Result<Option<usize>, Error> {
        if let Some(slot) = self.free.pop() {
            return Ok(Some(slot));
        }
        let Some((tokens, Spare { slot, logits })) = self.slots.pop_oldest() else {
            return Ok(None);
        };
        if self.cache.has_room() {
            let state = batch.state(slot)?;
            self.cache
                .insert(&tokens, Arc::new(Snapshot { state, logits }));
        }
        Ok(Some(slot))
    }

    /// Brings the states in the slots into the cache, if anything outlives that; as far as the batch still gives them.
    pub(crate) fn put_away(&mut self, batch: &mut impl Batch) -> Result<(), Error> {
        while self.cache.has_folder()
            && let Some((tokens, Spare { slot, logits })) = self.slots.pop_oldest()
        {
            let state = batch.state(slot)?;
            self.cache
                .insert(&tokens, Arc::new(Snapshot { state, logits }));
        }
        Ok(())
    }

    /// The batch has failed: what was in its slots is lost.
    pub(crate) fn forget_slots(&mut self) {
        self.slots = Tier::new();
        self.free = self.spare.clone().collect();
    }
}
