// How many rows (tokens) this run has, and the first row to read. Written before each run, so that one plan serves
// every length up to the one it was built for.
struct Rows {
    count: u32,
    first: u32,
}

@group(0) @binding(0) var<storage, read> rows: Rows;
