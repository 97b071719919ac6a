"""Values become text without losing a digit, and any text can be written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autohedge.errors import StorageError
from autohedge.storage.encoding import REPLACEMENT, clean_text, from_json, plain, to_json
from autohedge.storage.tables import ExactDecimal

decimals = st.decimals(allow_nan=False, allow_infinity=False)
any_text = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, exclude_categories=[]))


@given(decimals)
def test_every_finite_decimal_survives_as_plain_text(value: Decimal) -> None:
    text = plain(value)
    assert Decimal(text) == value
    assert "E" not in text.upper()


@given(decimals)
def test_the_column_type_gives_back_the_very_number(value: Decimal) -> None:
    column = ExactDecimal()
    stored = column.process_bind_param(value, None)  # type: ignore[arg-type]
    assert isinstance(stored, str)
    assert column.process_result_value(stored, None) == value  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_finite_is_refused(value: str) -> None:
    with pytest.raises(StorageError, match="finite"):
        plain(Decimal(value))


def test_small_and_large_numbers_are_written_out() -> None:
    assert plain(Decimal("1E-8")) == "0.00000001"
    assert plain(Decimal("1E+3")) == "1000"
    assert plain(Decimal("12345678901.123456789012")) == "12345678901.123456789012"


@given(any_text)
def test_cleaned_text_is_valid_unicode_without_nul(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode()
    assert "\0" not in cleaned
    assert clean_text(cleaned) == cleaned


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert clean_text(text) == text


def test_surrogates_that_pair_are_joined_and_lone_ones_are_marked() -> None:
    assert clean_text("\ud83d\ude00 \ud800!") == f"😀 {REPLACEMENT}!"
    assert clean_text("a\0b") == f"a{REPLACEMENT}b"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | any_text, lambda part: st.lists(part) | st.dictionaries(any_text, part)
    )
)
def test_any_plain_data_can_be_written_as_json(value: object) -> None:
    orjson.loads(to_json(value))


def test_plain_data_come_back_from_json() -> None:
    value = {"b": [1, 0.1, None, True], "a": {"nested": "ü"}}
    assert from_json(to_json(value)) == value
    assert to_json(value, sort_keys=True).startswith('{"a"')
    assert to_json({"size": Decimal("1E-7"), "out": Path("x/y"), "big": 2**70}) == (
        '{"size":"0.0000001","out":"x/y","big":"1180591620717411303424"}'
    )


def test_data_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(StorageError, match="set has no place"):
        to_json({"roles": {"quant"}})
    with pytest.raises(StorageError, match="finite"):
        to_json({"price": Decimal("NaN")})


def test_damaged_json_is_a_storage_error() -> None:
    with pytest.raises(StorageError, match="expected JSON"):
        from_json('{"a": ')
