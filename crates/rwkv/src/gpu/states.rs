//! The states of several sequences on the device, each in a slot.

use std::collections::HashMap;

use thalweg_gpu::{Binding, Buffer, Context, Limits, Plan, PlanBuilder};

use crate::{Error, Hyperparameters, State};

/// The slots. Heads of 64 channels make every part that is bound begin at a multiple of 256 bytes, as devices ask for.
#[derive(Debug)]
pub(super) struct DeviceStates {
    /// `[slots, layers, width]`: the last token's normed input to time mixing, and that to channel mixing.
    shifts: [Buffer; 2],
    /// `[layers, width]`: what the shifts of one slot are to become when its token is through all layers, in a plan in which
    /// others read the old ones until then.
    next_shifts: [Buffer; 2],
    /// The matrices of the recurrence: for each layer `[slots, heads, value, key]`. A buffer for all layers would be larger
    /// than many devices allow.
    wkv: Vec<Buffer>,
    /// The state of one slot on its way to another or to the host, as [`State`] has it: a buffer cannot be copied into
    /// itself.
    packed: Buffer,
    /// The ways taken so far.
    ways: HashMap<Way, Plan>,
    slots: usize,
    /// Bytes of one slot's shifts of one kind.
    shift_bytes: u64,
    /// Bytes of one slot's matrices of one layer.
    wkv_bytes: u64,
}

/// Where a state goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    OutOfSlot(usize),
    IntoSlot(usize),
}

/// One of the slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotState<'a> {
    states: &'a DeviceStates,
    slot: usize,
}

/// The two branches of a layer, in the order of their shifts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Branch {
    TimeMix,
    ChannelMix,
}

impl DeviceStates {
    /// The most slots that a device with such limits can bind.
    pub(super) fn most_slots(hp: &Hyperparameters, limits: &Limits) -> usize {
        let largest = limits.storage_binding_bytes.min(limits.buffer_bytes);
        let slot = wkv_bytes(hp).max(shift_bytes(hp));
        (largest / slot).min(limits.workgroups_per_dimension.into()) as usize
    }

    /// So many slots, no more than the device can bind, all at the start of a sequence.
    pub(super) fn new(
        context: &Context,
        hp: &Hyperparameters,
        slots: usize,
    ) -> Result<DeviceStates, Error> {
        let (shift_bytes, wkv_bytes) = (shift_bytes(hp), wkv_bytes(hp));
        let buffer = |label: &str, slots: usize, bytes: u64| {
            context.buffer(&format!("the states ({label})"), slots as u64 * bytes)
        };
        let wkv = |layer| buffer(&format!("wkv of layer {layer}"), slots, wkv_bytes);
        Ok(DeviceStates {
            shifts: [
                buffer("att shift", slots, shift_bytes)?,
                buffer("ffn shift", slots, shift_bytes)?,
            ],
            next_shifts: [
                buffer("next att shift", 1, shift_bytes)?,
                buffer("next ffn shift", 1, shift_bytes)?,
            ],
            wkv: (0..hp.layers).map(wkv).collect::<Result<_, _>>()?,
            packed: buffer("one on its way", 1, State::bytes(hp))?,
            ways: HashMap::new(),
            slots,
            shift_bytes,
            wkv_bytes,
        })
    }

    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// The shifts of a branch in all slots and layers.
    pub(super) fn shifts(&self, branch: Branch) -> Binding<'_> {
        Binding::Buffer(&self.shifts[branch as usize])
    }

    /// Has a slot's shifts be a row of these, which are `[rows, layers, width]` each.
    pub(super) fn take_shifts(
        &self,
        plan: &mut PlanBuilder<'_>,
        slot: usize,
        from: &[Buffer; 2],
        row: usize,
    ) {
        let [row, slot] = [row, slot].map(|index| index as u64 * self.shift_bytes);
        for (from, shifts) in from.iter().zip(&self.shifts) {
            plan.copy(from, row, shifts, slot, self.shift_bytes);
        }
    }

    /// The matrices of a layer in all slots.
    pub(super) fn wkv(&self, layer: usize) -> Binding<'_> {
        Binding::Buffer(&self.wkv[layer])
    }

    pub(super) fn slot(&self, slot: usize) -> SlotState<'_> {
        SlotState { states: self, slot }
    }

    pub(super) fn read(
        &mut self,
        context: &Context,
        hp: &Hyperparameters,
        slot: usize,
    ) -> Result<State, Error> {
        self.send(context, Way::OutOfSlot(slot))?;
        let mut state = State::zeros(hp);
        let [att, ffn, wkv] = self.places();
        context.read(&self.packed, att, &mut state.att_shift)?;
        context.read(&self.packed, ffn, &mut state.ffn_shift)?;
        context.read(&self.packed, wkv, &mut state.wkv)?;
        Ok(state)
    }

    pub(super) fn write(
        &mut self,
        context: &Context,
        slot: usize,
        state: &State,
    ) -> Result<(), Error> {
        let [att, ffn, wkv] = self.places();
        context.write(&self.packed, att, &state.att_shift)?;
        context.write(&self.packed, ffn, &state.ffn_shift)?;
        context.write(&self.packed, wkv, &state.wkv)?;
        self.send(context, Way::IntoSlot(slot))
    }

    pub(super) fn copy(&mut self, context: &Context, from: usize, to: usize) -> Result<(), Error> {
        self.send(context, Way::OutOfSlot(from))?;
        self.send(context, Way::IntoSlot(to))
    }

    pub(super) fn clear(&mut self, context: &Context, slot: usize) -> Result<(), Error> {
        context.clear(&self.packed)?;
        self.send(context, Way::IntoSlot(slot))
    }

    fn send(&mut self, context: &Context, way: Way) -> Result<(), Error> {
        if !self.ways.contains_key(&way) {
            let plan = self.plan(context, way)?;
            self.ways.insert(way, plan);
        }
        Ok(self.ways[&way].run(context)?)
    }

    fn plan(&self, context: &Context, way: Way) -> Result<Plan, Error> {
        let mut plan = PlanBuilder::new(context, "a state on its way");
        let (Way::OutOfSlot(slot) | Way::IntoSlot(slot)) = way;
        for (buffer, offset, place, bytes) in self.pieces(slot) {
            match way {
                Way::OutOfSlot(_) => plan.copy(buffer, offset, &self.packed, place, bytes),
                Way::IntoSlot(_) => plan.copy(&self.packed, place, buffer, offset, bytes),
            }
        }
        Ok(plan.build()?)
    }

    /// What a slot consists of: buffer, offset in it, place in the packed state, bytes.
    fn pieces(&self, slot: usize) -> impl Iterator<Item = (&Buffer, u64, u64, u64)> {
        let (slot, shift_bytes, wkv_bytes) = (slot as u64, self.shift_bytes, self.wkv_bytes);
        let [att, ffn, wkv] = self.places();
        let shifts = self.shifts.iter().zip([att, ffn]);
        let shifts =
            shifts.map(move |(buffer, place)| (buffer, slot * shift_bytes, place, shift_bytes));
        let places = (0..).map(move |layer| wkv + layer * wkv_bytes);
        let layers = self.wkv.iter().zip(places);
        shifts
            .chain(layers.map(move |(buffer, place)| (buffer, slot * wkv_bytes, place, wkv_bytes)))
    }

    /// Where the parts of a packed state begin.
    fn places(&self) -> [u64; 3] {
        [0, self.shift_bytes, 2 * self.shift_bytes]
    }
}

impl<'a> SlotState<'a> {
    pub(super) fn att_shift(&self, layer: usize) -> Binding<'a> {
        self.shift(Branch::TimeMix, layer)
    }

    pub(super) fn ffn_shift(&self, layer: usize) -> Binding<'a> {
        self.shift(Branch::ChannelMix, layer)
    }

    pub(super) fn next_att_shift(&self, layer: usize) -> Binding<'a> {
        self.next_shift(Branch::TimeMix, layer)
    }

    pub(super) fn next_ffn_shift(&self, layer: usize) -> Binding<'a> {
        self.next_shift(Branch::ChannelMix, layer)
    }

    /// Ends a plan by making the next shifts the present ones.
    pub(super) fn take_next_shifts(&self, plan: &mut PlanBuilder<'_>) {
        let DeviceStates {
            shifts,
            next_shifts,
            shift_bytes,
            ..
        } = self.states;
        let offset = self.slot as u64 * shift_bytes;
        for (next, present) in next_shifts.iter().zip(shifts) {
            plan.copy(next, 0, present, offset, *shift_bytes);
        }
    }

    pub(super) fn wkv(&self, layer: usize) -> Binding<'a> {
        let bytes = self.states.wkv_bytes;
        Binding::Part {
            buffer: &self.states.wkv[layer],
            offset: self.slot as u64 * bytes,
            bytes,
        }
    }

    fn shift(&self, branch: Branch, layer: usize) -> Binding<'a> {
        let row_bytes = self.row_bytes();
        let row = (self.slot * self.states.wkv.len() + layer) as u64;
        Binding::Part {
            buffer: &self.states.shifts[branch as usize],
            offset: row * row_bytes,
            bytes: row_bytes,
        }
    }

    fn next_shift(&self, branch: Branch, layer: usize) -> Binding<'a> {
        let row_bytes = self.row_bytes();
        Binding::Part {
            buffer: &self.states.next_shifts[branch as usize],
            offset: layer as u64 * row_bytes,
            bytes: row_bytes,
        }
    }

    fn row_bytes(&self) -> u64 {
        self.states.shift_bytes / self.states.wkv.len() as u64
    }
}

pub(super) fn shift_bytes(hp: &Hyperparameters) -> u64 {
    4 * (hp.layers * hp.width) as u64
}

fn wkv_bytes(hp: &Hyperparameters) -> u64 {
    4 * (hp.width * hp.head_size) as u64
}
