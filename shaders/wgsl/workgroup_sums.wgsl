// Sums of {{ summed }} over the workgroup, {{ "by subgroup operations" if subgroup else "by halves" }}.
struct Lane {
    @builtin(local_invocation_index) local: u32,
    {% if subgroup %}
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) in_subgroup: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    {% endif %}
}

{% if subgroup %}
const MOST_SUBGROUPS = WORKGROUP / {{ least_subgroup }}u;

// What each subgroup has added up. Two sums have memory of their own: neither waits until the other has been read.
var<workgroup> partial: array<{{ summed }}, 2u * MOST_SUBGROUPS>;

// The sum of `value` over the workgroup, the first (`which` 0) or the second of them.
fn workgroup_sum(lane: Lane, which: u32, value: {{ summed }}) -> {{ summed }} {
    let first = which * MOST_SUBGROUPS;
    let sum = subgroupAdd(value);
    if (lane.in_subgroup == 0u) {
        partial[first + lane.subgroup] = sum;
    }
    workgroupBarrier();
    // Every subgroup adds all of them up, each invocation one as a rule.
    var few = {{ summed }}();
    for (var next = 0u; next < lane.subgroups; next += lane.subgroup_size) {
        let i = next + lane.in_subgroup;
        few += select({{ summed }}(), partial[first + min(i, lane.subgroups - 1u)], i < lane.subgroups);
    }
    return subgroupAdd(few);
}
{% else %}
var<workgroup> partial: array<{{ summed }}, WORKGROUP>;

// The sum of `value` over the workgroup.
fn workgroup_sum(lane: Lane, which: u32, value: {{ summed }}) -> {{ summed }} {
    workgroupBarrier(); // the last sum has been read
    partial[lane.local] = value;
    // From the largest power of two below the workgroup's size on, whatever that is.
    for (var width = 1u << firstLeadingBit(WORKGROUP - 1u); width > 0u; width /= 2u) {
        workgroupBarrier();
        if (lane.local < min(width, WORKGROUP - width)) {
            partial[lane.local] += partial[lane.local + width];
        }
    }
    workgroupBarrier();
    return partial[0];
}
{% endif %}

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}
