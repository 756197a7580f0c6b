"""Every driver's script, through each pool mode. The scripts are under drivers/; they also run by hand: SCRIPT HOST PORT USER DB."""
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent / "drivers"
SCRIPTS = {
    "psycopg": ("python", "psycopg_check.py"), "psycopg sessions": ("python", "psycopg_session_check.py"),
    "asyncpg": ("python", "asyncpg_check.py"), "node-postgres": ("node", None), "pgx": ("go", None), "pgjdbc": ("java", None),
}


def command(kind, script):
    done = subprocess.run([str(HERE / "install"), kind], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
    if done.returncode:
        pytest.fail(done.stderr, pytrace=False)
    return done.stdout.splitlines() + ([str(HERE / script)] if script else [])


@pytest.mark.parametrize("name", SCRIPTS)
def test_driver(name, target):
    words = [*command(*SCRIPTS[name]), target.host, str(target.port), target.user, target.database]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        pytest.fail(f"{name} did not end within 300 s\n{output}", pytrace=False)
    finally:
        process.kill()
        process.wait()
    print(output)
    passed = sum(line.startswith("ok ") for line in output.splitlines())
    if process.returncode or not passed:
        failed = [line for line in output.splitlines() if not line.startswith("ok ")]
        pytest.fail(f"{name}: {passed} checks passed, exit status {process.returncode}\n" + "\n".join(failed), pytrace=False)


def test_nothing_of_a_driver_stays(target):
    """The scripts above leave; what they set, locked or prepared must not stay on a server connection for others to find."""
    left = target.postgres.sql("select pid, state, wait_event_type, query from pg_stat_activity "
                               "where datname = 'test' and pid <> pg_backend_pid() and (state <> 'idle' or query ilike '%pg_sleep%')",
                               "select 'advisory lock' from pg_locks where locktype = 'advisory'",
                               "select gid from pg_prepared_xacts")
    assert left == ""
