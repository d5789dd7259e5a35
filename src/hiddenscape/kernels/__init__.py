"""Arrays in, arrays out, one block at a time. Knows nothing of layers, models or files."""
