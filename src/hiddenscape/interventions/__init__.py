"""Edits of attention, direct logit attribution, and the logit lens."""
