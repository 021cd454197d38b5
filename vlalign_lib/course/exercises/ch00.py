"""Exercises of chapter 00: start here."""

from __future__ import annotations

from vlalign_lib.course._exercise import Exercise

EXERCISES: tuple[Exercise, ...] = ()
