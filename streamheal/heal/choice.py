"""`restorer: auto`: which network restores a crop, by its size, by what is hidden, and by what a face may cost."""

from dataclasses import dataclass, field

FREE = 0.02
"""Share of the face hidden below which nothing counts as hidden: a segmenter is never quite sure."""

# Side of the crop in px, up to which → networks, best first; for crops with something hidden and for open ones.
# Measured on the tuning faces, degraded as a camera degrades: `python benchmarks/choice.py --data DIR`. FD-StackGAN
# knows one crop alone; the others make use of its track's other crops, too.
HIDDEN = ((22, ("lr-trunk-16",)), (10_000, ("lr-trunk-32", "lr-trunk-16")))
OPEN = (
    (22, ("lr-trunk-16",)),
    (112, ("lr-trunk-32", "lr-trunk-16")),
    (10_000, ("fd-stackgan-128", "lr-trunk-32", "lr-trunk-16")),
)


def best_first(side: int, hidden: float) -> tuple[str, ...]:
    """Names of the networks for a crop of `side` px on which the share `hidden` of the face is hidden."""
    table = OPEN if hidden < FREE else HIDDEN
    return next(names for most, names in table if side <= most)


def auto_networks() -> list[str]:
    """All that may be chosen."""
    return sorted({name for table in (HIDDEN, OPEN) for _, names in table for name in names})


@dataclass(slots=True)
class Budget:
    """What a face costs on this machine, measured as it is restored from all crops that help, against what it may cost.

    A network that is passed over is believed to get a little cheaper each time, so that it is tried again now and then:
    the machine may have been busy with something else.
    """

    most: float | None  # seconds a face; None = no matter
    costs: dict[str, float] = field(default_factory=dict)  # network → seconds a face

    def spent(self, name: str, seconds: float, faces: int) -> None:
        cost = seconds / faces
        self.costs[name] = cost if name not in self.costs else 0.7 * self.costs[name] + 0.3 * cost

    def pick(self, names: tuple[str, ...]) -> tuple[str, str]:
        """The first of `names` that fits, else the cheapest; and why those before it were passed over, in words."""
        passed = []
        for name in names:
            cost = self.costs.get(name, 0.0)  # nobody knows yet: try
            if self.most is None or cost <= self.most:
                return name, "".join(passed)
            passed.append(f"; {name} takes {cost * 1e3:.0f} ms a face here, {self.most * 1e3:.0f} are allowed")
            self.costs[name] = cost * 0.995
        return min(names, key=lambda name: self.costs[name]), "".join(passed) + "; none fits, this one takes least"
