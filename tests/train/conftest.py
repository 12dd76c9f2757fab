import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The networks here are so small that threads would wait for each other; a training may set their number, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
