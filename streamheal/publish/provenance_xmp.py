"""A picture's provenance as XMP: standard properties that any reader of photo metadata shows, and our own.

    Iptc4xmpExt:DigitalSourceType, AISystemUsed, AISystemVersionUsed    IPTC Photo Metadata 2025.1
    xmp:CreatorTool, dc:description, photoshop:DateCreated              the time at which a camera saw the face
    streamheal:Kind, Event, Camera, Sources, Models, Settings, …        lists of lines, so that every tool shows them

Anybody may hand us a picture: its XMP is read without entities, without a DTD, and up to a size.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from datetime import datetime
from typing import get_args

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from streamheal.errors import ProvenanceError
from streamheal.publish.cloud_event import iso_time
from streamheal.publish.pictures import xmp_in
from streamheal.publish.provenance import DESCRIPTIONS, Kind, PictureProvenance
from streamheal.records import Clock, ModelUsed, SourceFrame

MAX_XMP = 1 << 18  # characters; what we write has a few thousand

_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "streamheal": "urn:streamheal:provenance:v1#",
}
for _prefix, _uri in _NAMESPACES.items():
    ET.register_namespace(_prefix, _uri)

# XMP specification, part 1, 7.3.2: the packet's wrapper, by which tools find it in any file.
_PACKET = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{}\n<?xpacket end="r"?>'
_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # and \r, which would come back as \n
_SOURCE = re.compile(r"(\d{1,20}) at (\S{1,40}) ± (\S{1,40}) s, clock: (\w{1,20})")
_MODEL = re.compile(r"(\S*): (.*), sha256 (\S*)", re.DOTALL)


def to_xmp(made: PictureProvenance) -> str:
    """The packet. Characters that XML can't hold become U+FFFD."""
    root = ET.Element(_name("x:xmpmeta"))
    about = ET.SubElement(ET.SubElement(root, _name("rdf:RDF")), _name("rdf:Description"), {_name("rdf:about"): ""})
    for key, text in _properties(made).items():
        if text:
            ET.SubElement(about, _name(key)).text = _legal(text)
    description = ET.SubElement(ET.SubElement(about, _name("dc:description")), _name("rdf:Alt"))
    xml_lang = "{http://www.w3.org/XML/1998/namespace}lang"
    ET.SubElement(description, _name("rdf:li"), {xml_lang: "x-default"}).text = DESCRIPTIONS[made.kind]
    for key, lines in _lists(made).items():
        if lines:
            items = ET.SubElement(ET.SubElement(about, _name(key)), _name("rdf:Seq"))
            for line in lines:
                ET.SubElement(items, _name("rdf:li")).text = _legal(line)
    return _PACKET.format(ET.tostring(root, encoding="unicode"))


def from_xmp(packet: str) -> PictureProvenance:
    """What `to_xmp` was given. Raises ProvenanceError if `packet` is not XML, too long, or says nothing of ours."""
    if len(packet) > MAX_XMP:
        raise ProvenanceError(f"its XMP has {len(packet)} characters; at most {MAX_XMP} are read")
    try:
        root = fromstring(packet.strip("\ufeff \t\r\n\0"), forbid_dtd=True)
    except DefusedXmlException as error:
        raise ProvenanceError(f"its XMP holds what no XMP may hold: {type(error).__name__}") from error
    except (ET.ParseError, ValueError) as error:  # ValueError: half a character
        raise ProvenanceError(f"its XMP is not XML: {error}") from error
    said = list(root.iter(_name("rdf:Description")))
    kind = _text(said, "streamheal:Kind")
    if kind not in get_args(Kind):
        raise ProvenanceError(f"its XMP doesn't come from streamheal, or from a later one: kind {kind[:40]!r}")
    return PictureProvenance(
        kind=kind,
        software=_text(said, "xmp:CreatorTool"),
        digital_source_type=_text(said, "Iptc4xmpExt:DigitalSourceType"),
        event=_text(said, "streamheal:Event"),
        camera=_text(said, "streamheal:Camera"),
        sources=tuple(_source(line) for line in _lines(said, "streamheal:Sources")),
        models=tuple(_model(line) for line in _lines(said, "streamheal:Models")),
        restorer=_text(said, "streamheal:Restorer"),
        restorer_reason=_text(said, "streamheal:RestorerReason"),
        settings=dict(_setting(line) for line in _lines(said, "streamheal:Settings")),
        marked=_text(said, "streamheal:Marked") == "True",
    )


def read_provenance(png: bytes) -> PictureProvenance:
    """What a PNG of streamheal says of itself. It may be forged, and says nothing of pixels that were changed since:
    what is signed can be checked (`provenance_c2pa.read_credentials`).

    Raises ProvenanceError if it is no PNG, is sealed, or has no XMP of ours.
    """
    try:
        packet = xmp_in(png)
    except ValueError as error:
        raise ProvenanceError(str(error)) from error
    if packet is None:
        raise ProvenanceError("it has no XMP: it is not from streamheal, or its metadata was taken out")
    return from_xmp(packet)


def _properties(made: PictureProvenance) -> dict[str, str]:
    by_network = [m for m in made.models if m.role in ("restorer", "fusion")] if made.restorer else []
    seen = made.sources[0] if made.sources and made.sources[0].clock != "media" else None
    return {
        "Iptc4xmpExt:DigitalSourceType": made.digital_source_type,
        "Iptc4xmpExt:AISystemUsed": ", ".join(m.name for m in by_network),
        "Iptc4xmpExt:AISystemVersionUsed": ", ".join(f"sha256 {m.sha256}" for m in by_network),
        "xmp:CreatorTool": made.software,
        "photoshop:DateCreated": iso_time(seen.captured_at) if seen else "",  # a recording may not know its date
        "streamheal:Kind": made.kind,
        "streamheal:Event": made.event,
        "streamheal:Camera": made.camera,
        "streamheal:Restorer": made.restorer,
        "streamheal:RestorerReason": made.restorer_reason,
        "streamheal:Marked": str(made.marked),
    }


def _lists(made: PictureProvenance) -> dict[str, list[str]]:
    return {
        "streamheal:Sources": [
            f"{s.sequence} at {iso_time(s.captured_at)} ± {s.clock_uncertainty:.6g} s, clock: {s.clock}"
            for s in made.sources
        ],
        "streamheal:Models": [f"{m.role}: {m.name}, sha256 {m.sha256}" for m in made.models],
        "streamheal:Settings": [f"{key}={value}" for key, value in made.settings.items()],
    }


def _source(line: str) -> SourceFrame:
    if (found := _SOURCE.fullmatch(line)) and found[4] in get_args(Clock):
        try:
            return SourceFrame(int(found[1]), datetime.fromisoformat(found[2]).timestamp(), found[4], float(found[3]))
        except (ValueError, OverflowError):
            pass
    raise ProvenanceError(f"its XMP names a source frame that is none: {line[:100]!r}")


def _model(line: str) -> ModelUsed:
    if found := _MODEL.fullmatch(line):
        return ModelUsed(found[1], found[2], found[3])
    raise ProvenanceError(f"its XMP names a model that is none: {line[:100]!r}")


def _setting(line: str) -> tuple[str, str]:
    key, _, value = line.partition("=")
    return key, value


def _text(said: Iterable[ET.Element], key: str) -> str:
    """A property: an element, as we write it, or an attribute, as other tools that rewrite XMP may."""
    name = _name(key)
    for about in said:
        if (child := about.find(name)) is not None:
            return child.text or ""
        if name in about.attrib:
            return about.attrib[name]
    return ""


def _lines(said: Iterable[ET.Element], key: str) -> list[str]:
    items = (item for about in said for child in about.findall(_name(key)) for item in child.iter(_name("rdf:li")))
    return [item.text or "" for item in items]


def _name(key: str) -> str:
    prefix, _, local = key.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"


def _legal(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)
