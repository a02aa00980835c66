"""D1-D7, R1-R4, U1-U8, M3, L1, L2, E1: which of the rules StreamFlow's own deployment manager keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

pytest.importorskip("streamflow")

from anydeploy.testing.conformance import ManagerSuite

from .subjects import ReferenceSubject


class TestReference(ManagerSuite):
    subject = ReferenceSubject()
    known_failures: ClassVar[Mapping[str, str]] = {
        "D1-a_wrapper_waits_for_what_another_caller_brings_up": "the wrapper is deployed upon what is still coming up",
        "D3-a_new_deploy_waits_for_the_teardown": "the new one comes up beside the old one that goes down",
        "D4-a_cycle_is_refused": "the caller waits for ever",
        "D4-a_deployment_that_wraps_itself_is_refused": "the caller waits for ever",
        "D4-an_unknown_dependency_is_refused": "it is refused once, and then the callers wait for ever",
        "D4-an_unknown_type_is_refused": "it raises a KeyError",
        "D4-wraps_on_what_cannot_wrap_is_refused": "it is deployed all the same",
        "D4-another_definition_of_a_live_name_is_refused": "the other definition is ignored",
        "D5-every_waiting_caller_is_told": "the first caller gets what the connector raised, the others no cause",
        "D5-what_failed_is_cleaned_away": "what a failed deploy has half made stays",
        "D5-what_failed_can_be_deployed_again": "the name cannot be deployed any more",
        "D5-a_newcomer_does_not_share_the_failure": "the newcomer shares the failure",
        "D5-what_wraps_it_fails_with_it": "the caller gets what the connector raised, and cannot deploy it any more",
        "D5-what_came_up_for_it_goes_down_again": "what came up for it stays",
        "D5-a_constructor_may_fail_as_well": "the caller gets what the connector raised, and cannot deploy it any more",
        "D6-others_do_not_notice_a_cancelled_caller": "the deploy is cancelled with its first caller, the others hang",
        "D6-what_nobody_wants_is_given_up": "what a cancelled deploy has half made stays",
        "D6-a_newcomer_does_not_join_what_is_given_up": "what a cancelled deploy has half made stays",
        "D6-a_cancelled_caller_leaves_nothing_below": "what came up for it stays",
        "D6-a_name_can_be_deployed_after_a_cancellation": "the next caller waits for ever",
        "D7-a_constructor_may_raise_anything": "a SystemExit ends the event loop",
        "D7-a_deploy_may_raise_anything": "a SystemExit ends the event loop",
        "D7-a_teardown_may_raise_anything": "a SystemExit ends the event loop",
        "R1-a_connector_is_there_while_it_is_live": "the connector is shown before it is up",
        "R1-what_is_withdrawn_is_not_shown": "the connector is shown after undeploy",
        "R3-nothing_goes_from_under_a_stack": "the bottom of a stack of three is torn down",
        "R4-what_goes_down_cannot_be_used": "the connector works on",
        "U3-concurrent_undeploys_take_it_down_once": "the later callers return before it is down",
        "U4-undeploying_what_comes_up_tells_those_who_wait": "undeploy waits until it is up",
        "U4-undeploying_what_comes_up_for_another_one_does_not": "undeploy waits until it is up",
        "U5-a_teardown_goes_on_when_its_caller_is_cancelled": "the teardown is cancelled with its caller",
        "U5-the_others_wait_for_a_teardown_on": "the teardown is cancelled with its caller",
        "U6-a_failed_teardown_is_tried_again": "a failed teardown is forgotten",
        "U6-a_failed_teardown_is_told_to_everybody": "only the first caller is told",
        "U6-deploying_what_is_stuck_tears_it_down_first": "the new one comes up beside what is left of the old one",
        "U6-what_is_stuck_keeps_what_it_stands_on": "a failed teardown is forgotten",
        "U6-what_follows_and_fails_is_named": "the failure is not told",
        "U6-the_cleanup_of_a_failure_may_fail": "what a failed deploy has half made stays",
        "U7-everything_goes_down_from_above": "everything goes down at once",
        "U7-all_errors_come_out_together": "only one error comes out",
        "U7-undeploying_everything_gives_up_what_comes_up": "undeploy_all waits until it is up",
        "U8-closing_gives_up_what_comes_up": "close waits until it is up",
        "U8-nothing_is_deployed_after_closing": "it goes on to deploy",
        "U8-closing_tries_a_last_time": "a failed teardown is forgotten, and what lies below it stays up",
        "L1-the_first_use_brings_it_up": "what it stands on is not brought up",
        "L1-a_failed_use_is_told": "the first user gets what the connector raised",
        "L1-the_use_after_a_failure_tries_again": "a use after a failure fails at once",
        "L1-others_do_not_notice_a_cancelled_use": "the other users wait for ever",
    }


def test_the_documentation_names_scenarios_that_fail():
    page = Path(__file__).parents[2] / "docs" / "streamflow.md"
    named = re.findall(r"`([A-Z]\d-\w+)`", page.read_text())
    assert named
    assert set(named) <= set(TestReference.known_failures)
