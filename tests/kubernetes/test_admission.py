"""Writes through a real kube-apiserver with the webhooks of deploy/: refused, filled in, warned of.

The tests of this file run in their order on one cluster: with the gates of most recordings, with the default
gates, and at last without a controller.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.controller.admission import end_to_end
from tests.controller.admission.end_to_end import named
from tests.controller.admission.phases import *  # noqa: F403  # fixtures
from tests.controller.admission.replay import Case
from tests.controller.control_plane import ControlPlane
from tests.kubernetes.cluster import Cluster
from tests.openapi import recorded
from tests.openapi.recorded import Api

pytestmark = [pytest.mark.kubernetes, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installed(
    shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ControlPlane]:
    async with end_to_end.installed(tmp_path_factory.mktemp("plane"), shared_cluster) as plane:
        yield plane


@named("end-to-end")
async def test_with_the_gates_on(recorded_gates: ControlPlane, api: Api, case: Case) -> None:
    end_to_end.put(recorded_gates, api, case)


@named("end-to-end-default-gates")
async def test_with_the_default_gates(default_gates: ControlPlane, api: Api, case: Case) -> None:
    end_to_end.put(default_gates, api, case)


async def test_what_is_applied_on_the_server_is_filled_in_each_time(
    default_gates: ControlPlane, api: Api
) -> None:
    policies = [c for c in recorded.load("server-side-apply") if c["name"].startswith("ssa-acnp")]
    assert len(policies) >= 3
    for case in policies:
        answer = recorded.put(api, case)
        # The status is written by another part of the controller, some time later.
        assert (answer.status, answer.json()["spec"]) == (case["status"], case["response"]["spec"])
    api.delete(policies[0]["request"]["path"].partition("?")[0])


async def test_the_controller_was_forbidden_nothing(default_gates: ControlPlane) -> None:
    assert default_gates.cluster is not None
    account = "system:serviceaccount:kube-system:antrea-controller"
    assert default_gates.cluster.forbidden(account) == []


@named("end-to-end-controller-down")
async def test_without_a_controller(no_controller: ControlPlane, api: Api, case: Case) -> None:
    end_to_end.put(no_controller, api, case)
