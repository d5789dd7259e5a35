"""Intrinsic dimension: how many directions the points of a site vary in, at a stated scale."""
