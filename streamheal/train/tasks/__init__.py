"""What each kind of network learns: how a batch is made from faces, what it costs, what is looked at meanwhile."""

from streamheal.errors import ConfigError
from streamheal.train.task import Context, Task
from streamheal.train.tasks.embedder import EmbedderTask
from streamheal.train.tasks.fcsr_gan import FcsrGanTask
from streamheal.train.tasks.fd_stackgan import FdStackGanTask
from streamheal.train.tasks.jdsr_gan import JdsrGanTask
from streamheal.train.tasks.landmarks import LandmarkMapsTask, LandmarkPointsTask
from streamheal.train.tasks.occlusion import OcclusionTask
from streamheal.train.tasks.ofhnet import OfhNetTask
from streamheal.train.tasks.parsing import ParsingTask
from streamheal.train.tasks.pro_uigan import ProUiganTask
from streamheal.train.tasks.restorer import RestorerTask

TASKS: dict[str, type[Task]] = {
    "restorer": RestorerTask,
    "occlusion": OcclusionTask,
    "embedder": EmbedderTask,
    "landmark-maps": LandmarkMapsTask,
    "landmark-points": LandmarkPointsTask,
    "parsing": ParsingTask,
    "fcsr-gan": FcsrGanTask,
    "ofhnet": OfhNetTask,
    "jdsr-gan": JdsrGanTask,
    "fd-stackgan": FdStackGanTask,
    "pro-uigan": ProUiganTask,
}


def build(kind: str, options: dict, context: Context) -> Task:
    """Raises ConfigError on an unknown task or an unknown option."""
    if kind not in TASKS:
        raise ConfigError(f"task: {kind!r}; allowed: {', '.join(TASKS)}")
    try:
        return TASKS[kind](context, **options)
    except TypeError as error:
        raise ConfigError(f"options of a {kind} recipe: {error}") from error
