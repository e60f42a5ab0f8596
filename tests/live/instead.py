"""Sessions whose runs somebody else does: machine code does not let its methods be replaced."""

from vramlab.engine.effects import Target


class Instead:
    """A session in all but its runs."""

    def __init__(self, session, run):
        self._own, self.run = session, run

    def __getattr__(self, name):
        return getattr(self._own, name)


def run_instead(runtime, model, make_run):
    """Let ``make_run(run)``, where `run` is what its session does, do the GPU runs of a model from now on."""
    key = model, Target.GPU
    session = runtime.driver.sessions[key]
    runtime.driver.sessions[key] = Instead(session, make_run(session.run))
    return session
