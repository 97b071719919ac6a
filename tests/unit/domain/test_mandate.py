"""The mandate: clamped on the way in, never looser with time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from autohedge.domain.ids import CycleId, MandateId
from autohedge.domain.mandate import (
    Clamped,
    Envelope,
    Mandate,
    MandateProposal,
    MandateState,
    Regime,
    RiskLevel,
    clamp,
    in_force,
)
from autohedge.errors import InvariantBroken

S = 1_000_000_000
ENVELOPE = Envelope()


def proposal(
    spread: float = 1.0, bias: float = 0.0, size: float = 1.0, ttl_s: float = 60.0, risk: RiskLevel = RiskLevel.MEDIUM
) -> MandateProposal:
    return MandateProposal(spread, bias, size, ttl_s, Regime.RANGE_BOUND, risk)


def clamped(asked: MandateProposal, envelope: Envelope = ENVELOPE, previous: Mandate | None = None) -> Mandate:
    return clamp(
        asked,
        envelope,
        previous,
        mandate_id=MandateId("m1"),
        cycle_id=CycleId("c1"),
        symbol="BTC/USDT",
        effective_ns=100 * S,
        source="llm",
        reason="because",
    )


def mandate(spread: float = 1.2, bias: float = 0.2, size: float = 0.9, risk: RiskLevel = RiskLevel.MEDIUM) -> Mandate:
    """From 100 s to 160 s."""
    return Mandate(
        MandateId("m0"), CycleId("c0"), "BTC/USDT", spread, bias, size, Regime.VOLATILE, risk, 100 * S, 160 * S, "rules", "", ()
    )


# --- the clamp --------------------------------------------------------------------------------------------------------------


def test_a_proposal_within_the_envelope_passes_unchanged() -> None:
    given_ = clamped(proposal(1.4, -0.2, 0.8, 120.0, RiskLevel.HIGH))
    assert (given_.spread_multiplier, given_.inventory_bias, given_.size_multiplier) == (1.4, -0.2, 0.8)
    assert (given_.effective_ns, given_.valid_until_ns) == (100 * S, 220 * S)
    assert given_.clamps == ()
    assert (given_.mandate_id, given_.cycle_id, given_.symbol) == ("m1", "c1", "BTC/USDT")
    assert (given_.source, given_.reason, given_.regime, given_.risk_level) == (
        "llm",
        "because",
        Regime.RANGE_BOUND,
        RiskLevel.HIGH,
    )


WIDE = Envelope(spread_multiplier_max_change=9, inventory_bias_max_change=2, size_multiplier_max_change=1)


@pytest.mark.parametrize(
    ("asked", "hit"),
    [
        (proposal(spread=0.2), Clamped("spread_multiplier", 0.2, 1.0, "spread_multiplier_min")),
        (proposal(spread=7.5), Clamped("spread_multiplier", 7.5, 3.0, "spread_multiplier_max")),
        (proposal(bias=-0.9), Clamped("inventory_bias", -0.9, -0.5, "inventory_bias_min")),
        (proposal(bias=0.9), Clamped("inventory_bias", 0.9, 0.5, "inventory_bias_max")),
        (proposal(size=0.1), Clamped("size_multiplier", 0.1, 0.25, "size_multiplier_min")),
        (proposal(size=1.5), Clamped("size_multiplier", 1.5, 1.0, "size_multiplier_max")),
        (proposal(ttl_s=9.0), Clamped("ttl_s", 9.0, 10.0, "ttl_min_s")),
        (proposal(ttl_s=901.0), Clamped("ttl_s", 901.0, 900.0, "ttl_max_s")),
    ],
)
def test_each_bound_is_two_sided_and_its_hit_is_recorded(asked: MandateProposal, hit: Clamped) -> None:
    given_ = clamped(asked, WIDE)
    assert given_.clamps == (hit,)
    value = (given_.valid_until_ns - given_.effective_ns) / S if hit.field == "ttl_s" else getattr(given_, hit.field)
    assert value == hit.given


@pytest.mark.parametrize(
    ("asked", "field", "given_"),
    [
        (proposal(spread=2.5), "spread_multiplier", 1.7),  # from 1.2 at most 0.5 up
        (proposal(bias=-0.3), "inventory_bias", -0.05),  # from 0.2 at most 0.25 down
        (proposal(size=0.3), "size_multiplier", 0.65),  # from 0.9 at most 0.25 down
    ],
)
def test_one_cycle_changes_a_field_only_so_far(asked: MandateProposal, field: str, given_: float) -> None:
    before = mandate()
    same = MandateProposal(1.2, 0.2, 0.9, 60.0, Regime.VOLATILE, RiskLevel.MEDIUM)
    changed = clamped(same._replace(**{field: getattr(asked, field)}), previous=before)
    assert getattr(changed, field) == pytest.approx(given_)
    (hit,) = changed.clamps
    assert (hit.field, hit.asked, hit.given, hit.limit) == (
        field,
        getattr(asked, field),
        getattr(changed, field),
        f"{field}_max_change",
    )


def test_without_a_mandate_before_the_step_counts_from_neutral() -> None:
    first = clamped(proposal(3.0, 0.5, 0.25))
    assert (first.spread_multiplier, first.inventory_bias, first.size_multiplier) == (1.5, 0.25, 0.75)
    assert [hit.limit for hit in first.clamps] == [
        "spread_multiplier_max_change",
        "inventory_bias_max_change",
        "size_multiplier_max_change",
    ]


def test_both_hits_of_one_field_are_recorded() -> None:
    hits = clamped(proposal(spread=9.0)).clamps
    assert hits == (
        Clamped("spread_multiplier", 9.0, 3.0, "spread_multiplier_max"),
        Clamped("spread_multiplier", 3.0, 1.5, "spread_multiplier_max_change"),
    )


def test_a_narrowed_envelope_binds_at_once_and_reports_no_hit_that_changed_nothing() -> None:
    """The mandate before was at 3.0; the operator now allows 2.0: the step limit must not keep it above."""
    narrow = Envelope(spread_multiplier_max=2.0)
    before = mandate(spread=3.0, bias=0.0, size=1.0)
    assert clamped(proposal(spread=1.1), narrow, before).spread_multiplier == 2.0
    at_most = clamped(proposal(spread=2.0), narrow, before)
    assert (at_most.spread_multiplier, at_most.clamps) == (2.0, ())


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("field", ["spread_multiplier", "inventory_bias", "size_multiplier", "ttl_s"])
def test_a_number_that_is_not_finite_is_refused(field: str, number: float) -> None:
    with pytest.raises(InvariantBroken, match="finite numbers"):
        clamped(proposal()._replace(**{field: number}))


finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def envelopes(draw: st.DrawFn) -> Envelope:
    def pair(low: float, high: float) -> tuple[float, float]:
        a, b = draw(st.floats(low, high)), draw(st.floats(low, high))
        return min(a, b), max(a, b)

    spread, size, ttl = pair(1.0, 10.0), pair(0.001, 1.0), pair(0.001, 86_400.0)
    return Envelope(
        spread_multiplier_min=spread[0],
        spread_multiplier_max=spread[1],
        spread_multiplier_max_change=draw(st.floats(1e-6, 20)),
        inventory_bias_min=draw(st.floats(-1, 0)),
        inventory_bias_max=draw(st.floats(0, 1)),
        inventory_bias_max_change=draw(st.floats(1e-6, 5)),
        size_multiplier_min=size[0],
        size_multiplier_max=size[1],
        size_multiplier_max_change=draw(st.floats(1e-6, 2)),
        ttl_min_s=ttl[0],
        ttl_max_s=ttl[1],
        conservative_spread_multiplier=draw(st.floats(1, 10)),
        conservative_size_multiplier=draw(st.floats(0, 1)),
    )


proposals = st.builds(
    MandateProposal, finite, finite, finite, finite, st.sampled_from(list(Regime)), st.sampled_from(list(RiskLevel))
)


@settings(max_examples=200, deadline=None)
@given(envelopes(), envelopes(), st.lists(proposals, min_size=1, max_size=4))
def test_whatever_is_proposed_the_mandate_is_inside_the_envelope(
    earlier: Envelope, envelope: Envelope, asked: list[MandateProposal]
) -> None:
    previous = clamped(asked[0], earlier)
    for each in asked:
        given_ = clamped(each, envelope, previous)
        for name in ("spread_multiplier", "inventory_bias", "size_multiplier"):
            low, high = getattr(envelope, f"{name}_min"), getattr(envelope, f"{name}_max")
            value, before = getattr(given_, name), getattr(previous, name)
            assert low <= value <= high
            if low <= before <= high:
                assert abs(value - before) <= getattr(envelope, f"{name}_max_change") * (1 + 1e-9)
            changed = value != getattr(each, name)
            assert changed == any(hit.field == name for hit in given_.clamps)
        ttl_ns = given_.valid_until_ns - given_.effective_ns
        assert int(envelope.ttl_min_s * S) <= ttl_ns <= envelope.ttl_max_s * S
        assert ttl_ns > 0
        previous = given_


# --- in force, fading, gone -------------------------------------------------------------------------------------------------


def test_a_missing_mandate_is_conservative() -> None:
    values = in_force(None, 5, ENVELOPE)
    assert values.state is MandateState.MISSING
    assert (values.mandate_id, values.source) == ("", "conservative")
    assert (values.spread_multiplier, values.inventory_bias, values.size_multiplier) == (2.0, 0.0, 0.5)
    assert values.risk_level is RiskLevel.MEDIUM


def test_a_mandate_holds_as_given_until_it_expires() -> None:
    for now in (100 * S, 160 * S - 1):
        values = in_force(mandate(risk=RiskLevel.LOW), now, ENVELOPE)
        assert values.state is MandateState.IN_FORCE
        assert (values.mandate_id, values.source) == ("m0", "rules")
        assert (values.spread_multiplier, values.inventory_bias, values.size_multiplier) == (1.2, 0.2, 0.9)
        assert values.risk_level is RiskLevel.LOW


@pytest.mark.parametrize(
    ("at_s", "spread", "bias", "size", "state"),
    [
        (160, 1.2, 0.2, 0.9, MandateState.DECAYING),
        (175, 1.4, 0.15, 0.8, MandateState.DECAYING),  # a quarter of the further ttl is gone
        (190, 1.6, 0.1, 0.7, MandateState.DECAYING),
        (220, 2.0, 0.0, 0.5, MandateState.EXPIRED),
        (10_000, 2.0, 0.0, 0.5, MandateState.EXPIRED),
    ],
)
def test_it_fades_linearly_over_one_further_ttl(
    at_s: int, spread: float, bias: float, size: float, state: MandateState
) -> None:
    values = in_force(mandate(), at_s * S, ENVELOPE)
    assert values.state is state
    assert values.spread_multiplier == pytest.approx(spread)
    assert values.inventory_bias == pytest.approx(bias)
    assert values.size_multiplier == pytest.approx(size)


def test_fading_never_loosens_what_was_tighter_than_conservative() -> None:
    values = in_force(mandate(spread=2.8, size=0.3, risk=RiskLevel.HIGH), 10_000 * S, ENVELOPE)
    assert (values.spread_multiplier, values.size_multiplier, values.risk_level) == (2.8, 0.3, RiskLevel.HIGH)


def test_a_low_risk_level_does_not_outlive_its_mandate() -> None:
    """Low risk makes quotes larger; an expired opinion must not."""
    assert in_force(mandate(risk=RiskLevel.LOW), 160 * S, ENVELOPE).risk_level is RiskLevel.MEDIUM


@settings(max_examples=200, deadline=None)
@given(envelopes(), proposals, st.lists(st.integers(0, 3 * 86_400 * S), min_size=2, max_size=8))
def test_time_only_ever_makes_a_mandate_more_careful(envelope: Envelope, asked: MandateProposal, at: list[int]) -> None:
    given_ = clamped(asked, envelope)
    order = [RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH]
    before = in_force(given_, given_.effective_ns, envelope)
    for now in sorted(at):
        values = in_force(given_, given_.effective_ns + now, envelope)
        assert values.spread_multiplier >= before.spread_multiplier * (1 - 1e-12)
        assert values.size_multiplier <= before.size_multiplier * (1 + 1e-12)
        assert abs(values.inventory_bias) <= abs(before.inventory_bias)
        assert values.inventory_bias * given_.inventory_bias >= 0
        assert order.index(values.risk_level) >= order.index(before.risk_level)
        before = values
    gone = in_force(given_, given_.valid_until_ns + (given_.valid_until_ns - given_.effective_ns), envelope)
    missing = in_force(None, 0, envelope)
    assert gone.state is MandateState.EXPIRED
    assert gone.inventory_bias == 0.0
    assert gone.spread_multiplier >= missing.spread_multiplier * (1 - 1e-12)
    assert gone.size_multiplier <= missing.size_multiplier * (1 + 1e-12) + 1e-12


# --- the envelope itself ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"spread_multiplier_min": 2.5, "spread_multiplier_max": 2.0},
        {"size_multiplier_min": 0.9, "size_multiplier_max": 0.5},
        {"ttl_min_s": 100, "ttl_max_s": 50},
        {"spread_multiplier_min": 0.9},
        {"spread_multiplier_max": 11},
        {"spread_multiplier_max_change": 0},
        {"inventory_bias_min": 0.1},
        {"inventory_bias_max": -0.1},
        {"inventory_bias_max_change": -1},
        {"size_multiplier_max": 0},
        {"size_multiplier_max": 1.5},
        {"size_multiplier_max_change": 0},
        {"ttl_min_s": 0},
        {"ttl_max_s": 1e300},
        {"conservative_spread_multiplier": 0.5},
        {"conservative_size_multiplier": 1.1},
        {"spread_multiplier_max": float("nan")},
        {"spread_multiplier_max_change": float("inf")},
        {"spread_multiplier_max": True},
        {"spread_multiplier_max": "wide"},
        {"spread_mult_max": 2.0},
    ],
)
def test_an_envelope_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Envelope(**wrong)


@pytest.mark.parametrize(
    ("setting", "value", "asked", "changes"),
    [
        ("spread_multiplier_min", 1.3, proposal(spread=1.1), "spread_multiplier"),
        ("spread_multiplier_max", 1.2, proposal(spread=1.4), "spread_multiplier"),
        ("spread_multiplier_max_change", 0.1, proposal(spread=1.4), "spread_multiplier"),
        ("inventory_bias_min", -0.1, proposal(bias=-0.2), "inventory_bias"),
        ("inventory_bias_max", 0.1, proposal(bias=0.2), "inventory_bias"),
        ("inventory_bias_max_change", 0.05, proposal(bias=0.2), "inventory_bias"),
        ("size_multiplier_min", 0.9, proposal(size=0.8), "size_multiplier"),
        ("size_multiplier_max", 0.85, proposal(size=0.9), "size_multiplier"),
        ("size_multiplier_max_change", 0.05, proposal(size=0.8), "size_multiplier"),
        ("ttl_min_s", 30.0, proposal(ttl_s=20.0), "valid_until_ns"),
        ("ttl_max_s", 100.0, proposal(ttl_s=200.0), "valid_until_ns"),
        ("conservative_spread_multiplier", 2.5, None, "spread_multiplier"),
        ("conservative_size_multiplier", 0.4, None, "size_multiplier"),
    ],
)
def test_every_setting_of_the_envelope_decides_something(
    setting: str, value: float, asked: MandateProposal | None, changes: str
) -> None:
    changed = Envelope(**{setting: value})
    if asked is None:
        assert getattr(in_force(None, 0, changed), changes) != getattr(in_force(None, 0, ENVELOPE), changes)
    else:
        assert getattr(clamped(asked, changed), changes) != getattr(clamped(asked), changes)


def test_the_settings_that_decide_something_are_all_there_are() -> None:
    (parametrized,) = (
        mark.args[1]
        for mark in test_every_setting_of_the_envelope_decides_something.pytestmark  # type: ignore[attr-defined]
    )
    assert {row[0] for row in parametrized} == set(Envelope.model_fields)
