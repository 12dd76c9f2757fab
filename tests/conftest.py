import os

from hypothesis import settings

# No test asserts on the clock; a busy machine must not turn a property red. CI tries the same examples each time, so
# that it judges the change and not the dice.
settings.register_profile("streamheal", deadline=None, derandomize=bool(os.environ.get("CI")))
# For the targets under tests/fuzz/, over night: pytest tests/fuzz --hypothesis-profile=long --timeout=0
settings.register_profile("long", settings.get_profile("streamheal"), max_examples=20_000, derandomize=False)
settings.load_profile("streamheal")
