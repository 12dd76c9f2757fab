"""What happens to bytes on their way: strategies that change, cut, repeat and insert."""

from hypothesis import strategies as st


def damaged(whole: bytes, *, most: int = 6) -> st.SearchStrategy[bytes]:
    """`whole` after one to `most` damages, each anywhere."""
    change = st.tuples(
        st.sampled_from(["flip", "cut", "repeat", "insert", "numbers", "end"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 64),
        st.binary(min_size=1, max_size=8),
    )
    return st.lists(change, min_size=1, max_size=most).map(lambda changes: _apply(whole, changes))


def _apply(data: bytes, changes: list) -> bytes:
    for kind, where, length, stuff in changes:
        at = int(where * len(data))
        if kind == "flip" and data:
            data = data[:at] + bytes([data[at] ^ stuff[0]]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at] + data[at + length :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + length] * 3 + data[at + length :]
        elif kind == "insert":
            data = data[:at] + stuff + data[at:]
        elif kind == "numbers":  # lengths and sizes at their limits
            data = data[:at] + (b"\xff", b"\x7f\xff\xff\xff", b"\x00" * 4)[length % 3] + data[at + 4 :]
        elif kind == "end" and where > 0.5:
            data = data[:at]
    return data
