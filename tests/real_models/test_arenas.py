"""Ten real models in arenas with their measured limits: no request fails, and no ledger says too little."""

import asyncio

import pytest

from tests.real_models.arenas import TEN, measured, real_models, served
from tests.real_models.catalogue import installed

pytestmark = pytest.mark.skipif(
    not set(TEN) <= {model.name for model in installed()}, reason="needs `make real-models`"
)


@pytest.mark.parametrize("workspace", ["own", "shared"])
def test_models_and_batches_in_every_order(tmp_path, workspace):
    found = asyncio.run(served(measured(real_models(tmp_path)), workspace, 300, tmp_path / "journal.jsonl"))
    assert found["failures"] == []
    assert found["evictions"] > 0
    assert found["ledger_understates_at_most"] <= 0.02
    assert found["lockstep_differences"] == 0
