"""The settings of the Slurm connector, beside those of StreamFlow's."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from anydeploy.checking import check_settings
from anydeploy.connectors._slurm_job import OVER, explain_silence, stopped
from anydeploy.connectors._slurm_options import KNOWN, REFUSED, to_script, to_services
from anydeploy.connectors._slurm_queue import job_label
from anydeploy.connectors.slurm import SlurmConnector


def schema(name: str) -> dict:
    if find_spec("streamflow") is None:
        pytest.skip("StreamFlow is not installed")
    connector = find_spec("streamflow.deployment.connector")
    assert connector is not None and connector.origin is not None
    return json.loads((Path(connector.origin).parent / "schemas" / name).read_text())


def test_every_key_of_a_service_is_implemented_or_refused_by_name():
    keys = schema("slurm.json")["$defs"]["service"]["properties"]
    assert set(keys) == KNOWN
    for key, described in keys.items():
        types = [described["type"]] if "type" in described else [each["type"] for each in described["anyOf"]]
        for value in ({"string": "x", "integer": 3, "boolean": True}[each] for each in types):
            if key in REFUSED:
                with pytest.raises(ValueError, match=REFUSED[key]):
                    to_services({"s": {key: value}})
            else:
                options = to_services({"s": {key: value}})["s"].options
                assert len(options) == (0 if key in ("file", "noRequeue") else 1)


def test_options_have_the_names_that_sbatch_gives_them():
    settings = {"cpusPerTask": 2, "mem": "1G", "exclusive": True, "ignorePBS": True, "waitAllNodes": True, "time": "5"}
    assert to_services({"s": settings})["s"].options == (
        *("--cpus-per-task=2", "--mem=1G", "--exclusive", "--ignore-pbs", "--wait-all-nodes=1", "--time=5"),
    )
    assert to_services({"s": {"exclusive": "user", "contiguous": False, "requeue": False}})["s"].options == (
        "--exclusive=user",
    )


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"mode": "bacth"}, "`batch` or `allocation`"),
        ({"services": {"s": {"partitoin": "x"}}}, "unknown setting 'partitoin'; did you mean 'partition'"),
        ({"services": {"s": {"ntasks": "two"}}}, "expected a whole number"),
        ({"services": {"s": {"array": "0-3"}}}, "a command is one job"),
        ({"services": []}, "mapping"),
        ({"maxConcurrentJobs": 0}, "1 or more"),
        ({"pollingInterval": 0}, "0"),
        ({"hostname": "login"}, "type `ssh`"),
    ],
)
def test_what_is_wrong_is_told(settings, problem):
    ((path, found),) = check_settings(SlurmConnector, settings)
    assert path[0] == next(iter(settings))
    assert problem in found


def test_a_template_is_that_of_streamflow_without_jinja():
    trap = "trap : HUP INT QUIT TERM USR1 USR2\n"
    template = "#!/bin/bash\n#SBATCH -n 2\nfor i in {1..2}; do :; done\n{{ streamflow_command }}\n"
    assert to_script(template) == f"#!/bin/bash\n#SBATCH -n 2\n{trap}for i in {{1..2}}; do :; done\n\0\n"
    template = "cd {{streamflow_workdir}} && {{streamflow_environment}}; {{streamflow_command}}"
    assert to_script(template) == f"{trap}cd . && :; \0"
    for wrong in ("echo", "{% if x %}{{streamflow_command}}", "{{streamflow_command}} {{other}}"):
        with pytest.raises(ValueError, match="template"):
            to_script(wrong)


def test_a_job_that_slurm_has_stopped_is_told_from_one_that_has_ended():
    assert {state for state in OVER if stopped(state) is None} == {"COMPLETED", "FAILED"}
    assert stopped("OUT_OF_MEMORY") == "ran out of memory"
    assert "not known" in explain_silence("")
    assert "killed" in explain_silence("FAILED")


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED"])
def test_the_cause_is_said_before_what_it_may_be(state):
    said = explain_silence(state, "cd: /nonexist")
    assert said.index("cd: /nonexist") < said.index("directory")
    assert explain_silence("TIMEOUT", "the last line") == "has reached its time limit: the last line"


def test_names_are_words():
    assert job_label("my cluster_1/x", "ab12") == "anydeploy-my-cluster-1-x-ab12"
