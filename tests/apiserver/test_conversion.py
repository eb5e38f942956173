"""The envelope of conversion webhooks: what everybody may send, in bounded time and memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import aiohttp
import pytest

from apis.gojson import syntax
from apiserver import conversion
from apiserver.body import MAX_BODY
from apiserver.conversion import Conversion
from apiserver.resources import Object
from tests.apiserver.conftest import Serve, bare_server

JSON = {"Content-Type": "application/json"}
YAML = {"Content-Type": "application/yaml"}


def rename(item: Object, wanted: str) -> Object:
    item["renamed"] = True
    return item


def review(*objects: str, uid: str = '"u"') -> bytes:
    request = f'{{"uid":{uid},"desiredAPIVersion":"g/v2","objects":[{",".join(objects)}]}}'
    return (
        f'{{"kind":"ConversionReview","apiVersion":"apiextensions.k8s.io/v1","request":{request}}}'
    ).encode()


async def convert(
    serve: Serve, body: bytes, headers: dict[str, str] | None = None
) -> tuple[int, str, dict[str, Any]]:
    server = bare_server()
    Conversion(server).path("/convert/x", rename)
    session: aiohttp.ClientSession = await serve(server)
    async with session.post("/convert/x", data=body, headers=headers or JSON) as answer:
        text = await answer.text()
        decoded = json.loads(text) if answer.content_type == "application/json" else {}
        return answer.status, text, decoded.get("response") or {}


@pytest.mark.parametrize("filling", [0, 2 * conversion.LARGE])
async def test_objects_are_converted_in_their_order(serve: Serve, filling: int) -> None:
    spec = "x" * filling
    _, _, response = await convert(
        serve, review(*(f'{{"apiVersion":"g/v1","n":{n},"spec":"{spec}"}}' for n in range(3)))
    )
    assert response["uid"] == "u"
    assert response["result"]["status"] == "Success"
    assert response["convertedObjects"] == [
        {"apiVersion": "g/v2", "n": n, "spec": spec, "renamed": True} for n in range(3)
    ]


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (("7",), "the objects of the review are not a list of objects"),
        (('{"apiVersion":"g/v2"}',), "conversion from a version to itself should not call the webhook: g/v2"),
        ((f'{{"a":"{"x" * MAX_BODY}"}}',), f"an object of the review is longer than {MAX_BODY} bytes"),
    ],
)
async def test_what_cannot_be_converted_fails_the_review(
    serve: Serve, objects: tuple[str, ...], message: str
) -> None:
    status, _, response = await convert(serve, review(*objects))
    assert status == 200
    assert response["result"] == {"metadata": {}, "status": "Failure", "message": message}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "the review is no object"),
        (review()[:-1], "unexpected end of JSON input"),
        (review('{"a":tru}'), "json parse error"),
        (b'{"kind":"ConversionReview","apiVersion":"apiextensions.k8s.io/v1","request":7}', "has no request"),
        (b"[" * 100_000, "json parse error"),
        (review(*["[]"] * 400_000), "more values than objects of its size can have"),
        (b'{"kind":"' + b"x" * 100_000 + b'"}', 'no kind "None" is registered'),
    ],
)
async def test_what_is_no_review_is_refused(serve: Serve, body: bytes, words: str) -> None:
    status, text, _ = await convert(serve, body)
    assert status == 400
    assert words in text.replace("&#34;", '"')


@pytest.mark.parametrize("headers", [YAML, JSON | {"Accept": "application/yaml"}])
async def test_yaml_is_for_short_reviews(serve: Serve, headers: dict[str, str]) -> None:
    status, _, _ = await convert(serve, review('{"apiVersion":"g/v1"}'), headers)
    assert status == 200
    long = review(f'{{"a":"{"x" * conversion.MAX_YAML}"}}')
    status, text, _ = await convert(serve, long, headers)
    assert status == 413, text


def test_a_review_takes_little_more_memory_than_its_text() -> None:
    item = '{"apiVersion":"g/v1","a":[' + ",".join(['{"b":"cccccc"}'] * 2000) + "]}"
    body = review(*[item] * 400)
    tracemalloc.start()
    try:
        answer = conversion._convert_large(body, "application/json", rename)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.count(b'"renamed"') == 400
    assert peak < 4 * len(body)  # decoded as a whole it is many times as much


def test_long_texts_are_not_looked_through_for_what_is_wrong() -> None:
    assert syntax.problem(b"[" + b"1," * 10 + b"]") is not None
    assert syntax.problem(b"[" + b"1," * syntax.LONGEST + b"]") is None
