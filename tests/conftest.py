import os

from hypothesis import settings

# No test asserts on the clock; a busy machine must not turn a property red. CI tries the same examples each time, so
# that it judges the change and not the dice.
settings.register_profile("streamheal", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("streamheal")
