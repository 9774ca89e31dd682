"""Forms of residual modules by name or `module:Class`, and networks exported with any batch size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from idfer.catalogue import FORMS
from idfer.errors import UsageError
from idfer.models.network import Network
from idfer.models.residual import residual_modules

OWN = '''
"""A form that takes the first attribute's features from the second's place."""
from torch import nn
from idfer.models.forms.form import ResidualForm

class Halves(ResidualForm):
    needs_retrieved = False

    def __init__(self, attributes, dim_in, dim, embedding=0):
        super().__init__(attributes, dim_in, dim, embedding)
        self.linear = nn.Linear(dim_in, dim)

    def parts(self, z, retrieved=None):
        whole = self.linear(z)
        taken = whole[:, None].expand(-1, self.attributes, -1) / self.attributes
        return whole, taken, taken

class Unrelated(nn.Module):
    pass
'''


@pytest.fixture
def own_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_forms.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_forms", raising=False)
    return "own_forms"


def test_a_form_of_ones_own_by_module_and_class(own_forms: str) -> None:
    network = Network("conv4", 32, ("age", "skin"), 8, form=f"{own_forms}:Halves").eval()
    assert network.residual.form == f"{own_forms}:Halves"
    with torch.no_grad():
        everything, half = network(torch.ones(2, 3, 32, 32)), network(torch.ones(2, 3, 32, 32), ["age"])
        whole = network(torch.ones(2, 3, 32, 32), [])
    torch.testing.assert_close(everything.expression, torch.zeros(2, 8))
    torch.testing.assert_close(half.expression, whole.expression / 2)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("distiled", "unknown residual form 'distiled'. Did you mean 'distilled'.*module:Class"),
        ("own_forms:Unrelated", "is not a subclass of idfer.models.forms.form:ResidualForm"),
        ("own_forms:Missing", "own_forms has no 'Missing'"),
        ("no_such_module:Form", "no module 'no_such_module'"),
    ],
)
@pytest.mark.parametrize("attributes", [0, 2])
def test_a_form_that_is_none_is_refused_with_or_without_attributes(
    form: str, message: str, attributes: int, own_forms: str
) -> None:
    with pytest.raises(UsageError, match=message):
        residual_modules(form, attributes, 16, 8)


def test_parameters_keep_the_names_that_runs_on_disk_have() -> None:
    norm = {"norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    maps = {"maps"} | {f"maps_{name}" for name in norm}
    names = {
        "distilled": {"linear.weight"} | norm,
        "simple": {"linear.weight", "project.weight"},
        "residual_post": {"linear.weight"} | norm | maps,
        "residual_prev": {"linear.weight", "project.weight"} | norm | maps,
    }
    for form in FORMS:
        assert set(residual_modules(form, 2, 16, 8, 5).state_dict()) == names[form]
        assert set(residual_modules(form, 0, 16, 8, 5).state_dict()) == names["distilled"]


def test_names_cost_no_torch() -> None:
    code = "import sys, idfer.catalogue as c; assert c.FORMS and c.METHODS and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("attributes", [(), ("age", "skin")])
@pytest.mark.parametrize("code", [0, 4])
def test_an_exported_network_answers_any_batch_like_the_eager_one(
    code: int, attributes: tuple[str, ...]
) -> None:
    torch.manual_seed(0)
    network = Network("conv4", 32, attributes, 8, code=code).eval()
    program = torch.export.export(
        network, (torch.randn(2, 3, 32, 32),), dynamic_shapes={"image": {0: torch.export.Dim("batch")}}
    ).module()
    for count in (1, 3, 5):
        image = torch.randn(count, 3, 32, 32)
        with torch.no_grad():
            expected, answered = network(image), program(image)
        for ours, exported in zip(expected, answered, strict=True):
            if ours is None:
                assert exported is None
            else:
                torch.testing.assert_close(exported, ours)
