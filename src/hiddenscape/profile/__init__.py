"""Reading a profile over depth: peaks, plateau, phases, and which site to use."""

from hiddenscape.profile.features import ProfileFeatures, profile_features

__all__ = ["ProfileFeatures", "profile_features"]
