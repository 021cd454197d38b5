"""Exercises of chapter 02: early and late fusion."""

from __future__ import annotations

from vlalign_lib.course._exercise import Exercise

EXERCISES: tuple[Exercise, ...] = ()
