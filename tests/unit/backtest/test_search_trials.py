"""The trial table: what survives, what is recognised as torn, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from autohedge.backtest.trials import Trial, TrialOutcome, TrialTable, Window
from autohedge.errors import ConfigError, StorageError

IDENTITY = {"settings": {"seed": 7, "maker": {"spread": "0.001"}}, "data": "abc"}
OUTCOME = TrialOutcome(1.25, returns=np.array([0.1, -0.2, 1e-17]), period_ns=60, metrics={"trades": 3, "name": "é"})


def filled(folder: Path, count: int = 3) -> list[Trial]:
    with TrialTable(folder, IDENTITY) as table:
        return [table.add({"x": number}, None, OUTCOME) for number in range(count)]


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    """Trials, windows and returns to the last bit."""
    with TrialTable(tmp_path, IDENTITY) as table:
        plain = table.add({"x": 0.1, "touch": "join", "on": True}, None, OUTCOME)
        failed = table.add({"x": 0.1}, Window(5, 9), TrialOutcome(None, "refused"))
    with TrialTable(tmp_path, IDENTITY) as table:
        assert len(table) == 2
        assert table.get(table.key({"x": 0.1, "touch": "join", "on": True})) == plain
        assert table.trials() == [plain] and table.trials(Window(5, 9)) == [failed]
        assert (plain.score, plain.reason, plain.periods, plain.period_ns) == (1.25, "", 3, 60)
        assert (failed.score, failed.reason, failed.window) == (None, "refused", Window(5, 9))
        first, second = table.returns([plain, failed])
        assert first.tobytes() == OUTCOME.returns.tobytes() and second.size == 0
        first[0] = 1.0  # a copy, to do with as one likes


def test_a_trial_is_kept_once(tmp_path: Path) -> None:
    with TrialTable(tmp_path, IDENTITY) as table:
        first = table.add({"x": 1}, None, OUTCOME)
        assert table.add({"x": 1}, None, TrialOutcome(9.0)) is first
        assert len(table) == 1


def test_a_key_is_of_values_and_their_kinds_and_the_window(tmp_path: Path) -> None:
    """1, 1.0, true and "1" are four values; the order of names is none of it."""
    with TrialTable(tmp_path / "a", IDENTITY) as table, TrialTable(tmp_path / "b", {**IDENTITY, "data": "abd"}) as other:
        keys = [table.key({"x": value}) for value in (1, 1.0, True, "1")]
        keys += [table.key({"x": 1}, Window(0, 5)), table.key({"x": 1}, Window(0, 6)), other.key({"x": 1})]
        assert len(set(keys)) == len(keys)
        assert table.key({"x": 1, "y": 2}) == table.key({"y": 2, "x": 1})


def test_a_kill_in_the_middle_of_a_line_costs_that_trial_alone(tmp_path: Path) -> None:
    """Cut at every byte of the last line: whatever is left of it is torn, and the trial can be added again."""
    trials = filled(tmp_path / "whole")
    data = (tmp_path / "whole" / "trials-0001.jsonl").read_bytes()
    last = data.rindex(b"\n", 0, -1) + 1
    for cut in [*range(last, len(data), 17), len(data) - 1]:
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "trials-0001.jsonl").write_bytes(data[:cut])
        with TrialTable(folder, IDENTITY) as table:
            assert len(table) == 2 and table.torn == (cut > last)
            assert table.get(trials[2].key) is None
            table.add({"x": 2}, None, OUTCOME)
        with TrialTable(folder, IDENTITY) as table:
            assert {trial.key: trial for trial in table.trials()} == {trial.key: trial for trial in trials}


@pytest.mark.parametrize("head", [b"", b'{"trials":1,"iden'])
def test_a_part_that_died_before_its_first_line_is_passed_over(tmp_path: Path, head: bytes) -> None:
    filled(tmp_path)
    (tmp_path / "trials-0002.jsonl").write_bytes(head)
    with TrialTable(tmp_path, IDENTITY) as table:
        assert len(table) == 3


@pytest.mark.parametrize("damage", [b"garbage", b"\xff\xfe", b'{"key": 1}', b"[]", b'{"key":"a","params":{}}'])
def test_damage_that_no_kill_makes_is_refused_with_its_line(tmp_path: Path, damage: bytes) -> None:
    filled(tmp_path)
    path = tmp_path / "trials-0001.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], damage, *lines[2:]]) + b"\n")
    with pytest.raises(StorageError, match=r"trials-0001.jsonl, line 3"):
        TrialTable(tmp_path, IDENTITY)


def test_parameters_that_were_changed_by_hand_are_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "trials-0001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"x":1}', b'{"x":8}'))
    with pytest.raises(StorageError, match="line 3: the parameters are not those"):
        TrialTable(tmp_path, IDENTITY)


def test_the_folder_of_another_objective_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    filled(tmp_path)
    other = {"settings": {"seed": 7, "maker": {"spread": "0.002"}}, "data": "abc"}
    with pytest.raises(ConfigError, match=r"settings.maker.spread is 0.001, here it is 0.002"):
        TrialTable(tmp_path, other)


def test_a_folder_that_is_being_written_is_refused_until_it_is_not(tmp_path: Path) -> None:
    with TrialTable(tmp_path, IDENTITY):
        with pytest.raises(ConfigError, match="being written by another search"):
            TrialTable(tmp_path, IDENTITY)
    TrialTable(tmp_path, IDENTITY).close()


def test_looking_at_a_study_leaves_it_as_it_was(tmp_path: Path) -> None:
    filled(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    table = TrialTable(tmp_path, IDENTITY)
    table.close()
    table.close()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        TrialTable(tmp_path / "file", IDENTITY)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_no_score(tmp_path: Path, score: float) -> None:
    with TrialTable(tmp_path, IDENTITY) as table:
        trial = table.add({"x": 1}, None, TrialOutcome(score, metrics={"a": math.nan, "b": 2.0}))
    assert trial.score is None and trial.reason == f"the score is {score}"
    assert trial.metrics == {"a": None, "b": 2.0}


def test_a_missing_score_always_has_a_reason(tmp_path: Path) -> None:
    with TrialTable(tmp_path, IDENTITY) as table:
        assert table.add({"x": 1}, None, TrialOutcome(None)).reason


@pytest.mark.parametrize(
    "outcome",
    [TrialOutcome(1.0, returns=np.zeros((2, 2))), TrialOutcome(1.0, metrics={"a": object()})],  # type: ignore[dict-item]
)
def test_an_outcome_that_is_no_plain_data_is_refused_and_leaves_nothing(tmp_path: Path, outcome: TrialOutcome) -> None:
    with TrialTable(tmp_path, IDENTITY) as table:
        with pytest.raises(StorageError):
            table.add({"x": 1}, None, outcome)
        assert len(table) == 0
    assert list(tmp_path.iterdir()) == []
