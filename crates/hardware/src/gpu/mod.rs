//! GPUs: the client that owns the GPU workers.
