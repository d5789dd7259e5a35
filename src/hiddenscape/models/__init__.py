"""Networks: named places in them, hooks that read these places, pooling, loading, self-check."""
