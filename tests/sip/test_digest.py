"""`sip.digest`: the printed examples of the standards, and a server that believes nobody."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from sip import Auth, Request, parse
from sip.digest import Algorithm, Authenticator, DigestClient, Verdict, digest

PEER = "198.51.100.20"
DEVICE = "31011500001180000002"
PASSWORD = "Kx-4821-pw"
URI = "sip:31011500002000000001@3101150000"


def counting() -> Callable[[int], bytes]:
    """Randomness that never repeats and is the same in every run."""
    calls = iter(range(1, 1 << 30))
    return lambda size: next(calls).to_bytes(size, "big")


def server(**options: float) -> Authenticator:
    return Authenticator(b"k" * 32, counting(), **options)


def answer(challenge: Auth, password: str = PASSWORD) -> Auth:
    client = DigestClient(DEVICE, password, counting())
    assert client.handle_challenge([challenge])
    credentials = client.authorize("REGISTER", URI)
    assert credentials is not None
    return credentials


def judge(authenticator: Authenticator, now: float, credentials: Auth, **changes: object) -> Verdict:
    expected: dict[str, object] = {"method": "REGISTER", "password": PASSWORD, "peer": PEER, "device": DEVICE}
    return authenticator.verify(now, credentials, **(expected | changes))  # type: ignore[arg-type]  # a bag of options


@pytest.mark.parametrize(
    ("qop", "response"),
    [("auth", "f7b507040a11a8916e8252aecd263e05"), (None, "06085d89f3c17edbf552a454f26ac248")],
)
def test_a_worked_registration(qop: str | None, response: str) -> None:
    assert response == digest(
        Algorithm.MD5,
        username=DEVICE,
        realm="3101150000",
        password=PASSWORD,
        method="REGISTER",
        uri=URI,
        nonce="6f0c9b1e57a24d83",
        qop=qop,
        nc="00000001",
        cnonce="0a4f113b",
    )


def test_rfc_2617_section_3_5() -> None:
    assert (
        digest(
            Algorithm.MD5,
            username="Mufasa",
            realm="testrealm@host.com",
            password="Circle Of Life",
            method="GET",
            uri="/dir/index.html",
            nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
            qop="auth",
            nc="00000001",
            cnonce="0a4f113b",
        )
        == "6629fae49393a05397450978507c4ef1"
    )


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        (Algorithm.MD5, "8ca523f5e9506fed4657c9700eebdbec"),
        (Algorithm.SHA256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc_7616_section_3_9_1(algorithm: Algorithm, response: str) -> None:
    assert response == digest(
        algorithm,
        username="Mufasa",
        realm="http-auth@example.org",
        password="Circle of Life",
        method="GET",
        uri="/dir/index.html",
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        qop="auth",
        nc="00000001",
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )


def test_sm3_of_the_standard() -> None:
    """GB/T 32905-2016 Annex A.1."""
    assert Algorithm.SM3.hash("abc") == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("qop", [True, False])
def test_client_and_server_agree_over_the_wire(algorithm: Algorithm, qop: bool) -> None:
    authenticator = server()
    challenge = authenticator.challenge(5.0, "3101150000", PEER, DEVICE, algorithm=algorithm, qop=qop)
    assert f"algorithm={algorithm.value}" in str(challenge)
    credentials = Auth.parse(str(answer(Auth.parse(str(challenge)))))
    assert judge(authenticator, 6.0, credentials, algorithm=algorithm) is Verdict.OK


def test_credentials_are_written_as_the_grammar_wants() -> None:
    challenge = Auth.parse('Digest realm="r", nonce="n", qop="auth,auth-int", opaque="o", algorithm=MD5')
    assert str(answer(challenge)) == (
        f'Digest username="{DEVICE}", realm="r", nonce="n", uri="{URI}", '
        'response="' + answer(challenge).params["response"] + '", algorithm=MD5, qop=auth, nc=00000001, '
        'cnonce="0000000000000001", opaque="o"'
    )


def test_a_wrong_password_is_wrong() -> None:
    authenticator = server()
    challenge = authenticator.challenge(0.0, "r", PEER, DEVICE)
    assert judge(authenticator, 1.0, answer(challenge, "guess")) is Verdict.WRONG
    assert judge(authenticator, 1.0, answer(challenge), method="MESSAGE") is Verdict.WRONG
    assert judge(authenticator, 1.0, answer(challenge)) is Verdict.OK, "a wrong answer does not spend the nonce"


@pytest.mark.parametrize("changes", [{"username": "admin"}, {"realm": "else"}, {"uri": "sip:198.51.100.1:5060"}])
def test_names_are_hashed_as_the_client_sent_them(changes: dict[str, str]) -> None:
    authenticator = server()
    nonce = authenticator.challenge(0.0, "r", PEER, DEVICE).params["nonce"]
    named = {"username": DEVICE, "realm": "r", "uri": URI, "nonce": nonce} | changes
    response = digest(Algorithm.MD5, method="REGISTER", password=PASSWORD, **named)
    assert judge(authenticator, 1.0, Auth("Digest", named | {"response": response.upper()})) is Verdict.OK


def test_a_nonce_counts_for_one_peer_and_one_device() -> None:
    authenticator = server()
    credentials = answer(authenticator.challenge(0.0, "r", PEER, DEVICE))
    assert judge(authenticator, 1.0, credentials, peer="203.0.113.1") is Verdict.FOREIGN_NONCE
    assert judge(authenticator, 1.0, credentials, device="31011500001180000003") is Verdict.FOREIGN_NONCE
    assert judge(Authenticator(b"x" * 32, counting()), 1.0, credentials) is Verdict.FOREIGN_NONCE
    assert judge(authenticator, 1.0, answer(Auth("Digest", {"realm": "r", "nonce": "6f0c"}))) is Verdict.FOREIGN_NONCE
    assert judge(authenticator, 1.0, credentials) is Verdict.OK


def test_borders_between_peer_and_device_cannot_be_moved() -> None:
    authenticator = server()
    credentials = answer(authenticator.challenge(0.0, "r", "1.2.3.4", "5"))
    assert judge(authenticator, 1.0, credentials, peer="1.2.3.", device="45") is Verdict.FOREIGN_NONCE


def test_an_old_nonce_is_stale_only_for_who_knows_the_password() -> None:
    authenticator = server(lifetime=60.0)
    challenge = authenticator.challenge(100.0, "r", PEER, DEVICE)
    assert judge(authenticator, 160.2, answer(challenge)) is Verdict.STALE
    assert judge(authenticator, 160.2, answer(challenge, "guess")) is Verdict.WRONG
    assert judge(authenticator, 99.0, answer(challenge)) is Verdict.STALE, "from the future: another start of the clock"
    assert judge(authenticator, 159.9, answer(challenge)) is Verdict.OK
    fresh = authenticator.challenge(160.2, "r", PEER, DEVICE, stale=Verdict.STALE.is_stale)
    assert str(fresh).endswith("stale=true")


def test_an_uncounted_nonce_serves_once() -> None:
    authenticator = server()
    credentials = answer(authenticator.challenge(0.0, "r", PEER, DEVICE, qop=False))
    assert judge(authenticator, 1.0, credentials) is Verdict.OK
    assert judge(authenticator, 2.0, credentials) is Verdict.REPLAYED
    assert judge(authenticator, 61.0, credentials) is Verdict.STALE


def test_a_counted_nonce_serves_while_its_count_rises() -> None:
    authenticator = server()
    client = DigestClient(DEVICE, PASSWORD, counting())
    assert client.handle_challenge([authenticator.challenge(0.0, "r", PEER, DEVICE)])
    first, second, third = (client.authorize("REGISTER", URI) for _ in range(3))
    assert first and second and third
    assert [first.params["nc"], second.params["nc"]] == ["00000001", "00000002"]
    verdicts = [judge(authenticator, 1.0, credentials) for credentials in (first, third, second, third)]
    assert verdicts == [Verdict.OK, Verdict.OK, Verdict.REPLAYED, Verdict.REPLAYED]


def test_a_counted_nonce_cannot_be_replayed_without_its_count() -> None:
    authenticator = server()
    challenge = authenticator.challenge(0.0, "r", PEER, DEVICE)
    assert judge(authenticator, 1.0, answer(challenge)) is Verdict.OK
    plain = Auth("Digest", {name: value for name, value in challenge.params.items() if name != "qop"})
    assert judge(authenticator, 1.0, answer(plain)) is Verdict.REPLAYED


def test_answered_nonces_are_forgotten_when_they_cannot_come_back() -> None:
    authenticator = server(lifetime=10.0)
    for second in range(1000):
        credentials = answer(authenticator.challenge(float(second), "r", PEER, DEVICE))
        assert judge(authenticator, float(second), credentials) is Verdict.OK
    assert len(authenticator._used) <= 21


def credentials_without(*names: str, **changes: str) -> Callable[[Auth], Auth]:
    def change(auth: Auth) -> Auth:
        kept = {name: value for name, value in auth.params.items() if name not in names}
        return replace(auth, params=kept | changes)

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(credentials_without(name) for name in ("username", "realm", "nonce", "uri", "response", "nc", "cnonce")),
        credentials_without(response="f" * 31),
        credentials_without(response="é" * 32),
        credentials_without(response="g" * 32),
        credentials_without(algorithm="SHA-256"),
        credentials_without(algorithm="MD5-sess"),
        credentials_without(qop="auth-int"),
        credentials_without(nc="1"),
        credentials_without(cnonce=""),
        credentials_without(username="u" * 513),
        lambda auth: replace(auth, scheme="Basic"),
        lambda auth: replace(auth, scheme="Capability"),
    ],
)
def test_credentials_that_cannot_be_judged(change: Callable[[Auth], Auth]) -> None:
    authenticator = server()
    credentials = answer(authenticator.challenge(0.0, "r", PEER, DEVICE))
    assert judge(authenticator, 1.0, change(credentials)) is Verdict.MALFORMED


def test_policy_may_demand_counting() -> None:
    authenticator = server()
    credentials = answer(authenticator.challenge(0.0, "r", PEER, DEVICE, qop=False))
    assert judge(authenticator, 1.0, credentials, require_qop=True) is Verdict.MALFORMED


def test_a_client_answers_the_first_challenge_that_it_can() -> None:
    client = DigestClient("u", "p", counting())
    assert client.authorize("REGISTER", URI) is None
    assert not client.handle_challenge([])
    assert not client.handle_challenge(
        [
            Auth("Asymmetric", {"nonce": "n", "algorithm": "A:SM2"}),
            Auth("Digest", {"nonce": "n", "algorithm": "SHA-512-256"}),
            Auth("Digest", {"nonce": "n", "qop": "auth-int"}),
            Auth("Digest", {"realm": "r"}),
        ]
    )
    assert client.handle_challenge(
        [Auth("Digest", {"nonce": "n", "algorithm": "sm3"}), Auth("Digest", {"nonce": "n2"})]
    )
    credentials = client.authorize("REGISTER", URI)
    assert credentials is not None
    assert (credentials.params["algorithm"], len(credentials.params["response"])) == ("SM3", 64)


def test_the_register_of_a_device_that_quotes_what_should_be_bare() -> None:
    request = parse(
        b"REGISTER sip:1@2 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:1@2>;tag=1\r\nTo: <sip:1@2>\r\n"
        b"Call-ID: 1\r\nCSeq: 2 REGISTER\r\nMax-Forwards: 70\r\n"
        b'Authorization: Digest username="admin",realm="3101150000",nonce="n",uri="sip:h:5060",response="0",'
        b'algorithm="MD5",qop="auth",nc="00000001",cnonce="c,\\"d"\r\n\r\n'
    )
    assert isinstance(request, Request)
    auth = request.headers.authorization
    assert auth is not None
    assert auth.params["cnonce"] == 'c,"d'
    assert (auth.params["qop"], auth.params["nc"], auth.params["algorithm"]) == ("auth", "00000001", "MD5")
