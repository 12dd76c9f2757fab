"""Is bf16 worth it on this CPU? Time of one training step of each restorer in fp32 and in bf16, as a ratio.

    python benchmarks/precision.py [--threads 1]

`train/task.py: half` keeps fp32 on CPUs because of this.
"""

import argparse
import time

import torch

from streamheal.heal import networks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| restorer | bf16 ÷ fp32, time of a step |\n|---|---|")
    for system in networks.RESTORERS:
        network = networks.build(system).train().to(memory_format=torch.channels_last)
        ratio = step_time(network, torch.bfloat16) / step_time(network, None)
        print(f"| {system} | {ratio:.2f} |", flush=True)


def step_time(network: torch.nn.Module, precision: torch.dtype | None, batch: int = 8, steps: int = 3) -> float:
    """Seconds of CPU time of forward and backward, after one to warm up."""
    size = network.lr_size
    lr, visible = torch.rand(batch, 3, size, size), torch.ones(batch, 1, size, size)
    visible[..., size // 4 : size // 2, size // 4 : size // 2] = 0
    for step in range(steps + 1):
        if step == 1:
            began = time.process_time()
        with torch.autocast("cpu", precision, enabled=precision is not None):
            hr = network(lr, visible).hr
        hr.float().square().mean().backward()
    return (time.process_time() - began) / steps


if __name__ == "__main__":
    main()
