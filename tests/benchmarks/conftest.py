"""After the benchmarks: every group once more as ratios of best times to the group's base, side by side."""

import pytest


def is_base(bench) -> bool:
    """The one that says so in `extra_info`, or that is called plain."""
    return bench.extra_info.get("base", "[plain]" in bench.name)


@pytest.hookimpl(trylast=True)  # below the full tables
def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    benches = [bench for bench in getattr(session, "benchmarks", []) if not bench.has_error]
    for group in dict.fromkeys(bench.group for bench in benches):
        members = [bench for bench in benches if bench.group == group]
        base = next((bench for bench in members if is_base(bench)), None)
        if base is None:
            continue
        terminalreporter.write_sep("-", group)
        for bench in members:
            ratio = bench.stats.min / bench.extra_info.get("base_seconds", base.stats.min)
            aim = bench.extra_info.get("aim")
            label = bench.name.partition("[")[2].rstrip("]") or bench.name
            terminalreporter.write_line(
                f"  {label:<58} {1000 * bench.stats.min:9.1f} ms {ratio:7.2f}"
                + (f"   (aim {aim})" if aim else "")
            )
