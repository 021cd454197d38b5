"""Alignment of sequences in time: DTW, soft-DTW, S2DTW."""

__all__: list[str] = []
