"""Neighbour graphs: one exact search per site serves every measurement."""
