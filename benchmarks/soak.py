"""Memory and open files over a long run of reconnects, tracks, events and broker outages: samples, slopes, one row.

    python -m benchmarks.soak --minutes 30 --out runs/soak [--networks]

Run from the repository's root; needs Java, Maven, OpenSSL, and GStreamer's RTSP server. Two cameras are cut every few
seconds, a recording is healed again and again, and the broker freezes or dies now and then. A detector and a healer
that cost nothing stand in for the networks, so that everything else happens at many times its usual rate; with
`--networks` the real ones look at the demo clip. Slopes are fitted to the means of one-minute blocks after a fifth of
the time, since neighbouring samples are not independent; ± is the 95 % interval.
"""

import argparse
import contextlib
import json
import multiprocessing
import shutil
import statistics
import threading
import time
from pathlib import Path
from random import Random

import psutil
from scipy import stats

from streamheal.config import Camera, Gallery, Kafka, Output, PipelineConfig, Source, Tracker
from streamheal.publish.folder import read_events
from streamheal.publish.kafka import KafkaSink
from streamheal.video.sample import render
from tests import targets
from tests.integration.kafka import Broker, jars
from tests.integration.proxy import Proxy
from tests.integration.rtsp import RtspCamera
from tests.kills import topic_ids
from tests.memory import in_use
from tests.video.clips import write_clip

EVERY = 3.0  # seconds between samples
WARM_UP = 0.2  # share of the time
BLOCK = 60.0  # seconds
GOODBYE = 300.0  # seconds for a live run's end, on a machine that has other things to do
CAMERAS = 2
FRAMES = 100  # of the numbered clip, after which people come anew


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--networks", action="store_true", help="the real detector and healer on the demo clip")
    asked = parser.parse_args()
    shutil.rmtree(folder := asked.out / "run", ignore_errors=True)  # it stays afterwards, to be looked at
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        result = soak(folder, stack, Random(asked.seed), asked.minutes * 60, asked.networks, asked.out)
    (asked.out / "soak.json").write_text(json.dumps(result, indent=2))
    print(table(result))


def soak(folder: Path, stack, rng: Random, seconds: float, networks: bool, out: Path) -> dict:
    (folder / "broker").mkdir()
    broker = Broker(jars(), folder / "broker")
    stack.callback(broker.stop)
    broker.start()
    proxies, live = _cameras(folder, stack, networks)
    tell, told = {}, {}
    for name in ("live", "recorded"):
        told[name], tell[name] = multiprocessing.Pipe(duplex=False)
    live = _config(folder, "live", live, broker.plain, networks)
    clip = write_clip(folder / "recording.mp4", FRAMES)
    recorded = _config(folder, "recorded", Source(path=clip), broker.plain)
    processes = {
        "live": targets.start(targets.watch_cameras, live, None if networks else FRAMES, tell["live"], in_use, EVERY),
        "recorded": targets.start(targets.heal_again_and_again, recorded, tell["recorded"], in_use),
    }
    over = threading.Event()
    faults = dict.fromkeys(("connections cut", "broker frozen", "broker killed"), 0)
    chaos = [
        threading.Thread(target=_cut, args=(proxies, Random(rng.random()), over, faults)),
        threading.Thread(target=_take_broker_away, args=(broker, Random(rng.random()), over, faults)),
    ]
    for thread in chaos:
        thread.start()
    samples, runs, held, began = [], [], {}, time.monotonic()
    with (out / "samples.jsonl").open("w") as log:
        while (at := time.monotonic() - began) < seconds:
            runs += (new := _told(told["recorded"]))
            latest = {"recorded": [look for _, look in new], "live": _told(told["live"])}
            held |= {f"{name}: {what}": n for name, looks in latest.items() for what, n in (looks or [{}])[-1].items()}
            samples.append({"at": round(at, 1), **_sample(processes, folder), **held})
            log.write(json.dumps(samples[-1]) + "\n")
            log.flush()
            time.sleep(EVERY)
    over.set()
    for thread in chaos:
        thread.join()
    died = [name for name, process in processes.items() if not process.is_alive()]
    for process in processes.values():
        process.terminate()
    processes["live"].join(GOODBYE)
    counts = (_told(told["live"]) or [{}])[-1]
    processes["recorded"].join(GOODBYE)
    runs += _told(told["recorded"])
    return {
        "minutes": seconds / 60,
        "networks": networks,
        "cameras": CAMERAS,
        "died": died,
        "faults": faults,
        "live": {k: counts.get(k, 0) for k in ("frames", "tracks", "events", "reconnects")},
        "recorded": _summary([events for events, _ in runs]),
        "accounts": {name: _accounts(config) for name, config in (("live", live), ("recorded", recorded))},
        "slopes": {key: slope(samples, key) for key in samples[-1] if key != "at"},
    }


def _cameras(folder: Path, stack, networks: bool) -> tuple[list[Proxy], Source]:
    clip = render(folder / "camera.mp4", seconds=60, fps=5) if networks else write_clip(folder / "c.mp4", 60 * 25)
    server = RtspCamera(clip)
    stack.callback(server.kill)
    server.start()
    proxies = [stack.enter_context(Proxy(server.port)) for _ in range(CAMERAS)]
    cameras = [
        Camera(name=f"camera-{i}", url=f"rtsp://127.0.0.1:{p.port}/cam", open_timeout=30, stall_timeout=10)
        for i, p in enumerate(proxies)
    ]
    return proxies, Source(cameras=cameras)


def _config(folder: Path, name: str, source: Source, address: str, networks: bool = False) -> PipelineConfig:
    """Everything happens more often than it would in the field."""
    return PipelineConfig(
        source=source,
        output=Output(path=folder / name, report=False),
        kafka=Kafka(
            bootstrap_servers=[address], topic=name, delivery_timeout=10, outbox=folder / f"{name}-outbox.sqlite"
        ),
        gallery=Gallery(improve_by=0.01, min_interval=0.2),
        tracker=Tracker(lost_after=0.3, confirm_after=0.1),
        threads=1 if networks else None,  # setting them loads torch
    )


def _cut(proxies: list[Proxy], rng: Random, over: threading.Event, faults: dict) -> None:
    while not over.wait(rng.uniform(2, 6)):
        rng.choice(proxies).cut()
        faults["connections cut"] += 1


def _take_broker_away(broker: Broker, rng: Random, over: threading.Event, faults: dict) -> None:
    while not over.wait(rng.uniform(30, 60)):
        if rng.random() < 0.2:
            broker.kill()
            faults["broker killed"] += 1
            over.wait(rng.uniform(1, 15))
            broker.start()
        else:
            broker.freeze()
            faults["broker frozen"] += 1
            over.wait(rng.uniform(5, 25))
            broker.thaw()


def _sample(processes: dict, folder: Path) -> dict[str, float]:
    found = {}
    for name, process in processes.items():
        own = psutil.Process(process.pid)
        memory = own.memory_info()
        below = []
        for child in own.children(recursive=True):
            with contextlib.suppress(psutil.Error):  # a reader process that has just ended
                below.append((child.memory_info().rss, child.num_fds(), child.num_threads()))
        found[f"{name}: resident memory, MiB"] = memory.rss / 2**20
        found[f"{name}: of which pages of files, MiB"] = memory.shared / 2**20
        found[f"{name}: with its readers, MiB"] = (memory.rss + sum(b[0] for b in below)) / 2**20
        found[f"{name}: open files"] = own.num_fds()
        found[f"{name}: threads"] = own.num_threads()
        boxes = folder.glob(f"{name}-outbox.sqlite*")
        found[f"{name}: outbox on disk, MiB"] = sum(file.stat().st_size for file in boxes) / 2**20
    return found


def slope(samples: list[dict], key: str) -> dict:
    """Straight line through the block means after the warm-up: per hour, with the 95 % interval."""
    begin = samples[-1]["at"] * WARM_UP
    blocks: dict[int, list[dict]] = {}
    for sample in samples:
        if sample["at"] >= begin and key in sample:
            blocks.setdefault(int((sample["at"] - begin) // BLOCK), []).append(sample)
    means = [(statistics.mean(s["at"] for s in b) / 3600, statistics.mean(s[key] for s in b)) for b in blocks.values()]
    values = [value for _, value in means]
    found = {"first": round(values[0], 2), "last": round(values[-1], 2), "highest": round(max(values), 2)}
    if len(means) > 2:
        fit = stats.linregress([at for at, _ in means], values)
        found["per_hour"] = round(fit.slope, 2)
        found["plus_minus"] = round(fit.stderr * stats.t.ppf(0.975, len(means) - 2), 2)
    return found


def _told(connection) -> list:
    """What a process has told since the last look. After each recording: its events (None: it was refused), and the
    memory in use; of a live run the memory in use, and at its end its counts."""
    said = []
    while connection.poll(0):
        said.append(connection.recv())
    return said


def _summary(events: list[int | None]) -> dict:
    done = [n for n in events if n is not None]
    return {"runs": len(done), "refused": len(events) - len(done), "events in each": sorted(set(done))}


def _accounts(config: PipelineConfig) -> dict:
    """Events in the folder against those in the topic, after what still waits has been sent."""
    sink = KafkaSink(config.kafka, config.kafka.outbox)
    drained = sink.flush(120)
    sink.close()
    [address] = config.kafka.bootstrap_servers
    topic = topic_ids(address, config.kafka.topic)
    ids = {e["id"] for e in read_events(config.output.path)} if config.output.path.exists() else set(topic)
    return {
        "drained": drained,
        "in": len(ids),
        "out": len(ids & topic.keys()),
        "strange": len(topic.keys() - ids),
        "twice": topic.total() - len(topic),
    }


def table(result: dict) -> str:
    lines = ["| measure | first minute | last minute | slope an hour |", "|---|--:|--:|--:|"]
    for key, fit in result["slopes"].items():
        line = f"{fit.get('per_hour', '–')} ± {fit.get('plus_minus', '–')}"
        lines.append(f"| {key} | {fit['first']} | {fit['last']} | {line} |")
    kept = {k: v for k, v in result.items() if k != "slopes"}
    return "\n".join([*lines, "", json.dumps(kept)])


if __name__ == "__main__":
    main()
