"""CPU kernels in Numba on explicit SIMD values: simd (the layer), taps (any offsets), rows (unit stride), blur (separable)."""
