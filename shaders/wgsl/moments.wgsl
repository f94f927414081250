var<workgroup> partial: array<f32, WORKGROUP>;

// The sum of `value` over the workgroup.
fn workgroup_sum(local: u32, value: f32) -> f32 {
    workgroupBarrier(); // the last sum has been read
    partial[local] = value;
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

// Mean and the reciprocal of the standard deviation of the row that begins at vec4 `first`.
fn moments(local: u32, first: u32) -> vec2<f32> {
    var sum = vec4<f32>();
    for (var i = local; i < params.width; i += WORKGROUP) {
        sum += x[first + i];
    }
    let mean = workgroup_sum(local, total(sum)) / f32(4u * params.width);
    var squares = vec4<f32>();
    for (var i = local; i < params.width; i += WORKGROUP) {
        let centred = x[first + i] - mean;
        squares += centred * centred;
    }
    let variance = workgroup_sum(local, total(squares)) / f32(4u * params.width);
    return vec2<f32>(mean, 1.0 / sqrt(variance + params.epsilon));
}

fn normalised(moments: vec2<f32>, first: u32, i: u32) -> vec4<f32> {
    return (x[first + i] - moments.x) * moments.y * vectors[params.weight + i] + vectors[params.bias + i];
}
