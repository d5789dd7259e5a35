"""Reading profiles: what is found where it is, and nothing where there is nothing."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from hiddenscape.errors import InputError
from hiddenscape.profile import ProfileFeatures, profile_features
from hiddenscape.profile.significance import Noise, noise_of, sign_test

HUMP = [10.0, 16.0, 20.0, 14.0, 9.0, 8.8, 9.0, 11.0, 12.0]
NINE = np.arange(9)


def read(values: Any, stderr: Any = 0.3, **options: Any) -> ProfileFeatures:
    values = np.asarray(values, dtype=float)
    errors = None if stderr is None else np.broadcast_to(stderr, values.shape)
    features = profile_features(np.arange(len(values)), values, stderr=errors, **options)
    json.dumps(features.to_dict(), allow_nan=False)
    assert all(line.endswith(".") for line in features.text())
    return features


def igpt(n: int = 25) -> np.ndarray:
    """The published profile of iGPT-L, roughly: peak .23, plateau .38-.46, bump .88."""
    x = np.linspace(0, 1, n)
    return np.interp(x, [0, 0.23, 0.38, 0.46, 0.65, 0.88, 1], [11.8, 31.4, 21.5, 21.3, 24, 27, 12])


class TestShapes:
    def test_hump_and_plateau(self) -> None:
        f = read(HUMP)
        assert f.shape == "one peak"
        assert [p.index for p in f.peaks] == [2]
        assert f.peaks[0].sharp
        assert f.peaks[0].prominence == pytest.approx(20 - 10)
        assert f.peaks[0].z == pytest.approx(10 / math.hypot(0.3, 0.3))
        assert f.minimum is not None
        assert f.minimum.index == 5
        assert f.minimum.significant
        assert f.plateau is not None
        # min + 0.1 (peak - min) = 9.92
        assert f.plateau.threshold == pytest.approx(8.8 + 0.1 * 11.2)
        assert f.plateau.indices == (4, 5, 6)
        assert (f.plateau.minimum, f.plateau.middle) == (5, 5)
        assert [(p.name, p.first, p.last) for p in f.phases] == [
            ("expansion", 0, 1),
            ("peak", 2, 2),
            ("compression", 3, 3),
            ("plateau", 4, 6),
            ("second expansion", 7, 8),
        ]
        assert (f.advice.confidence, f.advice.index, f.advice.indices) == ("clear", 5, (4, 5, 6))
        assert f.first_minimum == 4

    def test_published_image_transformer(self) -> None:
        v = igpt()
        f = read(v, 0.02 * v, null_values=np.full(25, 18.5))
        assert f.shape == "2 peaks"
        assert [p.index for p in f.peaks] == [6, 21]
        assert f.peaks[0].twin is not None
        assert f.peaks[0].twin["raised"]
        assert f.advice.confidence == "clear"
        assert f.advice.index in (10, 11)

    def test_two_plateaus_give_two_readings_and_no_answer(self) -> None:
        x = np.linspace(0, 1, 25)
        v = np.interp(x, [0, 0.08, 0.25, 0.37, 0.4, 0.6, 0.88, 1],
                      [31.5, 56.5, 44, 44, 47, 39.5, 45.5, 31.5])  # fmt: skip
        f = read(v, 0.01 * v)
        assert f.advice.confidence == "none"
        assert f.advice.plateau_middle == 15
        assert f.advice.first_minimum == 6
        assert "the rules disagree" in f.advice.reasons[0]

    @pytest.mark.parametrize(
        ("values", "shape", "reason"),
        [
            (np.linspace(5, 15, 9), "rising", "no significant peak (its shape: rising)"),
            (np.linspace(15, 5, 9), "falling", "only falls"),
            (10 + 0.1 * np.sin(NINE), "flat", "no two sites differ"),
        ],
    )
    def test_monotone_and_flat_profiles_have_no_answer(
        self, values: np.ndarray, shape: str, reason: str
    ) -> None:
        f = read(values)
        assert f.shape == shape
        assert not any(p.significant for p in f.peaks)
        assert f.advice.confidence == "none"
        assert f.advice.index is None
        assert reason in " ".join(f.advice.reasons)
        assert any("no clear answer" in line for line in f.text())

    def test_valley_is_a_weak_answer(self) -> None:
        f = read([20, 17, 13, 9, 8.9, 9, 12, 15, 16])
        assert f.shape == "valley"
        assert (f.advice.confidence, f.advice.index) == ("weak", 4)
        assert "no peak inside" in f.advice.reasons[1]

    def test_late_peak_is_a_weak_answer(self) -> None:
        half_way = read([5, 6, 7, 9, 12, 20, 14, 9, 9, 9, 11])
        assert (half_way.advice.confidence, half_way.advice.indices) == ("clear", (7, 8, 9))
        late = read([5, 6, 7, 9, 12, 15, 20, 9, 9, 9.2, 11])
        assert late.advice.confidence == "weak"
        assert "the peak lies late, at 60 % of depth" in late.advice.reasons

    def test_search_ends_before_the_last_tenth(self) -> None:
        v = [10, 15, 20, 18, 16, 14, 12, 11, 10, 9, 4]
        f = read(v)
        assert f.plateau is not None
        assert f.plateau.minimum == 8
        assert f.plateau.still_falling

    def test_middle_of_the_plateau_is_by_depth(self) -> None:
        depths = [0, 1, 2, 7, 7.5, 8, 8.5, 9, 12]
        f = profile_features(depths, [10, 20, 9, 9, 9, 9, 9, 9, 15], stderr=[0.2] * 9)
        assert f.plateau is not None
        assert f.plateau.indices == (2, 3, 4, 5, 6, 7)
        assert f.plateau.middle == 3


class TestNoise:
    @pytest.mark.parametrize("sites", [5, 13, 33])
    def test_flat_noise_shows_a_peak_in_at_most_five_percent(self, sites: int) -> None:
        rng = np.random.default_rng([7, sites])
        found = 0
        for _ in range(400):
            f = profile_features(
                range(sites), 10 + 0.3 * rng.normal(size=sites), stderr=[0.3] * sites
            )
            found += any(p.significant for p in f.peaks)
        # 20 expected at 5 %; 32 is three standard deviations above.
        assert found <= 20

    def test_a_step_up_to_noise_shows_a_peak_in_at_most_five_percent(self) -> None:
        rng = np.random.default_rng(8)
        found = 0
        for _ in range(400):
            v = np.where(np.arange(14) < 1, 2.0, 10.0) + 0.3 * rng.normal(size=14)
            found += any(p.significant for p in read(v).peaks)
        assert found <= 32

    def test_unequal_errors_do_not_raise_the_rate(self) -> None:
        rng = np.random.default_rng(9)
        errors = np.geomspace(0.05, 2, 12)
        found = 0
        for _ in range(400):
            f = profile_features(range(12), 10 + errors * rng.normal(size=12), stderr=errors)
            found += any(p.significant for p in f.peaks)
        assert found <= 20

    @pytest.mark.parametrize("count", [3, 8])
    def test_errors_from_few_repeats_keep_the_rate(self, count: int) -> None:
        rng = np.random.default_rng([10, count])
        found = 0
        for _ in range(400):
            repeats = 10 + rng.normal(size=(count, 9))
            f = profile_features(range(9), repeats.mean(axis=0), repeats=repeats)
            found += any(p.significant for p in f.peaks)
        assert found <= 20

    def test_a_clear_hump_is_found_almost_always(self) -> None:
        rng = np.random.default_rng(11)
        hits = sum(
            any(p.significant and p.index == 2 for p in read(HUMP + rng.normal(size=9), 1.0).peaks)
            for _ in range(100)
        )
        assert hits >= 95

    def test_twin_of_the_same_law_is_no_evidence(self) -> None:
        rng = np.random.default_rng(12)
        answers = 0
        raised = 0
        for _ in range(200):
            values, twin = (HUMP + 0.3 * rng.normal(size=9) for _ in range(2))
            f = profile_features(
                NINE, values, stderr=[0.3] * 9, null_values=twin, null_stderr=[0.3] * 9
            )
            answers += f.advice.clear
            raised += any(p.twin is not None and p.twin["raised"] for p in f.peaks)
        assert answers <= 20
        assert raised <= 10

    def test_threshold_grows_with_sites_and_with_uncertain_errors(self) -> None:
        known = Noise(np.ones(3), math.inf, "stderr")
        few = Noise(np.ones(3), 8, "repeats")
        assert known.critical(2) == pytest.approx(1.96, abs=0.005)
        assert known.critical(13) < known.critical(33)
        assert known.critical(13) < few.critical(13)
        assert known.critical(1) == math.inf

    def test_pooled_errors_of_repeats(self) -> None:
        rng = np.random.default_rng(13)
        truth = np.array([5.0, 10.0, 20.0, 40.0])
        repeats = truth * (1 + 0.1 * rng.normal(size=(400, 4)))
        noise = noise_of(repeats.mean(axis=0), None, repeats)
        np.testing.assert_allclose(noise.stderr, 0.1 * truth / 20, rtol=0.1)
        assert noise.df == 4 * 399


class TestRepeatsAndTwin:
    def test_repeats_that_lack_the_peak_weaken_the_answer(self) -> None:
        flat = np.full(9, 10.0)
        with_peak = read(HUMP, repeats=[HUMP] * 5)
        assert with_peak.peaks[0].repeats_above == 5
        assert with_peak.peaks[0].repeats_p == 1 / 32
        assert with_peak.advice.confidence == "clear"
        without = read(HUMP, repeats=[HUMP, flat, flat, HUMP, flat])
        assert without.advice.confidence == "weak"
        assert "in 2 of 5 repeats only" in " ".join(without.advice.reasons)

    def test_identical_twin_takes_the_answer_away(self) -> None:
        f = read(HUMP, null_values=HUMP, null_stderr=[0.3] * 9)
        assert f.twin_differs == ()
        assert f.advice.confidence == "none"
        assert "no evidence that training shaped it" in f.advice.reasons[0]
        assert any("no evidence of training" in line for line in f.text())

    def test_twin_with_the_same_hump_at_another_level_is_a_doubt(self) -> None:
        f = read(HUMP, null_values=np.array(HUMP) + 5, null_stderr=[0.3] * 9)
        assert f.twin_differs == tuple(range(9))
        assert f.peaks[0].twin is not None
        assert f.peaks[0].twin["excess"] == pytest.approx(0)
        assert f.advice.confidence == "weak"

    def test_flat_twin_supports_the_peak(self) -> None:
        f = read(HUMP, null_values=np.full(9, 12.0), null_stderr=[0.3] * 9)
        twin = f.peaks[0].twin
        assert twin is not None
        assert twin["excess"] == pytest.approx(20 - (10 + 8.8) / 2)
        error = math.sqrt(2 * (0.3**2 + 2 * 0.3**2 / 4))
        assert twin["excess_stderr"] == pytest.approx(error)
        assert f.advice.confidence == "clear"
        assert any("the untrained twin shows 12 there" in line for line in f.text())

    def test_sign_test(self) -> None:
        assert sign_test(7, 8) == pytest.approx(9 / 256)
        assert sign_test(0, 5) == 1.0


class TestSecondSignal:
    def test_calm_plateau_supports_the_answer(self) -> None:
        f = read(HUMP, overlap_next=[0.4, 0.5, 0.5, 0.6, 0.95, 0.93, 0.7, 0.3])
        assert f.calm == (4, 5, 6)
        assert f.calm_contrast == pytest.approx(0.94 - 0.5)
        assert f.advice.confidence == "clear"
        assert "as well" in f.advice.reasons[1]

    def test_calm_elsewhere_is_a_doubt(self) -> None:
        f = read(HUMP, overlap_next=[0.95, 0.9, 0.5, 0.4, 0.4, 0.4, 0.4, 0.3])
        assert f.advice.confidence == "weak"
        assert "neighbours change least elsewhere (site 0 to site 2)" in f.advice.reasons


class TestLabels:
    def test_labels_are_reported_apart_and_never_used(self) -> None:
        overlap = [0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.65, 0.9, 0.2]
        f = read(HUMP, label_overlap=overlap)
        r = f.labels
        assert r is not None
        assert f.advice == read(HUMP).advice
        assert (r.best, r.lag, r.in_plateau) == (7, 5, False)
        assert r.in_plateau_by_chance == pytest.approx(3 / 9)
        assert r.regret == pytest.approx(0.9 - 0.7)
        assert r.regret_last == pytest.approx(0.7)
        assert r.regret_random == pytest.approx(0.9 - np.mean(overlap))

    def test_held_out_choice_is_free_of_selection(self) -> None:
        """All sites are equally good: in sample the best wins, held out nothing does."""
        rng = np.random.default_rng(14)
        in_sample, held_out = [], []
        for seed in range(60):
            shares = rng.random((9, 60))
            f = read(HUMP, label_overlap=shares.mean(axis=1), label_per_point=shares, seed=seed)
            assert f.labels is not None
            assert f.labels.held_out is not None
            in_sample.append(f.labels.regret_last)
            held_out.append(f.labels.held_out["regret_last"])
        assert np.mean(in_sample) > 0.03
        assert abs(np.mean(held_out)) < 3 * np.std(held_out) / np.sqrt(60) < 0.03

    def test_without_an_answer_labels_have_no_regret(self) -> None:
        f = read(np.linspace(5, 15, 9), label_overlap=np.linspace(0, 1, 9))
        assert f.labels is not None
        assert f.labels.regret is None
        assert f.labels.chosen is None
        assert f.labels.regret_last == 0.0
        assert read(HUMP, label_overlap=[np.nan] * 9).labels is None


class TestBadProfiles:
    @pytest.mark.parametrize("n", [0, 1, 2, 3])
    def test_very_short_profiles(self, n: int) -> None:
        f = read([5.0, 9.0, 4.0][:n])
        assert f.advice.confidence == "none"
        assert "at least 5" in f.advice.reasons[0]
        assert any(p.significant for p in f.peaks) == (n == 3)

    def test_all_values_missing(self) -> None:
        f = read([math.nan] * 6)
        assert f.missing == tuple(range(6))
        assert f.peaks == ()
        assert f.advice.confidence == "none"

    def test_a_collapsed_embedding_does_not_matter(self) -> None:
        f = read([math.nan, *HUMP[1:]])
        assert f.missing == (0,)
        assert [p.index for p in f.peaks] == [2]
        assert f.advice.confidence == "clear"
        assert "site 0" in f.text()[1]

    def test_missing_sites_before_the_plateau_weaken_or_forbid_an_answer(self) -> None:
        one = np.array(HUMP)
        one[3] = np.nan
        f = read(one)
        assert f.advice.confidence == "weak"
        assert "sites without a value: site 3" in f.advice.reasons
        many = np.array([*HUMP, 12, 12, 12])
        many[[3, 4, 6, 8, 10]] = np.nan
        assert read(many).advice.confidence == "none"

    def test_without_errors_nothing_is_claimed(self) -> None:
        f = read(HUMP, None)
        assert f.shape == "untested"
        assert not any(p.significant for p in f.peaks)
        assert f.advice.confidence == "none"
        assert "no standard errors are known" in f.advice.reasons[0]
        assert f.to_dict()["stderr"] == [None] * 9

    def test_sites_without_an_error_are_left_out(self) -> None:
        errors = np.full(9, 0.3)
        errors[8] = np.nan
        assert read(HUMP, errors).missing == (8,)

    def test_zero_errors_are_exact(self) -> None:
        f = read(HUMP, 0.0)
        assert f.peaks[0].z == math.inf
        assert f.to_dict()["peaks"][0]["z"] is None

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"depths": [0, 2, 1]}, "put the sites in depth order"),
            ({"depths": [0, 1, math.inf]}, "finite"),
            ({"values": [1.0, 2.0]}, "values must be 3 numbers"),
            ({"stderr": [0.1, -0.1, 0.1]}, "stderr must not be negative, got -0.1"),
            ({"sites": ["a"]}, "1 site names for 3 values"),
            ({"repeats": [[1.0, 2.0]]}, r"repeats must have shape \(repeats, 3\)"),
            ({"overlap_next": [1.0, 2.0, 3.0]}, "overlap_next must be 2 numbers"),
            ({"label_per_point": [[1.0]]}, r"label_per_point must be \(3 sites, rows\)"),
        ],
    )
    def test_refuses_what_does_not_fit(self, options: dict[str, Any], message: str) -> None:
        arguments = {"depths": [0, 1, 2], "values": [1.0, 2.0, 3.0], **options}
        with pytest.raises(InputError, match=message):
            profile_features(**arguments)

    def test_input_is_not_changed(self) -> None:
        arrays = [np.array(HUMP), np.full(9, 0.3)]
        for a in arrays:
            a.flags.writeable = False
        profile_features(NINE, arrays[0], stderr=arrays[1], null_values=arrays[0])
        assert arrays[0].tolist() == HUMP


def test_dictionary_reads_back_from_json() -> None:
    f = read(HUMP, sites=[f"resid_post.{i}" for i in NINE], scale="ranks 1 and 2")
    content = json.loads(json.dumps(f.to_dict()))
    assert content["advice"]["site"] == "resid_post.5"
    assert content["peaks"][0]["site"] == "resid_post.2"
    assert content["text"] == list(f.text())
    assert "at ranks 1 and 2" in content["text"][0]
