var<workgroup> partial: array<vec2<f32>, WORKGROUP>;

// The sums of two values over the workgroup.
fn workgroup_sums(local: u32, values: vec2<f32>) -> vec2<f32> {
    workgroupBarrier(); // the last sums have been read
    partial[local] = values;
    for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if (local < width) {
            partial[local] += partial[local + width];
        }
    }
    workgroupBarrier();
    return partial[0];
}

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}
