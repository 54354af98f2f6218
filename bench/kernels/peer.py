"""Measures PyTorch on the shapes of `bench-kernels` and prints both, with ratios.

    taskset -c 0 cargo run --release -p bench-kernels -- --json ours.json
    taskset -c 0 python peer.py ours.json [FILTER] [--json both.json]

Same clock as there: the thread's own processor time with one thread, the time on the wall with several. Each operation is
called as a user of PyTorch would: channels-last convolution, `scaled_dot_product_attention`, separate bias and activation.
"""

import argparse
import json
import pathlib
import statistics
import time

import torch
import torch.nn.functional as F

REPETITIONS = 9
REPETITION_SECONDS = 0.02


def median_seconds(call, threads):
    clock = time.thread_time if threads == 1 else time.perf_counter
    for _ in range(2):
        call()
    start = clock()
    call()
    calls = max(1, int(REPETITION_SECONDS / max(clock() - start, 1e-9)) + 1)
    times = []
    for _ in range(REPETITIONS):
        start = clock()
        for _ in range(calls):
            call()
        times.append((clock() - start) / calls)
    return statistics.median(times)


def prepare(name, dtype):
    """The call for an operation, from the name that `cases.rs` gave it."""
    kind, *sizes = name.split(" ")
    p = {key: int(value) for key, value in (size.split("=") for size in sizes)}
    randn = lambda *shape: torch.randn(*shape).to(dtype)
    if kind == "linear":
        x, w, b = randn(p["m"], p["k"]), randn(p["n"], p["k"]), randn(p["n"])
        return lambda: F.linear(x, w, b)
    if kind == "geglu":
        x, w, b = randn(p["m"], p["k"]), randn(2 * p["inner"], p["k"]), randn(2 * p["inner"])

        def geglu():
            value, gate = F.linear(x, w, b).chunk(2, dim=-1)
            return value * F.gelu(gate)

        return geglu
    if kind == "conv":
        x = randn(p["batch"], p["in"], p["size"], p["size"]).to(memory_format=torch.channels_last)
        w = randn(p["out"], p["in"], p["kernel"], p["kernel"]).to(memory_format=torch.channels_last)
        b = randn(p["out"])
        return lambda: F.conv2d(x, w, b, stride=p["stride"], padding=p["kernel"] // 2)
    if kind == "attention":
        heads = lambda rows: randn(p["batch"], rows, p["heads"], p["dim"]).transpose(1, 2)
        q, k, v = heads(p["queries"]), heads(p["keys"]), heads(p["keys"])
        return lambda: F.scaled_dot_product_attention(q, k, v)
    if kind == "group-norm-silu":
        side = int(p["pixels"] ** 0.5)
        x = randn(p["batch"], p["channels"], side, side).to(memory_format=torch.channels_last)
        w, b = randn(p["channels"]), randn(p["channels"])
        return lambda: F.silu(F.group_norm(x, 32, w, b))
    if kind == "layer-norm":
        x, w, b = randn(p["rows"], p["channels"]), randn(p["channels"]), randn(p["channels"])
        return lambda: F.layer_norm(x, (p["channels"],), w, b)
    if kind == "silu":
        x = randn(p["elements"])
        return lambda: F.silu(x)
    raise ValueError(f"unknown operation {name}")


def main():
    parser = argparse.ArgumentParser(description="PyTorch on the shapes that bench-kernels measured")
    parser.add_argument("ours", type=pathlib.Path, help="what bench-kernels wrote with --json")
    parser.add_argument("filter", nargs="?", default="", help="a part of the names of the wanted operations")
    parser.add_argument("--json", type=pathlib.Path, help="where both sides' times go")
    arguments = parser.parse_args()
    report = json.loads(arguments.ours.read_text())
    report["rows"] = [row for row in report["rows"] if arguments.filter in row["operation"]]
    report["peer"] = torch.__version__
    torch.set_num_threads(report["threads"])
    torch.set_grad_enabled(False)
    print(f"PyTorch {torch.__version__}, threads {report['threads']}, our instruction set {report['isa']}")
    print(f"{'operation':58} {'dtype':5} {'ours ms':>9} {'torch ms':>9} {'ratio':>6}")
    for row in report["rows"]:
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[row["dtype"]]
        theirs = median_seconds(prepare(row["operation"], dtype), report["threads"])
        mine = row["median_seconds"]
        row["peer_median_seconds"] = theirs
        print(f"{row['operation']:58} {row['dtype']:5} {mine * 1e3:9.4f} {theirs * 1e3:9.4f} {theirs / mine:6.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


main()
