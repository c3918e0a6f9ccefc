"""What every test shares."""

from hypothesis import HealthCheck, settings

# A shared machine is slow now and then: that is no property of the code. Benchmarks measure speed.
settings.register_profile(
    "targcc", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("targcc")
