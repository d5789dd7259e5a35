"""Comparisons: two sites with each other, or one site with labels. Import from the modules."""
