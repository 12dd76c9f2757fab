"""Fuzz targets: hostile input of each kind, a few hundred examples in seconds.

pytest tests/fuzz --hypothesis-profile=long --timeout=0     # hours
"""

from hypothesis import HealthCheck, settings


def examples(usual: int) -> settings:
    """`usual` examples, and with the profile `long` as many times more as it has more than the default's 100."""
    times = max(1, settings.default.max_examples // 100)
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=usual * times, suppress_health_check=slow)
