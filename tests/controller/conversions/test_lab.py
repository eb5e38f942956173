"""People's manifests of old on the lab's API, which has the controller convert as a cluster does."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.controller.admission import end_to_end
from tests.openapi.recorded import Api

SEEDS = Path(__file__).parents[2] / "data" / "seeds"
POOLS = "/apis/crd.antrea.io/{}/externalippools/one-address"
EGRESSES = "/apis/crd.antrea.io/{}/egresses/one-address"


async def test_an_address_written_as_a_cidr_is_one_in_both_versions(tmp_path: Path) -> None:
    pool, egress = (
        yaml.safe_load((SEEDS / f"{kind}-v1alpha2-one-address.yaml").read_text())
        for kind in ("pool", "egress")
    )
    async with end_to_end.installed(tmp_path) as plane:
        await end_to_end.start(plane)
        api = end_to_end.connect(plane)
        try:
            made = [api.create(pool), api.create(egress)]
            _read(api, pool["spec"], egress["spec"])
            for path in reversed(made):
                api.delete(path)
        finally:
            api.close()


def _read(api: Api, pool: dict[str, object], egress: dict[str, object]) -> None:
    found = {
        version: api.request("GET", POOLS.format(version)).json()["spec"]["ipRanges"]
        for version in ("v1alpha2", "v1beta1")
    }
    address = "10.105.18.100"
    assert found == {"v1alpha2": pool["ipRanges"], "v1beta1": [{"start": address, "end": address}]}
    listed = api.request("GET", "/apis/crd.antrea.io/v1alpha2/externalippools").json()["items"]
    assert [item["spec"] for item in listed] == [pool]
    for version in ("v1alpha2", "v1beta1"):
        assert api.request("GET", EGRESSES.format(version)).json()["spec"] == egress
