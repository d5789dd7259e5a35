"""Peaks of a density: who belongs to which, and how high the passes between them are."""
