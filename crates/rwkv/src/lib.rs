//! The RWKV-7 model: hyperparameters, weights, state, forward pass on the CPU twins.
