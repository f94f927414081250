//! The limits of an adapter that matter to compute kernels.

/// What one adapter can hold, bind and dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// Bytes of the largest buffer.
    pub buffer_bytes: u64,
    /// Bytes of the largest part of a buffer that a kernel can see as one storage binding.
    pub storage_binding_bytes: u64,
    /// Bytes of the largest uniform binding.
    pub uniform_binding_bytes: u64,
    /// Storage bindings of one kernel.
    pub storage_bindings: u32,
    /// Bytes that the offset of a storage binding must be a multiple of.
    pub storage_offset_alignment: u32,
    /// Bytes that the offset of a uniform binding must be a multiple of.
    pub uniform_offset_alignment: u32,
    /// Invocations (threads) of one workgroup.
    pub workgroup_invocations: u32,
    /// Invocations of one workgroup in each dimension.
    pub workgroup_size: [u32; 3],
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Workgroups of one dispatch in each dimension.
    pub workgroups_per_dimension: u32,
}

impl From<&wgpu::Limits> for Limits {
    fn from(limits: &wgpu::Limits) -> Self {
        Limits {
            buffer_bytes: limits.max_buffer_size,
            storage_binding_bytes: limits.max_storage_buffer_binding_size,
            uniform_binding_bytes: limits.max_uniform_buffer_binding_size,
            storage_bindings: limits.max_storage_buffers_per_shader_stage,
            storage_offset_alignment: limits.min_storage_buffer_offset_alignment,
            uniform_offset_alignment: limits.min_uniform_buffer_offset_alignment,
            workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            workgroup_size: [
                limits.max_compute_workgroup_size_x,
                limits.max_compute_workgroup_size_y,
                limits.max_compute_workgroup_size_z,
            ],
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
        }
    }
}
