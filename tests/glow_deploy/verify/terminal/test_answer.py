"""The answer of `verify`: one line, what failed, four verdicts, and only then the tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from glow_deploy.verify import VerifySettings, verify
from glow_deploy.verify.terminal.answer import answer, answer_line


@pytest.fixture(scope="module")
def compared(report, sound, tmp_path_factory):
    """The same run again, with the first as its baseline."""
    path = tmp_path_factory.mktemp("baseline") / "b.json"
    path.write_text(report.to_json())
    return verify(sound.bundle, settings=VerifySettings(backends=("onnxruntime-cpu",), random_draws=4, baseline=path))


def said(report, **options):
    return [str(line) for line in answer(report, **options)]


def test_a_sound_model_in_five_lines(report):
    assert said(report) == [
        "sound: every image comes back exactly on 1 pair of backends (32 golden images)",
        "round trip: sound",
        "likelihood: sound",
        "samples: sound",
        "weights: sound",
    ]


def test_an_unsound_model_first_then_the_failures_then_the_verdicts(spoilt):
    lines = said(spoilt)
    assert lines[0] == "UNSOUND: images do not come back right; samples and weights are wrong"
    fails = [number for number, line in enumerate(lines) if line.startswith("FAIL ")]
    assert fails[0] == 1
    assert lines[-4:] == ["round trip: unsound", "likelihood: sound", "samples: unsound", "weights: unsound"]
    assert "level1/step02" in lines[1]  # what names the weight comes first
    assert max(fails) < len(lines) - 4


def test_failures_of_one_cause_are_counted_and_listed_when_verbose(spoilt):
    causes = {(failure.level, failure.cause) for failure in spoilt.failures}
    assert len(spoilt.failures) > len(causes)
    short, long = said(spoilt), said(spoilt, verbose=True)
    assert sum(line.startswith("FAIL ") for line in short) == len(causes)
    assert [line for line in long if line.startswith("FAIL ")] == [f"FAIL {failure}" for failure in spoilt.failures]
    more = [int(line.split()[0]) for line in short if "of the same cause" in line]
    assert sum(more) == len(spoilt.failures) - len(causes)
    assert not any("of the same cause" in line for line in long)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("round_trip",), "UNSOUND: images do not come back right"),
        (("likelihood",), "UNSOUND: likelihood is wrong"),
        (("samples",), "UNSOUND: samples are wrong"),
        (("weights",), "UNSOUND: weights are wrong"),
        (("likelihood", "samples"), "UNSOUND: likelihood and samples are wrong"),
        (
            ("round_trip", "likelihood", "samples"),
            "UNSOUND: images do not come back right; likelihood and samples are wrong",
        ),
    ],
)
def test_the_line_names_what_is_wrong(spoilt, wrong, words):
    verdicts = replace(
        spoilt.verdicts,
        **{name: "unsound" if name in wrong else "sound" for name in spoilt.verdicts.to_dict()},
    )
    assert answer_line(replace(spoilt, verdicts=verdicts)) == words


def test_images_that_come_back_only_nearly_are_not_called_exact(report):
    cell = report.cells[0]
    nearly = replace(cell, exactness=replace(cell.exactness, images_exact=31))
    assert answer_line(replace(report, cells=(nearly,))) == (
        "sound: every image comes back within its limits on 1 pair of backends (32 golden images)"
    )


def test_nothing_examined_is_no_pass(report):
    assert answer_line(replace(report, cells=())) == "UNSOUND: nothing was examined"


def test_graphs_for_decoding_are_sound_for_decoding_alone(report):
    reported = replace(report.verdicts, round_trip="reported", likelihood="reported")
    words = answer_line(replace(report, verdicts=reported))
    assert words == "sound for decoding: samples are right (32 golden images); the round trip is not judged"


def test_every_set_of_images_is_counted(report):
    both = (*report.image_sets, replace(report.image_sets[0], name="data", n=2000))
    assert answer_line(replace(report, image_sets=both)).endswith("(32 golden and 2,000 data images)")


@pytest.mark.parametrize(
    ("risen", "changes", "words"),
    [
        (1, {}, "sound, but 1 figure rose above the baseline"),
        (2, {"missing": {"a": "absent"}}, "sound, but 2 figures rose above the baseline"),
        (0, {"missing": {"a": "absent", "b": "absent"}}, "sound, but 2 rows of the baseline could not be measured"),
        (0, {"rows": ()}, "sound, but nothing could be compared with the baseline"),
    ],
)
def test_a_baseline_that_was_not_met_is_part_of_the_answer(report, compared, risen, changes, words):
    assert answer_line(compared) == answer_line(report)
    first, *others = compared.baseline.rows
    figures = [replace(figure, value=10 * figure.limit + 1, passed=False) for figure in first.figures[:risen]]
    rows = (replace(first, figures=(*figures, *first.figures[risen:])), *others)
    baseline = replace(compared.baseline, **{"rows": rows, **changes})
    assert answer_line(replace(compared, baseline=baseline)) == words
