"""PatchGPT and the demo network that ships."""

from __future__ import annotations

import pytest
import torch

from hiddenscape.data.digits import Nuisance, nuisance_digits
from hiddenscape.errors import InputError
from hiddenscape.models.demo import demo_checkpoints, demo_training, load_demo_network
from hiddenscape.models.families.patch_gpt import PatchGPT, PatchGPTConfig

SMALL = PatchGPTConfig(canvas=12, patch=3, codes=7, width=16, depth=2, heads=2)


def small_images(n: int = 3) -> torch.Tensor:
    draw = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (n, 12, 12), generator=draw, dtype=torch.uint8)


def small_network() -> PatchGPT:
    network = PatchGPT(SMALL, seed=3)
    network.embed_in.codebook.copy_(torch.rand(7, 9, generator=torch.Generator().manual_seed(1)))
    return network.eval()


def test_patches_are_cut_row_by_row() -> None:
    image = torch.arange(144, dtype=torch.uint8).reshape(1, 12, 12)
    patches = small_network().embed_in.patches(image)
    expected = image[0, 3:6, 6:9].flatten() / 255
    torch.testing.assert_close(patches[0, 1 * 4 + 2], expected)


def test_codes_are_the_nearest_prototypes() -> None:
    embed = small_network().embed_in
    patches = embed.patches(small_images())
    distance = (patches[:, :, None] - embed.codebook).square().sum(-1)
    torch.testing.assert_close(embed.codes(small_images()), distance.argmin(-1))


@torch.no_grad()
def test_no_position_sees_its_own_patch_or_a_later_one() -> None:
    network, images = small_network(), small_images()
    whole = network(images)
    for t in range(SMALL.tokens):
        changed = images.clone()
        row, column = divmod(t, 4)
        changed[:, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] = (
            255 - images[:, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        )
        scores = network(changed)
        torch.testing.assert_close(scores[:, : t + 1], whole[:, : t + 1])
        if t + 1 < SMALL.tokens:
            assert not torch.allclose(scores[:, t + 1], whole[:, t + 1])


@torch.no_grad()
def test_every_addition_to_the_stream_is_a_module_output() -> None:
    network, seen = small_network(), {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda m, i, o, name=name: seen.update({name: o}))
    scores = network(small_images())
    stream = seen["embed_in"]
    for b in range(SMALL.depth):
        stream = stream + seen[f"blocks.{b}.attn"] + seen[f"blocks.{b}.mlp"]
        torch.testing.assert_close(seen[f"blocks.{b}"], stream)
        torch.testing.assert_close(seen[f"blocks.{b}.attn"], seen[f"blocks.{b}.attn.out"])
    torch.testing.assert_close(network.head(network.norm(stream)), scores)


def test_floating_images_in_the_unit_interval_equal_bytes() -> None:
    network, images = small_network(), small_images()
    torch.testing.assert_close(network(images.float() / 255), network(images))


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    a, b, c = PatchGPT(SMALL, seed=1), PatchGPT(SMALL, seed=1), PatchGPT(SMALL, seed=2)
    assert torch.equal(a.head.weight, b.head.weight)
    assert not torch.equal(a.head.weight, c.head.weight)
    assert torch.equal(before, torch.get_rng_state())


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"images must be \(n, 12, 12\), got \(2, 8, 8\)"):
        small_network()(torch.zeros(2, 8, 8))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"canvas": 13, "patch": 3}, "patch 3 does not divide canvas 13"),
        ({"width": 10, "heads": 3}, "heads 3 does not divide width 10"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PatchGPTConfig(**sizes)


def demo_images() -> torch.Tensor:
    return torch.from_numpy(nuisance_digits(200, seed=11)[0])


@torch.no_grad()
def test_training_helped_on_digits_never_seen() -> None:
    images = demo_images()
    losses = [float(load_demo_network(step).loss(images)) for step in demo_checkpoints()]
    assert losses == sorted(losses, reverse=True)
    twin = float(load_demo_network(untrained=True).loss(images))
    assert losses[-1] < 0.4 * twin
    # As recorded, although other images were drawn and the weights are stored as float16.
    recorded = demo_training()["curve"][-1]["held_out"]
    assert losses[-1] == pytest.approx(recorded, rel=0.1)


def test_demo_checkpoints_are_log_spaced_and_complete() -> None:
    steps = demo_checkpoints()
    assert steps[0] == 0
    assert len(steps) >= 5
    assert list(steps) == demo_training()["checkpoints"]


def test_demo_network_fits_its_data() -> None:
    config = load_demo_network().config
    assert config.canvas == Nuisance().canvas
    assert 8 <= config.depth <= 12


def test_untrained_twin_shares_the_codebook_and_nothing_else() -> None:
    trained, twin = load_demo_network(), load_demo_network(untrained=True, seed=4)
    assert torch.equal(trained.embed_in.codebook, twin.embed_in.codebook)
    assert not torch.equal(trained.head.weight, twin.head.weight)
    assert trained.config == twin.config
    assert {p.dtype for p in trained.parameters()} == {torch.float32}


def test_unknown_checkpoints_are_refused() -> None:
    with pytest.raises(InputError, match="no checkpoint at step 7; choose one of"):
        load_demo_network(7)
    with pytest.raises(InputError, match="an untrained twin has no training step"):
        load_demo_network(100, untrained=True)
