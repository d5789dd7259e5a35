"""Data sets: ordered, finite rows with ids, labels and a fingerprint."""
