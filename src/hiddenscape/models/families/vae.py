"""VAEs: encoders that give the mean and the log-variance of a latent code, found by structure.

Two layouts are known. An encoder with a child ``mu_logvar_gen`` gives both as a tuple. Else two
modules beside each other are named like a mean and like its log-variance (``fc_mu`` and
``fc_logvar``, ``mean`` and ``log_var``, ...). Everything else is for the user to say::

    wrap_module(model, {"latent_mean": "encoder.to_mean", "latent_logvar": "encoder.to_lv"})

``latent_mean`` is the mean, ``latent_sample`` is mean + exp(log-variance / 2) * eps, with one eps
per row and seed. A name that leaves open whether a module gives variances, their logarithms or
standard deviations gives no sample: a wrong guess would pass unseen.

Kingma, Welling 2013, arXiv:1312.6114.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from hiddenscape.models.sites import Place

__all__ = ["LATENT_LOGVAR", "LATENT_MEAN", "LATENT_SAMPLE", "latent_places"]

LATENT_MEAN, LATENT_LOGVAR, LATENT_SAMPLE = "latent_mean", "latent_logvar", "latent_sample"

_MEAN = re.compile(r"(?:(?<=_)|^)(mu|mean)(?=_|$)")
_LOGARITHMS = ("logvar", "log_var", "logvariance", "log_variance", "lnvar")
_UNCLEAR = (
    "var",
    "variance",
    "logsigma",
    "log_sigma",
    "sigma",
    "logstd",
    "log_std",
    "std",
    "scale",
)
_JOINT = "mu_logvar_gen"


def latent_places(
    module: nn.Module, given: Mapping[str, Place] | None
) -> tuple[dict[str, Place], dict[str, str]]:
    """Places of the latent code, and those that are not offered, with the reason.

    Parameters
    ----------
    module : Module
        A network without a site map.
    given : mapping or None
        Places that the user named; None where the structure is to tell.
    """
    if given is not None:
        mean, logvar = given.get(LATENT_MEAN), given.get(LATENT_LOGVAR)
        if mean is None or logvar is None or LATENT_SAMPLE in given:
            return {}, {}
        return {LATENT_SAMPLE: _sample(mean, logvar)}, {}
    pairs, unclear = _pairs(module)
    if len(pairs) + len(unclear) > 1:
        paths = ", ".join(mean.path for mean, _ in (*pairs, *unclear))
        why = f"several modules may give a latent mean ({paths}); name one in sites"
        return {}, {LATENT_MEAN: why, LATENT_SAMPLE: why}
    if pairs:
        mean, logvar = pairs[0]
        return {LATENT_MEAN: mean, LATENT_SAMPLE: _sample(mean, logvar)}, {}
    if unclear:
        mean, other = unclear[0]
        why = (
            f"module {other.path!r} may give variances, their logarithms or standard deviations; "
            f"if it gives log-variances, say so: sites={{'latent_mean': {mean.path!r}, "
            f"'latent_logvar': {other.path!r}}}"
        )
        return {LATENT_MEAN: mean}, {LATENT_SAMPLE: why}
    return {}, {}


def _sample(mean: Place, logvar: Place) -> Place:
    return replace(logvar, name=LATENT_SAMPLE, parts=(mean, logvar))


Pair = tuple[Place, Place]


def _pairs(module: nn.Module) -> tuple[list[Pair], list[Pair]]:
    """(mean, log-variance) by their names, and (mean, something of unclear meaning)."""
    pairs: list[Pair] = []
    unclear: list[Pair] = []
    for path, parent in module.named_modules():
        names = dict(parent.named_children())
        if _JOINT in names and path:
            both = [Place(name=LATENT_MEAN, path=path, index=i) for i in (0, 1)]
            pairs.append((both[0], both[1]))
            continue
        base = f"{path}." if path else ""
        for name, child in names.items():
            if not _MEAN.search(name) or not _is_map(child):
                continue
            for words, into in ((_LOGARITHMS, pairs), (_UNCLEAR, unclear)):
                other = next((n for w in words if (n := _MEAN.sub(w, name)) in names), None)
                if other is not None:
                    mean = Place(name=LATENT_MEAN, path=base + name)
                    into.append((mean, Place(name=LATENT_LOGVAR, path=base + other)))
                    break
    return pairs, unclear


def _is_map(module: nn.Module) -> bool:
    return any(isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d) for m in module.modules())
