import pytest

pytest.register_assert_rewrite("tests.controller.admission.replay")
