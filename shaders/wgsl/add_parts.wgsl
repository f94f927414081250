// Adds a product that was computed in parts, each over some of the columns: out += scale * sum of the parts.
{% include "rows.wgsl" %}
struct Params {
    width: u32,       // vec4s of a row
    parts: u32,
    part_stride: u32, // vec4s from part to part
    scale: f32,
}

@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> parts: array<vec4<f32>>; // [parts, rows, width]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>; // [rows, width]

override WORKGROUP = 64u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.width || id.y >= rows.count) {
        return;
    }
    let at = id.y * params.width + id.x;
    var sum = vec4<f32>();
    for (var part = 0u; part < params.parts; part++) {
        sum += parts[part * params.part_stride + at];
    }
    out[at] += params.scale * sum;
}
