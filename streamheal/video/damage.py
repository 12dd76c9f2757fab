"""Which frames a decoding error spoils: the damaged one and all predicted from it, up to the next keyframe."""

MAX_DAMAGED = 20.0
"""Seconds for which frames count as damaged when no keyframe comes (streams with intra refresh have only the first; a
refresh takes a second or two, and ten seconds are the longest usual keyframe distance)."""

LOST_REFERENCE = ("Frame num gap", "Could not find ref")
"""FFmpeg's words for a picture that is missing altogether (H.264, HEVC). It invents one and flags nothing: only its log
tells. Pictures that are damaged in part it does flag."""


class Damage:
    """Follows packets by their index in decoding order, which is not the order in which frames come out."""

    def __init__(self) -> None:
        self._damaged: int | None = None  # the last damaged packet
        self._since = 0.0  # presentation time around it, seconds

    def at(self, packet: int, time: float) -> None:
        """Packet number `packet` is damaged, or something before it is missing."""
        if self._damaged is None or packet > self._damaged:
            self._damaged, self._since = packet, time

    def spoils(self, packet: int, time: float, *, keyframe: bool, corrupt: bool) -> bool:
        """Whether the frame that packet number `packet` held is damaged. `corrupt`: the decoder says so."""
        if corrupt:
            self.at(packet, time)
            return True
        if self._damaged is None or packet < self._damaged:
            return False
        if (keyframe and packet > self._damaged) or not 0 <= time - self._since <= MAX_DAMAGED:
            self._damaged = None
            return False
        return True
