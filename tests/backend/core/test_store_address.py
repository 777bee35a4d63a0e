"""The gate store's address: each form, and a clear word about each wrong one, without the password in it."""

import pytest

from backend.core.store_address import StoreAddress, StoreTopology


def test_standalone() -> None:
    address = StoreAddress.parse("redis://user:p%40ss@store:7000/3")
    assert (address.topology, address.hosts, address.database) == (StoreTopology.STANDALONE, (("store", 7000),), 3)
    assert (address.username, address.password, address.tls, address.acks) == ("user", "p@ss", None, 1)
    plain = StoreAddress.parse("redis://store")
    assert (plain.hosts, plain.database, plain.username, plain.password) == ((("store", 6379),), 0, None, None)
    assert StoreAddress.parse("redis://:secret@store/").password == "secret"
    assert StoreAddress.parse("redis://store?db=4").database == 4


def test_sentinel() -> None:
    address = StoreAddress.parse(
        "redis+sentinel://user:pass@a:1,b,[::1]:3/shop?db=2&sentinel_username=su&sentinel_password=s%26p&acks=2"
    )
    assert (address.topology, address.service, address.database) == (StoreTopology.SENTINEL, "shop", 2)
    assert address.hosts == (("a", 1), ("b", 26379), ("::1", 3))
    assert (address.username, address.password, address.acks) == ("user", "pass", 2)
    assert (address.sentinel_username, address.sentinel_password) == ("su", "s&p")


def test_cluster_and_tls() -> None:
    address = StoreAddress.parse("rediss+cluster://user:pass@a:7000,b?ssl_ca_certs=/ca.pem&ssl_check_hostname=false")
    assert (address.topology, address.hosts) == (StoreTopology.CLUSTER, (("a", 7000), ("b", 6379)))
    assert address.tls == {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": "false"}
    assert StoreAddress.parse("rediss://store").tls == {}


def test_no_password_is_shown() -> None:
    address = StoreAddress.parse("redis+sentinel://user:hidden@a/shop?sentinel_password=hidden")
    assert "hidden" not in repr(address)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "use redis://"),
        ("http://hidden@store", "use redis://"),
        ("redis+sentry://hidden@store", "use redis://"),
        ("redis://", "use redis://"),
        ("redis:///0", "host is missing"),
        ("redis://user:hidden@/0", "host is missing"),
        ("redis://user:hidden@a,b/0", "takes one host"),
        ("redis://user:hidden@a:port/0", "port is a number"),
        ("redis://user:hidden@a:0/0", "port is a number"),
        ("redis://user:hidden@a:65536/0", "port is a number"),
        ("redis://user:hidden@a:٣/0", "port is a number"),
        ("redis://user:hidden@a/sixteen", "database is a number"),
        ("redis://user:hidden@a/16", "database is a number"),
        ("redis://user:hidden@a/0?timeout=3", "no option timeout"),
        ("redis://user:hidden@a/0?ssl_ca_certs=/ca.pem", "no option ssl_ca_certs"),
        ("redis://user:hidden@[::1/0", "ends with ]"),
        ("redis+sentinel://user:hidden@a,b", "name the service"),
        ("redis+sentinel://user:hidden@a,b/", "name the service"),
        ("redis+sentinel://user:hidden@a,b/shop/0", "name the service"),
        ("redis+sentinel://user:hidden@a,a:26379/shop", "twice"),
        ("redis+sentinel://user:hidden@a,,b/shop", "host is missing"),
        ("redis+sentinel://user:hidden@a/shop?acks=0", "acks is a number"),
        ("redis+cluster://user:hidden@a/3", "database 0 alone"),
        ("redis+cluster://user:hidden@a?db=1", "no option db"),
        ("redis+cluster://user:hidden@a?sentinel_password=hidden", "no option sentinel_password"),
    ],
)
def test_wrong_ones(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("]", r"\]")) as caught:
        StoreAddress.parse(url)
    assert "hidden" not in str(caught.value)
