"""Full size where times are taken; a twentieth where `make test` only asks whether they still run."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def size(request):
    if not request.config.getoption("benchmark_disable"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(request.module, "REQUESTS"):
            patch.setattr(request.module, "REQUESTS", request.module.REQUESTS // 20)
        if hasattr(request.module, "PART"):
            patch.setattr(request.module, "PART", 20 * request.module.PART)
        yield
