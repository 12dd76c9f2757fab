"""Who watches which camera."""

from collections import Counter

from streamheal.cluster.leases import share


def test_a_camera_has_the_same_share_whatever_node_asks_and_whatever_cameras_there_are():
    assert [share(name, 24) for name in ("gate", "lobby", "Tür")] == [20, 23, 4]


def test_many_cameras_are_spread_over_all_shares():
    spread = Counter(share(f"camera-{n}", 24) for n in range(2400))
    assert len(spread) == 24 and max(spread.values()) < 2 * min(spread.values())
