"""One JSON object out of a model's text, exactly as it stands there, or a refusal that says why."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autohedge.errors import ModelOutputInvalid
from autohedge.llm.extract import MAX_CHARS, extract_json, find_object

_TEXTS = st.text() | st.text(alphabet='{}[]":, \\n', max_size=12)
_SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4), max_leaves=12
)
_OBJECTS = st.dictionaries(_TEXTS, _VALUES, max_size=5)
_PROSE = st.text(st.characters(exclude_characters='{}[]"', exclude_categories=["Cs"]), max_size=60)


def _refused(text: str) -> str:
    with pytest.raises(ModelOutputInvalid) as caught:
        extract_json(text)
    assert caught.value.failure == "not_json"
    return str(caught.value)


@given(
    _OBJECTS,
    st.booleans(),
    _PROSE,
    _PROSE,
    st.sampled_from(["{}", "```json\n{}\n```", "```\n{}\n```", "<think>{{1}}</think>{}"]),
)
def test_an_object_comes_back_bare_fenced_or_with_prose_around(
    value: dict[str, Any], ascii_only: bool, before: str, after: str, frame: str
) -> None:
    spelled = json.dumps(value, ensure_ascii=ascii_only)
    framed = frame.format(spelled)
    assert find_object(framed) == (value, spelled)
    assert find_object(f"{before} {framed.removeprefix('<think>{1}</think>')} {after}") == (value, spelled)


@given(_OBJECTS, st.data())
def test_a_cut_off_object_is_never_read(value: dict[str, Any], data: st.DataObject) -> None:
    """No prefix of an answer passes, not even by an object inside it that happens to be whole."""
    spelled = json.dumps(value)
    cut = spelled[: data.draw(st.integers(0, len(spelled) - 1))]
    _refused(cut)
    _refused(f"Here it is:\n```json\n{cut}\n```" if cut else cut)


@given(_OBJECTS, _OBJECTS, _PROSE)
def test_two_different_objects_are_ambiguous(one: dict[str, Any], other: dict[str, Any], between: str) -> None:
    first, second = json.dumps(one), json.dumps(other)
    assume(json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    assert "ambiguous" in _refused(f"{first} {between} {second}")


@given(st.text(max_size=300))
def test_any_text_gives_an_object_or_a_refusal(text: str) -> None:
    try:
        value = extract_json(text)
    except ModelOutputInvalid as error:
        assert error.failure == "not_json"
    else:
        assert isinstance(value, dict)


@given(st.text(alphabet='{}[]",:\\ 1aeN', max_size=60))
def test_any_brackets_give_an_object_that_stands_in_the_text_or_a_refusal(text: str) -> None:
    try:
        value, spelled = find_object(text)
    except ModelOutputInvalid:
        return
    assert spelled in text
    assert json.loads(spelled) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "blank"),
        ("I would buy.", "no JSON object"),
        ('[{"a": 1}]', "found a list"),
        ('Here: [{"a": 1}]', "a list of objects"),
        ("3", "found a number"),
        ('"{}"', "found a string"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "-Infinity"),
        ('ok {"a": 1e999}', "too large"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice"),
        ('{"a": 1} and {"a": 1.0}', "ambiguous"),
        ('{"a": 1} and {"a": true}', "ambiguous"),
        ('{"a": "as in {} and', "cut off"),
        ("{'a': 1}", "no JSON object"),
        ('{"a": 1,}', "no JSON object"),
        ('{"a": 01}', "no JSON object"),
        ('{"a": 1_000}', "no JSON object"),
        ('{"a": "' + "x" * MAX_CHARS + '"}', "at most"),
        ('{"a":' * 30_000 + "1" + "}" * 30_000, "at most"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "RecursionError"),
        ('{"a": ' + "9" * 5_000 + "}", "cannot be read"),
    ],
)
def test_what_is_not_one_json_object_is_refused_with_the_reason(text: str, reason: str) -> None:
    assert reason in _refused(text)


def test_prose_may_begin_with_a_word_that_looks_like_a_number() -> None:
    assert extract_json('Infinity is far: {"a": 1}') == {"a": 1}
    assert "NaN" in _refused('[NaN, {"a": 1}]')


def test_the_same_object_said_twice_counts_once() -> None:
    assert extract_json('{"a": 1, "b": 2}\nThat is: {"b": 2, "a": 1}') == {"a": 1, "b": 2}


def test_lists_and_braces_of_prose_are_not_answers() -> None:
    assert extract_json('As in [1], {x}, [2, 3] and [see below]: {"a": [1]}') == {"a": [1]}


def test_thoughts_are_not_answers() -> None:
    assert extract_json('<think>maybe {"a": 1}?\nno</think>\n{"a": 2}') == {"a": 2}


def test_an_unfinished_thought_is_prose() -> None:
    assert extract_json('<think>so it is {"a": 1}') == {"a": 1}


def test_digits_come_back_as_they_were_sent() -> None:
    assert extract_json('{"p": 0.1000000000000000055, "n": 12345678901234567890}') == {
        "p": 0.1,
        "n": 12345678901234567890,
    }


@pytest.mark.parametrize("hostile", ["{", '{"', "[t", "[1,{", "[x] "])
def test_a_text_of_brackets_is_given_up_in_bounded_work(hostile: str) -> None:
    """A hundred thousand characters of brackets would otherwise cost a second each time."""
    assert "very many brackets" in _refused(hostile * (MAX_CHARS // len(hostile)))


@pytest.mark.parametrize("hostile", ["[", '{"a":', "[[],"])
def test_a_text_of_open_brackets_does_not_exhaust_the_stack(hostile: str) -> None:
    assert "RecursionError" in _refused(hostile * (MAX_CHARS // len(hostile)))


def test_no_float_of_an_answer_is_infinite() -> None:
    assert math.isfinite(extract_json('{"a": 1e308}')["a"])
