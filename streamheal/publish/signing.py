"""Signing stands between the healer and the sinks: all of them get the same signed picture."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from streamheal.config import C2pa
from streamheal.errors import ProvenanceError
from streamheal.publish.spell import Spell
from streamheal.records import HealedFace, HealJob

log = logging.getLogger(__name__)

SIGNED = "signed"


class Heals(Protocol):
    """What a run asks of its healer."""

    def heal(self, jobs: Sequence[HealJob], *, restoring: bool = True) -> list[HealedFace]: ...


def signing(settings: C2pa | None) -> Callable[[Heals], Heals]:
    """What makes a signing healer of a healer; nothing changes without `settings`.

    Raises ConfigError if nothing can be signed so.
    """
    if settings is None:
        return lambda healer: healer
    from streamheal.publish.provenance_signer import PictureSigner

    signer = PictureSigner(settings)
    return lambda healer: SigningHealer(healer, signer.sign)


class SigningHealer:
    """A healer whose restored faces leave signed. What can't be signed (the time-stamping authority is away, the
    certificate has expired meanwhile) leaves unsigned and says why: no face is lost for it."""

    def __init__(self, healer: Heals, sign: Callable[[HealedFace], bytes]):
        self._healer, self._sign = healer, sign
        self._spell = Spell(log, "restored pictures are signed again; %d were not")

    def heal(self, jobs: Sequence[HealJob], *, restoring: bool = True) -> list[HealedFace]:
        """As the healer itself."""
        return [self._with_credentials(face) for face in self._healer.heal(jobs, restoring=restoring)]

    def _with_credentials(self, face: HealedFace) -> HealedFace:
        if face.restored is None:
            return face
        try:
            signed = self._sign(face)
        except ProvenanceError as error:
            self._spell.trouble(f"{face.id}: {error}; restored pictures leave unsigned")
            return replace(face, provenance=replace(face.provenance, credentials=str(error)))
        self._spell.well()
        return replace(face, signed=signed, provenance=replace(face.provenance, credentials=SIGNED))
