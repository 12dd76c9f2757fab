"""The card that a training writes beside its weights: how it was made, how far it came. `models/*.md` say more."""

from pathlib import Path

from torch import nn

from streamheal import weights
from streamheal.train.recipe import Recipe


def write(
    card: Path, plan: Recipe, recipe_path: Path, network: nn.Module, path: Path, said: dict, figures: dict[str, float]
) -> None:
    parameters = sum(p.numel() for p in network.parameters())
    lines = [
        f"# {plan.name}",
        "",
        f"- system: {plan.system} ({plan.variant}), {parameters / 1e6:.2f} M parameters",
        f"- weights: `{path.name}`, SHA-256 `{weights.check(path, None)}`",
        f"- trained on: {', '.join(plan.shards)} (their licences pass on to the weights)",
        f"- how far: {said['seen']} pictures in {said['minutes']} minutes, now in stage {said['stage']!r}",
        f"- to go on: `streamheal train {recipe_path.name} --data DIR --minutes N`, with the same --out",
        "",
        f"Figures on {plan.val}, which tunes and doesn't judge; the final ones come from `streamheal evaluate`:",
        "",
        "| figure | value |",
        "| --- | --- |",
        *(f"| {name} | {value:.4g} |" for name, value in figures.items()),
        "",
        "![sheet](sheet.png)",
    ]
    card.write_text("\n".join(lines) + "\n")
