// Does next to nothing, but after the dispatch before it.
@group(0) @binding(0) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(1)
fn main() {
    out[0] += 1u;
}
