"""Runs pipelines/recorded.yaml over a folder of clips and writes what came of them as a table.

    python benchmarks/footage.py CLIPS --out runs/footage --table docs/footage.md

Each clip is a run of its own, so that its frames per second are its own too (start of the program included). What is
done is not done again: a second call goes on after the last clip that was finished.
"""

import argparse
import json
import os
import platform
import statistics
from pathlib import Path

from streamheal.errors import StreamhealError
from streamheal.pipeline import Pipeline
from streamheal.publish.folder import read_events
from streamheal.video.recordings import list_recordings

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/footage"))
    parser.add_argument("--table", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    rows = [measure(clip, arguments.out) for clip in list_recordings(arguments.clips)]
    text = document(rows)
    print(text)
    if arguments.table:
        # What a person wrote below the table, having looked at the reports, stays.
        old = arguments.table.read_text() if arguments.table.exists() else ""
        _, heading, remarks = old.partition("\n## ")
        arguments.table.write_text(text + heading + remarks)


def measure(clip: Path, out: Path) -> dict:
    """Heal one clip; its figures, kept in a file beside its output."""
    done = out / clip.stem / "figures.json"
    if done.exists():
        return json.loads(done.read_text())
    try:
        overrides = [f"source.path={clip}", f"output.path={out / clip.stem}"]
        summary = Pipeline.from_file(ROOT / "pipelines" / "recorded.yaml", overrides).run()
    except StreamhealError as error:
        return {"clip": clip.name, "error": str(error)}
    last = {e["track"]: e for e in read_events(out / clip.stem)}.values()
    sides = sorted(e["original"]["side_px"] for e in last)
    restored = [e for e in last if e["restored"]]
    row = {
        "clip": clip.name,
        "frames": summary.counts.get("frames", 0),
        "corrupt": summary.counts.get("frames.corrupt", 0),
        "fps": round(summary.fps, 1),
        "tracks": summary.counts.get("tracks", 0),
        "healed": summary.counts.get("healed", 0),
        "abstained": summary.counts.get("abstained", 0),
        "sides": [sides[0], round(statistics.median(sides)), sides[-1]] if sides else None,
        "evidence": round(statistics.mean(e["restored"]["evidence_share"] for e in restored), 2) if restored else None,
        "warnings": summary.warnings,
    }
    done.write_text(json.dumps(row))
    return row


def document(rows: list[dict]) -> str:
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()}), no GPU"
    lines = [
        "# What comes of real footage",
        "",
        "Made by `python benchmarks/footage.py CLIPS --table docs/footage.md`: every frame of every clip, with the",
        f"settings of `pipelines/recorded.yaml`, on {machine}. Frames per second include the",
        "start of the program and share the cores with whatever else the machine had to do. *Healed* and *abstained*",
        "count published revisions of tracks; *crop* is the side of the aligned crop in source pixels (the face is",
        "about 0.6 of it): smallest, median, largest of the tracks; *evidence* the mean share of a restored face that",
        "visible input backs.",
        "",
        "| clip | frames | fps | tracks | healed | abstained | crop, px | evidence |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['clip']} | {row['error']} |")
            continue
        sides = " · ".join(map(str, row["sides"])) if row["sides"] else "–"
        cells = [row[k] for k in ("clip", "frames", "fps", "tracks", "healed", "abstained")]
        cells += [sides, "–" if row["evidence"] is None else row["evidence"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    notes = [f"- {row['clip']}: {warning}" for row in rows for warning in row.get("warnings", [])]
    notes += [f"- {row['clip']}: {row['corrupt']} corrupt frames" for row in rows if row.get("corrupt")]
    if notes:
        lines += ["", "Notes:", "", *notes]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
