"""report.html: every track on one self-contained page, the original first, what was invented marked as such."""

import base64
import html
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from streamheal.publish import honesty
from streamheal.publish.folder import read_events, read_picture
from streamheal.publish.pictures import from_png, png
from streamheal.vault import Vault

NAME = "report.html"
MOST_TRACKS = 400  # a page with more pictures than that no longer scrolls well; the folder has them all


def write_report(folder: Path, *, title: str, facts: dict[str, str], vault: Vault | None = None) -> Path:
    """Write `report.html` into `folder` from its events and pictures; the last revision of each track is shown.

    The page itself is never sealed, whatever `vault` had to open for it. Raises VaultError where that is not possible.
    """
    vault = vault or Vault()
    last: dict[tuple, dict] = {}
    for event in read_events(folder):
        last[event["run"], event["camera"], event["epoch"], event["track"]] = event
    events = list(last.values())
    shown = sorted(events, key=lambda e: -e["original"]["quality"]["score"])[:MOST_TRACKS]
    shown.sort(key=lambda e: (e["camera"], e["epoch"], e["track"]))
    left_out = len(events) - len(shown)
    note = (
        f"<p>{left_out} tracks of lower quality are left out here; events.jsonl has them all.</p>" if left_out else ""
    )
    rows = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items())
    page = _PAGE.format(
        title=html.escape(title),
        facts=rows,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        note=note,
        toggle=_TOGGLE if any("hallucinated" in e["pictures"] for e in shown) else "",
        tracks="".join(_track(folder, e, vault) for e in shown) or "<p>No face was published.</p>",
    )
    target = folder / NAME
    part = target.with_suffix(".part")
    part.write_text(page, encoding="utf-8")
    return part.replace(target)


def _track(folder: Path, event: dict, vault: Vault) -> str:
    def published(kind: str) -> bytes:
        return read_picture(folder, event, kind, vault)

    def picture(kind: str) -> np.ndarray:
        return from_png(published(kind))

    original, quality = event["original"], event["original"]["quality"]
    figures = [
        _figure(published("original"), "Original", f"{original['side_px']} px, untouched"),
        _figure(
            _hidden(picture("original"), picture("occlusion")),
            "Hidden",
            f"{quality['visible']:.0%} of the face visible",
        ),
    ]
    if event["restored"]:
        share = event["restored"]["evidence_share"]
        invented = picture("hallucinated") > 127 if "hallucinated" in event["pictures"] else None
        words, over = "made by a network", None
        if invented is not None:
            words, over = f"{words}; {honesty.hatched(invented)}", honesty.hatch(invented)
        figures.append(_figure(published("restored"), "Restored", words, over=over))
        figures.append(_figure(_evidence(picture("evidence")), "Evidence", f"{share:.0%} backed by what was seen"))
    else:
        figures.append(
            f'<figure class="none"><p>{html.escape(event["abstained"])}</p><figcaption><b>Not restored</b>'
            "</figcaption></figure>"
        )
    provenance = event["provenance"]
    facts = {
        "seen": f"{_clock(event['first_seen'])} – {_clock(event['last_seen'])}, {event['frames']} frames",
        "best frame": f"{original['frame']}, clock: {original['clock']}",
        "pose": f"yaw {quality['yaw']:+.0f}°, pitch {quality['pitch']:+.0f}°, roll {quality['roll']:+.0f}°",
        "sharpness": f"{quality['sharpness']:.2f}",
        "restorer": f"{provenance['restorer']}: {provenance['restorer_reason']}",
    }
    facts["networks"] = ", ".join(f"{m['name']} ({m['sha256'][:8]})" for m in provenance["models"])
    if event["restored"]:
        facts["made of"] = f"frames {', '.join(map(str, provenance['source_frames']))}"
        if provenance.get("credentials"):  # absent in lines of older versions
            facts["signature"] = provenance["credentials"]
        drift = event["restored"]["drift"]
        facts["identity drift"] = f"{drift:.2f} (1 − cosine between the embeddings of original and restored)"
    facts |= honesty.facts(event)
    lines = "".join(f"<dt>{k}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items())
    head = f"{html.escape(event['camera'])} · track {event['track']} · revision {event['revision']}"
    head = f"<h2>{head} <small>{event['reason']}</small></h2>"
    return f"<section>{head}<div>{''.join(figures)}</div><dl>{lines}</dl></section>"


def _clock(iso: str) -> str:
    return iso.split("T")[-1].rstrip("Z")[:12]


def _hidden(original: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """The original with what hides the face in red."""
    hidden = 1 - visible.astype(np.float32)[..., None] / 255
    return np.uint8(original * (1 - 0.65 * hidden) + np.array([225, 45, 45]) * 0.65 * hidden)


def _evidence(evidence: np.ndarray) -> np.ndarray:
    """Blue where the pixel is backed by visible input, orange where it was invented (both tell apart without colour
    vision)."""
    share = evidence.astype(np.float32)[..., None] / 255
    return np.uint8(np.array([30, 90, 190]) * share + np.array([250, 150, 40]) * (1 - share))


def _figure(picture: np.ndarray | bytes, name: str, text: str, over: np.ndarray | None = None) -> str:
    """A picture made here, or a PNG as it was published: saved from the page, it still says how it came to be.

    `over`: RGBA laid over the picture, which the box at the top of the page takes away."""
    laid = "" if over is None else f'<img class="hatch" alt="" src="{_source(over)}">'
    return (
        f'<figure><span><img alt="{name}" src="{_source(picture)}">{laid}</span>'
        f"<figcaption><b>{name}</b><br>{html.escape(text)}</figcaption></figure>"
    )


def _source(picture: np.ndarray | bytes) -> str:
    data = picture if isinstance(picture, bytes) else png(picture)
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


_TOGGLE = '<input type="checkbox" id="hatched" checked> <label for="hatched">Hatch what was invented</label>'
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1rem; margin: 0 0 .6rem; }} small {{ opacity: .65; font-weight: normal; }}
section {{ border: 1px solid #8884; border-radius: .6rem; padding: 1rem; margin: 1rem 0;
  display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; }} section > h2 {{ width: 100%; margin: 0; }}
section > dl {{ flex: 1 1 100%; }}
section > div {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
figure {{ margin: 0; width: 11rem; }} figcaption {{ font-size: .85rem; }}
img {{ width: 11rem; height: 11rem; image-rendering: pixelated; border-radius: .3rem; background: #8882; }}
figure span {{ position: relative; display: block; height: 11rem; }}
.hatch {{ position: absolute; inset: 0; background: none; }}
#hatched:not(:checked) ~ section .hatch {{ display: none; }}
figure.none p {{ width: 11rem; height: 11rem; margin: 0; display: grid; place-items: center; text-align: center;
  background: #8882; border-radius: .3rem; font-size: .85rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .85rem; margin: 0;
  align-content: start; }}
@media (min-width: 60rem) {{ section > dl {{ grid-template-columns: repeat(2, max-content 1fr); }} }}
dt {{ opacity: .65; }} dd {{ margin: 0; }}
aside {{ border-left: .25rem solid #fa9628; padding: .1rem 1rem; margin: 1rem 0; }}
</style></head><body>
<h1>{title}</h1>
<aside><p><b>Original</b> is what the camera saw. <b>Restored</b> is partly invented by a network: blue evidence marks
pixels that visible input backs, orange those that it does not. A restored face is a lead, never proof of who somebody
is; compare with the original first, and match with the original's embedding.</p>
<p>Too little visible input stands behind the <b>hatched</b> parts: they show what such a face may look like there, not
what this one does. The rest is not the truth either, only nearer to it. How often a face is <b>recognised</b> was
measured on other people, of whom as little was seen: it says what a match of such a face is worth, and nothing of who
this one is.</p></aside>
<dl>{facts}<dt>report made</dt><dd>{made}</dd></dl>{note}
{toggle}
{tracks}
</body></html>
"""
