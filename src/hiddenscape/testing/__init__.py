"""For tests of hiddenscape and of what is built on it."""
