"""The store: aligned points of many sites on disk, safe against crashes, read without copying.

``docs/format.md`` is the contract of the format; the sentences S1 to S25 there are tests.
"""
