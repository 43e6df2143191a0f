"""What the benchmark prints: a table with times, and means over groups of parts."""

import json
import math

# bench/guest's parts. GROUPS are what means are taken over.
CPU_PARTS = ("crc32", "primes", "qsort", "matrix", "fib", "indirect_calls", "pointer_chase", "memcpy", "sha256", "zlib",
             "bytecode", "sqlite", "gcc")
KERNEL_PARTS = ("getppid", "page_touches", "fork_wait", "fork_exec", "pipe_trips", "signals", "segv", "mmap", "files",
                "loopback")
GROUPS = {"CPU-bound": CPU_PARTS, "kernel-bound": KERNEL_PARTS}
TOOL_PARTS = ("sqlite", "gcc")  # need bench-tools.img
RAM_APART = ("doppel-", "qemu-")  # peers whose guest RAM is a memfd


def cell(value, reference):
    """A time and how many times the reference it is."""
    if value is None:
        return "-"
    return f"{value:.3f} ({value / reference:.1f}x)" if reference else f"{value:.3f}"


def ratios(result, reference, parts):
    """How many times the reference's time each part took that both have."""
    return {part: result["parts"][part] / reference["parts"][part] for part in parts
            if part in result["parts"] and reference["parts"].get(part)}


def geometric_mean(values):
    """Of positive numbers; None without any."""
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else None


def means(results):
    """For each reference (native, qemu-tcg) and group, each peer's geometric mean and worst part."""
    found = {}
    for reference in ("native", "qemu-tcg"):
        if reference not in results:
            continue
        for group, parts in GROUPS.items():
            for name, result in results.items():
                by_part = ratios(result, results[reference], parts)
                if by_part:
                    worst = max(by_part, key=by_part.get)
                    found.setdefault(f"{group} / {reference}", {})[name] = {
                        "mean": geometric_mean(by_part.values()), "worst": worst, "worst_ratio": by_part[worst]}
    return found


def mean_rows(results):
    """Rows of the means, and of the worst single part beside QEMU."""
    rows = []
    summary = means(results)
    for title, by_peer in summary.items():
        rows.append([title, "", *(f"{by_peer[name]['mean']:.2f}x" if name in by_peer else "-" for name in results)])
    for group in GROUPS:
        by_peer = summary.get(f"{group} / qemu-tcg", {})
        if by_peer:
            rows.append([f"worst {group} / qemu-tcg", "", *(
                f"{by_peer[name]['worst']} {by_peer[name]['worst_ratio']:.2f}x"
                if name in by_peer and name != "qemu-tcg" else "-"
                for name in results)])
    return rows


def instruction_rates(results, counts):
    """Millions of instructions a second over the parts that only compute."""
    rates = []
    for result in results.values():
        parts = [part for part in CPU_PARTS if part in counts and part in result["parts"]]
        seconds = sum(result["parts"][part] for part in parts)
        rates.append(f"{sum(counts[part] for part in parts) / 1e6 / seconds:.0f}" if seconds else "-")
    return rates


def rows_of(results, counts):
    """Parts down, peers across; ratios against the first peer that has a figure."""
    names = list(results)
    rows = [["seconds (ratio)", "M instr", *names]]

    def add(label, values, count=None):
        reference = next((value for value in values if value), None)
        rows.append([label, f"{count / 1e6:.0f}" if count else "", *(cell(value, reference) for value in values)])

    add("start to init", [result["init"] for result in results.values()])
    for part in dict.fromkeys(part for result in results.values() for part in result["parts"]):
        add(part, [result["parts"].get(part) for result in results.values()], counts.get(part))
    add("start to end", [result["wall"] for result in results.values()])
    rows.extend(mean_rows(results))
    rows.append(["M instr/s (CPU)", "", *instruction_rates(results, counts)])
    own = [result.get("own_count") for result in results.values()]
    rows.append(["M instr/s (own)", "", *(f"{count / 1e6 / results[name]['wall']:.0f}" if count else "-"
                                          for name, count in zip(names, own))])
    rows.append(["overhead MiB", "", *(f"{results[name]['overhead_kib'] / 1024:.0f}" if name.startswith(RAM_APART)
                                       else "-" for name in names)])
    return rows


def print_rows(rows):
    """The first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) if column == 0 else text.rjust(width)
                        for column, (text, width) in enumerate(zip(row, widths))).rstrip())


def write_json(path, **figures):
    """Writes the figures where they are wanted; nowhere with None."""
    if path:
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="ascii")


def wrong_results(results):
    """Parts whose check value differs between peers, and parts that no group knows."""
    wrong = []
    for part in dict.fromkeys(part for result in results.values() for part in result["checks"]):
        values = {name: result["checks"][part] for name, result in results.items() if part in result["checks"]}
        if len(set(values.values())) > 1:
            wrong.append(f"results differ in {part}: " + ", ".join(f"{name} {value}" for name, value in values.items()))
        if not any(part in parts for parts in GROUPS.values()):
            wrong.append(f"part {part} is in no group")
    return wrong
