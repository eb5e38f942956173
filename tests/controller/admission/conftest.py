import pytest

pytest.register_assert_rewrite(
    "tests.controller.admission.replay", "tests.controller.admission.end_to_end", "tests.openapi.recorded"
)
