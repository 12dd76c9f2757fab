"""Words in our records and numbers in messages: CLOCK_SENDER of a Protobuf enum Clock is "sender"."""


def numbers(enum) -> dict[str, int]:
    """Word → number of each value of a generated enum, but for the unspecified 0."""
    prefix = f"{enum.DESCRIPTOR.name}_".upper()
    return {name.removeprefix(prefix).lower(): number for name, number in enum.items() if number}


def words(enum) -> dict[int, str]:
    """Number → word of the same."""
    return {number: word for word, number in numbers(enum).items()}
