// The sequences of a run that read guessed tokens: whose updates of the state a log notes, as it is not known yet how many of the
// tokens are right. Of the run before, those that turned out right are still due. Written before each run; places that a run does
// not use have no tokens of either kind.
struct Replay {
    slot: u32,
    first_due: u32, // row of the log of the run before
    due: u32,       // how many rows
    first: u32,     // row
    count: u32,     // of rows; none if only what is due is to be done
}
