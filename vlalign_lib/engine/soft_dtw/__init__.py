"""Soft-DTW in compiled loops: numba on the CPU, Triton on CUDA."""
