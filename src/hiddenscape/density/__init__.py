"""Density at every point of a graph: neighbourhoods of constant density, log densities, errors."""
