from __future__ import annotations

from glow_deploy.explore.store import Store


def test_the_store_keeps_to_its_bytes_but_always_the_newest():
    store = Store[int](items=10, size=100)
    tokens = [store.put(index, size=40) for index in range(4)]
    assert [store.get(token) for token in tokens] == [None, None, 2, 3]
    large = store.put(9, size=1000)
    assert (len(store), store.get(large)) == (1, 9)
    assert [store.get(token) for token in tokens] == [None] * 4
    store.put(1, size=1)
    assert store.get(large) is None
    assert len({*tokens, large}) == 5
