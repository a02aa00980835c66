"""The settings of the Slurm connector, beside those of StreamFlow's."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from anydeploy import DefaultDeploymentManager, DeploymentConfig, InvalidConfigError
from anydeploy.checking import check_settings
from anydeploy.connectors._slurm_job import OVER, explain_silence, stopped
from anydeploy.connectors._slurm_options import KNOWN, REFUSED, to_script, to_services
from anydeploy.connectors._slurm_queue import job_label
from anydeploy.connectors.slurm import SlurmConnector
from anydeploy.file import FileError, load_file


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
    template = "#!/bin/sh\ncd {{streamflow_workdir}} && {{streamflow_environment}}; {{streamflow_command}}"
    assert to_script(template) == f"#!/bin/sh\n{trap}cd . && :; \0"
    for wrong in ("echo", "{% if x %}{{streamflow_command}}", "{{streamflow_command}} {{other}}"):
        with pytest.raises(ValueError, match="template"):
            to_script(f"#!/bin/sh\n{wrong}\n")


_WRONG_TEMPLATES = {
    None: "No such file or directory",
    "": "does not contain {{streamflow_command}}",
    "#!/bin/sh\necho\n": "does not contain {{streamflow_command}}",
    "#!/bin/sh\n# {{streamflow_command}}\n": "only in a comment",
    "{{streamflow_command}}\n": "has to begin with a line such as `#!/bin/sh`",
    "\n#!/bin/sh\n{{streamflow_command}}\n": "has to begin with a line such as `#!/bin/sh`",
}


@pytest.mark.parametrize("template", _WRONG_TEMPLATES)
@pytest.mark.parametrize(
    ("settings", "place"),
    [({"file": "job.sh"}, ("file",)), ({"services": {"s": {"file": "job.sh"}}}, ("services",))],
)
def test_a_template_that_cannot_be_used_is_a_wrong_setting(tmp_path, settings, place, template):
    if template is not None:
        (tmp_path / "job.sh").write_text(template)
    ((path, found),) = check_settings(SlurmConnector, settings, tmp_path)
    assert path == place
    assert f"the template {tmp_path}/job.sh cannot be used" in found
    assert _WRONG_TEMPLATES[template] in found
    # The directory that it is relative to has to be known.
    assert check_settings(SlurmConnector, settings) == []


def test_a_template_of_an_absolute_path_is_always_checked(tmp_path):
    ((_, found),) = check_settings(SlurmConnector, {"file": f"{tmp_path}/job.sh"})
    assert "No such file or directory" in found


def test_a_file_with_a_template_that_is_missing_is_wrong(tmp_path):
    text = "version: v1.0\ndeployments:\n  c: {type: slurm, config: {file: job.sh}}\n"
    (tmp_path / "stack.yml").write_text(text)
    with pytest.raises(FileError, match=r"stack.yml:3:\d+: .*job.sh cannot be used: No such file"):
        load_file(tmp_path / "stack.yml")
    (tmp_path / "job.sh").write_text("#!/bin/sh\n{{streamflow_command}}\n")
    assert set(load_file(tmp_path / "stack.yml")) == {"c"}


@pytest.mark.anyio
async def test_nothing_is_deployed_for_a_template_that_is_missing(tmp_path):
    login = DeploymentConfig("login", "command", {"deploy": ["true"]})
    cluster = DeploymentConfig("cluster", "slurm", {"file": "job.sh"}, wraps="login")
    events = []
    async with DefaultDeploymentManager([login, cluster], config_dir=tmp_path, on_event=events.append) as manager:
        with pytest.raises(InvalidConfigError, match=r"job\.sh cannot be used"):
            await manager.deploy("cluster")
    assert events == []


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
