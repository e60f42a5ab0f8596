"""Full size where times are taken; a twentieth where `make test` only asks whether they still run."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def size(request):
    if not request.config.getoption("benchmark_disable") or not hasattr(request.module, "REQUESTS"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request.module, "REQUESTS", request.module.REQUESTS // 20)
        yield
