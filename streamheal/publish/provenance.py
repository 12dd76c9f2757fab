"""What each picture of a healed face says of itself, so that it still does when it was copied away from its event.

`provenance_xmp.py` writes it into the PNG and reads it back; `provenance_signer.py` signs it, `provenance_c2pa.py`
checks the signature.
"""

from dataclasses import dataclass, field
from typing import Literal

from streamheal.errors import redact
from streamheal.records import CAPTURED, MADE, PARTLY_MADE, HealedFace, ModelUsed, SourceFrame

Kind = Literal["original", "occlusion", "evidence", "restored", "hallucinated", "edited"]

DESCRIPTIONS: dict[Kind, str] = {
    "original": "A face as the camera saw it: an untouched crop.",
    "occlusion": "A map of what hides a face: white is visible, black is hidden, as a network sees it.",
    "evidence": "A map of a restored face: white pixels are backed by visible input, black ones are invented.",
    "restored": "A face that a network restored and partly invented. No proof of who somebody is.",
    "hallucinated": "A map of a restored face: white pixels are invented, too little visible input backs them.",
    "edited": "A face that was seen, restored by a network, and edited. No proof of who somebody is.",
}
"""In words, for who opens the picture elsewhere."""

_CUT_BY = {"original": ("detector",), "occlusion": ("detector", "occlusion")}


@dataclass(frozen=True, slots=True)
class PictureProvenance:
    """How a picture came to be. Fields that don't concern its kind are empty."""

    kind: Kind
    software: str  # "streamheal 0.1.0"
    digital_source_type: str  # IPTC NewsCode
    event: str = ""  # run/camera/epoch/track/revision
    camera: str = ""
    sources: tuple[SourceFrame, ...] = ()  # the frames that it was made of, the one that was restored first
    models: tuple[ModelUsed, ...] = ()  # networks that had a part in it
    restorer: str = ""
    restorer_reason: str = ""
    settings: dict[str, str] = field(default_factory=dict)  # those that shaped it, `restorer.max_yaw` → `60.0`
    marked: bool = False  # bears the visible mark


def provenance_of(face: HealedFace, kind: Kind) -> PictureProvenance:
    """What the picture `kind` of a healed face says of itself."""
    made, here = face.provenance, SourceFrame.of(face.job.best)
    cut_by = _CUT_BY.get(kind)
    return PictureProvenance(
        kind=kind,
        software=made.software,
        digital_source_type={"original": CAPTURED, "restored": made.digital_source_type}.get(kind, MADE),
        event=face.id,
        camera=face.job.camera,
        sources=(here,) if cut_by else made.sources or (here,),
        models=tuple(m for m in made.models if (m.role in cut_by if cut_by else m.role != "embedder")),
        restorer="" if cut_by else made.restorer,
        restorer_reason="" if cut_by else made.restorer_reason,
        settings={key: redact(made.settings[key]) for key in sorted(made.settings) if kind == "restored"},
        marked=kind == "restored" and face.marked,
    )


def provenance_of_edit(software: str, model: ModelUsed) -> PictureProvenance:
    """What a picture of a face with edited landmarks says of itself."""
    return PictureProvenance("edited", software, PARTLY_MADE, models=(model,), restorer=model.name, marked=True)
