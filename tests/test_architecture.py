"""The folders show the architecture, and imports run one way."""

import ast
from pathlib import Path

import streamheal

PACKAGE = Path(streamheal.__file__).parent
STAGES = {"video", "faces", "heal", "publish", "watch"}
BASE = {"config", "records", "errors", "weights", "calibration", "vault", "audit", "__init__"}
WHOLE = {"pipeline", "pipeline_file", "runs", "console", "doctor", "cli", "changes"}

# part → what it may import of streamheal, besides itself
ALLOWED = {
    **{stage: BASE for stage in STAGES},
    "heal.networks": {"errors", "weights"},
    "train": BASE | {"heal.networks", "faces"},  # faces: to judge detectors
    "errors": set(),
    "records": {"errors"},
    "config": {"errors", "records"},
    "weights": {"errors"},
    "calibration": {"errors", "records", "weights"},
    "vault": {"config", "errors"},
    "audit": {"errors"},
    "forgotten": {"errors", "records"},
    "kept": {"audit", "config", "errors"},
    "retention": {"config", "errors", "faces", "forgotten", "kept", "publish"},
    "rotation": {"errors", "kept", "publish", "vault"},
    "pipeline_file": {"config", "errors", "__init__"},
    "runs": {"config", "errors", "records"},
    "changes": {"config", "errors"},
    "pipeline": BASE | STAGES | {"forgotten", "kept", "retention", "runs", "pipeline_file", "changes"},
    "cluster": BASE | STAGES | {"forgotten", "kept", "pipeline", "pipeline_file"},
    "console": {"pipeline", "errors"},
    "doctor": BASE | {"faces"},
    "commands": BASE | WHOLE | {"cluster", "kept", "publish", "retention", "rotation"},
    "cli": BASE | WHOLE | {"train", "heal", "publish", "commands"},
    "__init__": {"calibration", "heal", "pipeline", "publish"},
}


def _part(module: str) -> str:
    names = module.split(".")[1:]
    return "heal.networks" if names[:2] == ["heal", "networks"] else names[0] if names else "__init__"


def _imports(path: Path):
    """Every streamheal module that the file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "streamheal")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "streamheal":
            folder = PACKAGE.joinpath(*node.module.split(".")[1:])
            for alias in node.names:
                is_module = (folder / alias.name).is_dir() or (folder / f"{alias.name}.py").is_file()
                yield f"{node.module}.{alias.name}" if is_module else node.module


def test_imports_run_one_way():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE).with_suffix("")
        own = _part(".".join(("streamheal", *inside.parts)))
        # heal knows its networks; for all others they are a part that must be allowed by name
        allowed = ALLOWED[own] | {own} | ({"heal.networks"} if own == "heal" else set())
        wrong += [f"{inside} imports {module}" for module in _imports(path) if _part(module) not in allowed]
    assert not wrong, "\n".join(wrong)


def test_training_needs_only_what_a_training_machine_has():
    at_hand = {"torch", "numpy", "yaml", "PIL", "cv2", "safetensors", "scipy", "skimage", "rich", "streamheal"}
    at_call = {"ultralytics", "ai_edge_litert", "av"}  # imported inside the functions that need them
    import sys

    wrong = []
    for folder in (PACKAGE / "train", PACKAGE / "heal" / "networks"):
        for path in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                for name in {n.split(".")[0] for n in names}:
                    lazily = node.col_offset > 0 and name in at_call
                    if name not in at_hand and name not in sys.stdlib_module_names and not lazily:
                        wrong.append(f"{path.name} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_help_does_not_wait_for_torch():
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from streamheal.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['validate', 'pipelines/demo.yaml']).exit_code == 0\n"
        "heavy = {'torch', 'cv2', 'av', 'ultralytics', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
