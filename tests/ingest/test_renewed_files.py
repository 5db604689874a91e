"""A certificate whose key the broker cannot read leaves the one that it has."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from hearthline.pki import Pki
from ingest.door import DoorFiles


def _hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Shake hands in memory; the client's side."""
    ways = [ssl.MemoryBIO() for _ in range(4)]
    ours = client.wrap_bio(ways[0], ways[1], server_hostname="localhost")
    theirs = server.wrap_bio(ways[2], ways[3], server_side=True)
    done = set[ssl.SSLObject]()
    for _ in range(10):
        for side in (ours, theirs):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
            ways[2].write(ways[1].read())
            ways[0].write(ways[3].read())
    assert done == {ours, theirs}
    return ours


def test_newcomers_come_in_while_a_new_key_cannot_be_read(tmp_path):
    pki = Pki(tmp_path, lambda: datetime.now(UTC) - timedelta(days=1))
    pki.init(["localhost"], 30)
    pki.issue("sub-1", 30)
    at = tmp_path
    files = DoorFiles(at / "server.pem", at / "server.key", at / "devices-ca.pem", at / "devices.crl.pem")
    server = files.context()
    client = ssl.create_default_context(cafile=at / "servers-ca.pem")
    client.load_cert_chain(at / "devices/sub-1.pem", at / "devices/sub-1.key")
    before = _hands(server, client).getpeercert()
    pki.renew("server", ["localhost"], 30)
    key = (at / "server.key").rename(at / "kept.key")
    with pytest.raises(ValueError, match="expected PEM files"):
        files.context()
    assert _hands(server, client).getpeercert() == before
    key.rename(at / "server.key")
    assert _hands(files.context(), client).getpeercert() != before
