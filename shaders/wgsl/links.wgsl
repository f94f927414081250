// What ties a row (token) to its sequence. Written before each run.
struct Link {
    other: u32, // the row before; of the first row of a sequence its last one
    slot: u32,  // of the first row of a sequence the slot that has its state, of others NO_SLOT; see also DUE
}

const NO_SLOT = 0xffffffffu;
// Of a slot: the rest is the row of a log that has the row before.
const DUE = 0x80000000u;
