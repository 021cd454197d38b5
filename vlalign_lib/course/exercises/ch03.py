"""Exercises of chapter 03: linear coordinates, CCA and kin."""

from __future__ import annotations

from vlalign_lib.course._exercise import Exercise

EXERCISES: tuple[Exercise, ...] = ()
