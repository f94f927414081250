//! Several threads on one device.
#![allow(clippy::unwrap_used, reason = "a test's way of failing")]

use thalweg_gpu::Context;

#[test]
fn threads_read_back_side_by_side() {
    let context = Context::of_any_kind().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let context = &context;
            scope.spawn(move || {
                let buffer = context.buffer_with("values", &[thread; 64]).unwrap();
                for _ in 0..5000 {
                    let mut values = [0u32; 64];
                    context.read(&buffer, 0, &mut values).unwrap();
                    assert_eq!(values, [thread; 64]);
                }
            });
        }
    });
}
