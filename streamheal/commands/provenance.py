"""`streamheal provenance`: what a picture says of itself, and what its signature is worth."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamheal.errors import ProvenanceError

if TYPE_CHECKING:
    from streamheal.publish.provenance import PictureProvenance
    from streamheal.publish.provenance_c2pa import Credentials

app = typer.Typer()

_MOST = 64 << 20  # bytes; a face has thousands
_UNSIGNED = "not signed: nothing shows that it was not changed or forged"
_WORTH = {
    "trusted": "signed by somebody whom your anchors vouch for, and not changed since",
    "valid": "signed, and not changed since; who signed is only what the certificate says (--anchors)",
    "invalid": "the signature is NOT valid",
}


@app.command()
def provenance(
    picture: Annotated[Path, typer.Argument(help="A PNG that streamheal made: original, restored, or a map.")],
    anchors: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Certificates of those whose signatures you trust.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")] = False,
) -> None:
    """Show how a picture came to be, and check its C2PA signature where it has one. Exit status 1: it is not valid."""
    from streamheal.publish.provenance_c2pa import read_credentials

    png = _read(picture)
    try:
        credentials = read_credentials(png, _text(anchors))
        said, unread = _provenance(png, signed=credentials is not None)
    except ProvenanceError as error:
        raise ProvenanceError(f"{picture}: {error}") from error
    if as_json:
        signature = credentials and {k: v for k, v in asdict(credentials).items() if k != "original"}
        typer.echo(json.dumps({"picture": said and asdict(said), "signature": signature}))
    else:
        lines = (_said(said) if said else [("picture", unread)]) + _signed(credentials)
        width = max(len(name) for name, _ in lines)
        typer.echo("\n".join(f"{name:<{width}}  {_printable(text)}" for name, text in lines))
    if credentials is not None and credentials.state == "invalid":
        raise typer.Exit(1)


def _provenance(png: bytes, *, signed: bool) -> "tuple[PictureProvenance | None, str]":
    """What the picture says, or why it says nothing. Raises ProvenanceError if it isn't even signed."""
    from streamheal.publish.provenance_xmp import read_provenance

    try:
        return read_provenance(png), ""
    except ProvenanceError as error:
        if not signed:
            raise
        return None, str(error)


def _said(made: "PictureProvenance") -> list[tuple[str, str]]:
    from streamheal.publish.cloud_event import iso_time
    from streamheal.publish.provenance import DESCRIPTIONS

    lines = [(made.kind, DESCRIPTIONS[made.kind]), ("software", made.software), ("event", made.event)]
    lines += [("camera", made.camera), ("source type", made.digital_source_type)]
    lines += [
        ("frame", f"{s.sequence}, {iso_time(s.captured_at)} ± {s.clock_uncertainty:g} s by the clock: {s.clock}")
        for s in made.sources
    ]
    lines += [("model", f"{m.role}: {m.name}, SHA-256 {m.sha256}") for m in made.models]
    lines += [("restorer", f"{made.restorer}: {made.restorer_reason}" if made.restorer_reason else made.restorer)]
    lines += [("setting", f"{key}: {value}") for key, value in made.settings.items()]
    if made.kind in ("restored", "edited"):
        lines.append(("visible mark", "yes" if made.marked else "no: it was turned off"))
    return [(name, text) for name, text in lines if text]


def _signed(credentials: "Credentials | None") -> list[tuple[str, str]]:
    if credentials is None:
        return [("signature", _UNSIGNED)]
    by = f"{credentials.signer} ({credentials.organisation})" if credentials.organisation else credentials.signer
    lines = [("signature", _WORTH[credentials.state]), ("signed by", by)]
    if credentials.signed_at:
        whose = (
            "an authority whom your anchors vouch for" if credentials.time_trusted else "an authority of its own choice"
        )
        lines.append(("signed at", f"{credentials.signed_at}, as {whose} says"))
    if credentials.state == "invalid":
        lines += [("problem", problem) for problem in credentials.problems]
    if credentials.original is not None:
        lines.append(
            ("original", f"the signature holds the crop that it was made of, {len(credentials.original)} bytes")
        )
    return [(name, text) for name, text in lines if text]


def _printable(text: str) -> str:
    """Anybody may have written the picture: nothing in it steers the terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _read(picture: Path) -> bytes:
    from streamheal.vault import sealed

    try:
        with picture.open("rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        raise ProvenanceError(f"{picture} can't be read: {error.strerror}; give the path of a PNG") from None
    if len(data) > _MOST:
        raise ProvenanceError(f"{picture} is larger than {_MOST} bytes; that is no picture of streamheal")
    if sealed(data):
        raise ProvenanceError(f"{picture} is sealed; docs/privacy.md says how its pictures are opened with the key")
    return data


def _text(anchors: Path | None) -> str | None:
    try:
        return None if anchors is None else anchors.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ProvenanceError(f"--anchors {anchors} can't be read: {error}; give a PEM file") from None
