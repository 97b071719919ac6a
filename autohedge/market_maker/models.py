"""Placeholder until the full module replaces it."""

from math import exp, log1p, sqrt


def avellaneda_stoikov(q: float, sigma: float, gamma: float, k: float, time_left_s: float) -> tuple[float, float]:
    risk = gamma * sigma * sigma * time_left_s
    return -q * risk, 0.5 * risk + log1p(gamma / k) / gamma


def glft_closed(q: float, sigma: float, gamma: float, k: float, a: float, drift: float, impact: float) -> tuple[float, float]:
    s = sqrt(sigma * sigma * gamma / (2.0 * k * a) * exp((1.0 + k / gamma) * log1p(gamma / k)))
    return -q * s, log1p(gamma / k) / gamma + 0.5 * s
