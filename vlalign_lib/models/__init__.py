"""Torch modules: encoders, fusion and, chapter by chapter, what is built on them."""
