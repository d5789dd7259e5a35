"""``demo``: the embedded network on the embedded data, its untrained twin and its history."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hiddenscape.pipeline.datasets import open_data
from hiddenscape.pipeline.extracting import Extracting
from hiddenscape.pipeline.networks import open_demo
from hiddenscape.pipeline.parts import Part, trained_part, twin_part
from hiddenscape.pipeline.stages import Progress, carry_out
from hiddenscape.runs import Run
from hiddenscape.spec import RunSpec

__all__ = ["demo"]

_CITATIONS = ["alpaydin1998digits", "chen2020igpt"]
_LICENCES = {
    "digits": "CC BY 4.0, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository",
    "demo": "Apache-2.0, trained by hiddenscape.training (assets/digits_gpt/training.json)",
}


def demo(
    out: str | Path = "demo", *, rows: int | None = None, progress: Progress | None = None
) -> Run:
    """Measure the network inside the package, its untrained twin and its training checkpoints.

    A small causal image transformer, trained on handwritten digits without their labels, is run
    on test digits. Nothing is trained and nothing is downloaded.

    Parameters
    ----------
    out : path
        Run directory: the trained network; ``OUT/null`` holds the twin, ``OUT/checkpoints`` the
        states during training (TwoNN and label overlap only).
    rows : int, optional
        Use the first rows only.
    progress : callable, optional
        Called with (stage, done, total).

    Returns
    -------
    Run
        The run directory, opened; its page is ``report.html``.

    Notes
    -----
    What is finished is kept: called again, it goes on where it stopped.
    """
    spec = RunSpec(
        network="demo",
        data="digits",
        limit=rows,
        untrained_twin=True,
        out=str(out),
        title="A small image transformer on handwritten digits",
    )
    parts = [trained_part(spec), twin_part(spec), *_history(Path(spec.out))]
    facts = {"citations": _CITATIONS, "licences": _LICENCES}
    work = Extracting(spec, open_data(spec), progress=progress)
    return carry_out(spec, parts, work, progress=progress, facts=facts)


def _history(folder: Path) -> list[Part]:
    from hiddenscape.models.demo import demo_checkpoints

    few = {"analyses": ("two_nn", "label_overlap"), "k": (10,)}
    return [
        Part(
            name=f"step {step}",
            folder=folder / "checkpoints" / f"step-{step:06d}",
            network=partial(open_demo, step),
            measure=few,
            checkpoint={"name": f"step-{step:06d}", "kind": "demo", "step": step},
            series=True,
        )
        for step in demo_checkpoints()
    ]
