"""What the optimiser is worth: lr-trunk-16's pixel loss from nothing, for some minutes each, by AdamW and by Muon.

    python benchmarks/optimizers.py --data DIR --minutes 4

One thread, batch 16, the same seed. Prints PSNR in dB on the tuning faces, a row for each optimiser and rate.
"""

import argparse
import tempfile
from pathlib import Path

import yaml

from streamheal.train import trainer

RECIPE = Path(__file__).resolve().parent.parent / "configs" / "lr-trunk-16.yaml"
TRIED = (("adamw", 1e-3), ("muon", 1e-3), ("muon", 2e-3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--minutes", type=float, default=4)
    arguments = parser.parse_args()
    plan = yaml.safe_load(RECIPE.read_text()) | {"stages": [{"name": "pixels"}], "batch": 16}
    for optimizer, rate in TRIED:
        with tempfile.TemporaryDirectory() as folder:
            recipe, rows = Path(folder, "recipe.yaml"), []
            recipe.write_text(yaml.safe_dump(plan | {"optimizer": optimizer, "learning_rate": rate}))
            where = {"threads": 1, "cache": arguments.cache, "report": rows.append}
            trainer.train(recipe, arguments.data, Path(folder, "out"), arguments.minutes, **where)
        figures = {name: value for name, value in rows[-1].items() if name.startswith("psnr")}
        told = ", ".join(f"{name.removeprefix('psnr ')} {value:.2f}" for name, value in figures.items())
        print(f"{optimizer}, {rate:g}: {rows[-1]['seen']} pictures: {told}", flush=True)


if __name__ == "__main__":
    main()
