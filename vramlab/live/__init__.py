"""Live sessions: ONNX Runtime under asyncio, device memory, the profiler, stand-in models, metrics."""
