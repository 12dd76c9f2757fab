"""Whatever a pipeline file or an override says: a configuration or a clear error, never anything else, and soon."""

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from streamheal import pipeline_file
from streamheal.config import PipelineConfig
from streamheal.errors import ConfigError
from streamheal.pipeline_file import PipelineFileError
from tests.fuzz import examples
from tests.fuzz.damage import damaged

SHIPPED = [file.read_bytes() for file in sorted((Path(__file__).parents[2] / "pipelines").glob("*.yaml"))]

sections = st.sampled_from(sorted(PipelineConfig.model_fields))
keys = st.sampled_from(
    ["path", "cameras", "name", "url", "scale", "weights", "sha256", "topic", "keys", "use", "rendered", "seconds"]
)
odd = st.sampled_from(
    [None, True, "", "${HOME}", "${NO_SUCH_NAME}", "a\0b", "\ud800", -1, 1e308, float("nan"), 10**30, "rtsp://a:b@c/d"]
)
values = st.recursive(
    odd | st.text(max_size=12) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "any.yaml"


def load(file: Path, content: bytes, overrides=()) -> None:
    file.write_bytes(content)
    with contextlib.suppress(PipelineFileError):
        assert isinstance(pipeline_file.load(file, overrides), PipelineConfig)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode(errors="replace")))
@examples(200)
def test_any_bytes(file, content):
    load(file, content)


@given(st.sampled_from(SHIPPED).flatmap(damaged))
@examples(200)
def test_a_damaged_file(file, content):
    load(file, content)


@given(st.dictionaries(sections | st.text(max_size=5), values, max_size=5))
@examples(200)
def test_any_values_under_the_keys_that_there_are(file, data):
    load(file, yaml.safe_dump(data, allow_unicode=False).encode(errors="surrogatepass"))


@given(st.from_regex(r"(source|kafka|output|restorer|detector)(\.[a-z0-9]{0,8}){0,3}=.{0,30}", fullmatch=True))
@examples(200)
def test_any_override(file, override):
    file.write_bytes(SHIPPED[0])
    with contextlib.suppress(ConfigError):
        assert isinstance(pipeline_file.load(file, [override]), PipelineConfig)


ALIASES = {
    "grows tenfold a line": ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30))],
    "grows below any depth": [
        "x: " + "[" * 18 + "&a [x]" + "".join(f", &a{i} [{', '.join(['*a'] * 99)}]" for i in range(9)) + "]" * 18
    ],
    "lies in itself": ["source: &a {path: *a}"],
    "is its own only item": ["a: &a [*a]", "source: {path: x}"],
    "is merged": ["a: &a {path: x}", *(f"a{i}: &a{i} {{<<: [*a, *a, *a]}}" for i in range(50)), "source: {<<: *a}"],
}


@pytest.mark.parametrize("lines", ALIASES.values(), ids=ALIASES)
def test_aliases_make_nothing_large(file, lines):
    file.write_text("\n".join(lines))
    with pytest.raises(PipelineFileError):
        pipeline_file.load(file)


@pytest.mark.parametrize("value", ["&a [*a]", "&a {b: *a}", "2020-99-99", "9" * 5000, "[" * 600, "!!python/name:os.x"])
def test_an_override_that_is_too_much_is_a_clear_error(file, value):
    file.write_bytes(SHIPPED[0])
    with pytest.raises(ConfigError, match=r"--set output\.path: the value"):
        pipeline_file.load(file, [f"output.path={value}"])
