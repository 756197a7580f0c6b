"""The arrows of the architecture, read from the sources: who may include whom, and that every header stands on its own.

Link lines are the arrows (docs/ARCHITECTURE.md): a folder is one CMake library and includes only folders it links, directly
or through others. `protocols` knows neither sockets nor clocks nor threads; `config` knows nobody.
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("protocols", "config", "proxy")
SOURCES = sorted(p.relative_to(ROOT) for top in FOLDERS for p in (ROOT / top).rglob("*.[ch]pp"))
HEADERS = [p for p in SOURCES if p.suffix == ".hpp"]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
LIBRARY = re.compile(r"breakwater_library\(\s*(\w+)(?:\s+LINK\s+([^)]*))?\)")

# What a room that never waits has no business with: sockets, event loops, threads.
NO_WAITING = re.compile(r"^(boost/(asio|beast)|asio|sys/(socket|epoll|un|poll|select|eventfd|timerfd)\.h|netinet/|arpa/|netdb\.h|poll\.h|"
                        r"unistd\.h|thread$|mutex$|shared_mutex$|condition_variable$|future$|semaphore$|latch$|barrier$|pthread\.h|"
                        r"openssl/ssl\.h|libpq-fe\.h)")
NO_CLOCK = re.compile(r"(steady_clock|system_clock|high_resolution_clock)::now|\b(clock_gettime|gettimeofday|nanosleep)\s*\(|\btime\(nullptr\)")
NEVER_WAITS = ("protocols/", "proxy/resilience/")


def includes(path):
    return INCLUDE.findall((ROOT / path).read_text())


def libraries():
    """{folder: library}, {library: what it links}"""
    homes, links = {}, {}
    for lists in (ROOT / top for top in FOLDERS):
        for path in sorted(lists.rglob("CMakeLists.txt")):
            for name, linked in LIBRARY.findall(re.sub(r"#.*", "", path.read_text())):
                homes[str(path.parent.relative_to(ROOT))] = name
                links[name] = [word for word in linked.split() if word.startswith("breakwater_")]
    return homes, links


HOMES, LINKS = libraries()


def reach(library):
    seen, queue = set(), [library]
    while queue:
        current = queue.pop()
        if current not in seen:
            seen.add(current)
            queue.extend(LINKS.get(current, []))
    return seen


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_includes_only_what_its_library_links(path):
    home = HOMES.get(str(path.parent))
    if home is None:
        assert str(path) == "proxy/main.cpp", f"{path} lies in a folder that is no library"
        return
    allowed = reach(home)
    for quote, included in includes(path):
        if quote == "<":
            assert not included.startswith(tuple(f + "/" for f in FOLDERS)), f'{path}: "{included}" is ours: quotes, please'
            continue
        assert (ROOT / included).is_file(), f'{path}: "{included}" is not a path from the repository root'
        other = HOMES.get(str(pathlib.Path(included).parent))
        assert other in allowed, f"{path} includes {included}, but {home} does not link {other}"


@pytest.mark.parametrize("path", [p for p in SOURCES if str(p).startswith(NEVER_WAITS)], ids=str)
def test_has_no_sockets_clocks_or_threads(path):
    for _, included in includes(path):
        assert not NO_WAITING.match(included), f"{path} includes {included}"
    found = NO_CLOCK.search((ROOT / path).read_text())
    assert not found, f"{path} asks for the time: {found.group(0)}"


def test_protocols_and_config_know_nobody():
    for home, name in HOMES.items():
        others = {h for h, n in HOMES.items() if n in reach(name)}
        if home.startswith("protocols"):
            assert not [o for o in others if not o.startswith("protocols")], f"{name} reaches beyond protocols/"
        if home.startswith("config"):
            assert not [o for o in others if not o.startswith("config")], f"{name} reaches beyond config/"


def test_only_app_knows_a_protocol_by_name():
    for path in SOURCES:
        if path.parts[0] == "proxy" and path.parts[1] != "app":
            named = [i for _, i in includes(path) if i.startswith("protocols/") and not i.startswith("protocols/core/")]
            assert not named, f"{path} includes {named[0]}"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """{header: a future of its compilation}: as many at once as there are cores."""
    folder = tmp_path_factory.mktemp("alone")

    def compile_alone(path):
        # Twice, so that a missing guard shows.
        unit = folder / (str(path).replace("/", "_") + ".cpp")
        unit.write_text(f'#include "{path}"\n#include "{path}"\n')
        return subprocess.run(["g++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-I", str(ROOT), "-I",
                               "/usr/include/postgresql", str(unit)], capture_output=True, text=True, timeout=300)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {path: pool.submit(compile_alone, path) for path in HEADERS}


@pytest.mark.parametrize("path", HEADERS, ids=str)
def test_header_compiles_alone(path, compiled):
    assert "#pragma once" in (ROOT / path).read_text(), f"{path} lacks #pragma once"
    done = compiled[path].result()
    assert done.returncode == 0, done.stderr[-2000:]
