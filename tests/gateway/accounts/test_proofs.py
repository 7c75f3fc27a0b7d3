"""Proofs by Digest."""

from dataclasses import replace

import pytest

from gateway.accounts.errors import TooManyAttemptsError
from gateway.accounts.proofs import Attempts, Proof

# RFC 7616 §3.9.1
EXAMPLE = {
    "user": "Mufasa",
    "realm": "http-auth@example.org",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "uri": "/dir/index.html",
    "method": "GET",
    "algorithm": "SHA-256",
    "response": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    "qop": "auth",
    "nc": "00000001",
    "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
}
OLD = {**EXAMPLE, "algorithm": "MD5", "response": "8ca523f5e9506fed4657c9700eebdbec"}
PASSWORD = "Circle of Life"


@pytest.mark.parametrize("detail", [EXAMPLE, OLD])
def test_the_standards_examples_fit_and_nothing_else_does(detail: dict[str, str]) -> None:
    proof = Proof.read({"ticket": "1", "token": "", **detail})
    assert proof is not None
    assert proof.fits(PASSWORD)
    assert not proof.fits("Circle of life")
    for name, value in detail.items():
        changed = replace(proof, **{name: value[:-1] + ("x" if value[-1] != "x" else "y")})
        assert not changed.fits(PASSWORD), name


def test_what_was_not_asked_for_never_fits() -> None:
    for algorithm in ("MD5-sess", "SHA-256-sess", "SM4", ""):
        proof = Proof.read({**EXAMPLE, "algorithm": algorithm})
        assert proof is not None
        assert not proof.fits(PASSWORD)
    assert Proof.read({"ticket": "1", "token": "abc"}) is None


def test_guessing_gets_slower_for_an_address_and_not_for_this_machine() -> None:
    now = 0.0
    attempts = Attempts(lambda: now)

    def fail(peer: str) -> None:
        with attempts.one(peer) as attempt:
            attempt.failed = True

    for _ in range(20):
        fail("[2001:db8::1]:554")
    with pytest.raises(TooManyAttemptsError) as raised:
        fail("[2001:db8::2]:8554")  # its neighbour in the same network
    assert raised.value.wait == 1.0
    fail("[2001:db8:0:1::1]:554")
    now = 1.0
    fail("[2001:db8::1]:554")
    for _ in range(50):
        fail("127.0.0.1:1")
