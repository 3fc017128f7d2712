"""How many times slower this machine is than a usual one: EDGED_TEST_SLOWNESS, 1 by
default. Deadlines of tests are so many times later in an emulated machine or under a
sanitizer; what is promised about time is never multiplied."""

import os

SLOWNESS = float(os.environ.get("EDGED_TEST_SLOWNESS", "1"))
