var<workgroup> row_best: atomic<u32>;
var<workgroup> row_best_shared: u32;

// The largest key of the row; BANNED if every token is.
fn best_of_row(row: u32, local: u32) -> u32 {
    if (local == 0u) {
        atomicStore(&row_best, BANNED);
    }
    workgroupBarrier();
    for (var chunk = local; chunk < params.chunks; chunk += WORKGROUP) {
        atomicMax(&row_best, work[row].chunks[chunk].best);
    }
    workgroupBarrier();
    if (local == 0u) {
        row_best_shared = atomicLoad(&row_best);
    }
    return workgroupUniformLoad(&row_best_shared);
}
