// A workgroup of 64 invocations takes four heads of one token: 16 invocations a head, four channels each.
var<workgroup> partial: array<vec2<f32>, 64>;

// The sums of two values over the 16 invocations of a head.
fn head_sum(local: u32, a: vec4<f32>, b: vec4<f32>) -> vec2<f32> {
    workgroupBarrier(); // the last sums have been read
    partial[local] = vec2<f32>((a.x + a.y) + (a.z + a.w), (b.x + b.y) + (b.z + b.w));
    workgroupBarrier();
    let first = local & 0x30u;
    var sum = vec2<f32>();
    for (var i = 0u; i < 16u; i++) {
        sum += partial[first + i];
    }
    return sum;
}
