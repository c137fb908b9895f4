"""Why: one test per cause, from what is seen to its root."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from gateway.engines.base import ContainerState, ContainerStatus
from gateway.model.app import App, Condition, HealthCheck, Restart, Service
from gateway.model.causes import Cause, CauseKind, Explanation, Link, lines
from gateway.model.wire import from_wire, to_wire
from gateway.operations.explain import Surroundings, explain, not_deployed, troubled
from gateway.reconcile.memory import AppMemory
from gateway.reconcile.records import AppRecord, Pin
from gateway.reconcile.situation import Pulling, Refusal, Situation
from gateway.reconcile.steps import Create, Pull, Remove, Start, Stop
from gateway.reconcile.view import AppView, ContainerView, Health, HostView, ServiceHistory, service_digest

NOW, NOW_NS = 1000.0, 1_795_592_520_000_000_000
IMAGE = "registry.example/apps/reader:1.0"
CHECK = HealthCheck(("true",))
READER = Service("reader", f"{IMAGE}@sha256:{'0' * 64}", restart=Restart.ALWAYS, healthcheck=CHECK)
DB = replace(READER, name="db")
APP = App("meter", (READER,), "1.0")
PAIR = App("meter", (replace(READER, depends_on={"db": Condition.HEALTHY}), DB), "1.0")
NOTHING = Surroundings()
DOWN = Link("lte0", False, NOW_NS - 60 * 10**9)


def container(service: Service, state: ContainerState = ContainerState.RUNNING, **changes: object) -> ContainerView:
    known = {"health": Health.HEALTHY, "health_reason": ""}
    view = {key: changes.pop(key) for key in list(changes) if key in known}
    status = ContainerStatus("meter", service.name, 1, service_digest("meter", service), state, 7, started_ns=5)
    return ContainerView(replace(status, **changes), **{**known, **view})  # type: ignore[arg-type]


def situation(view: AppView, **changes: object) -> Situation:
    return Situation(view, AppRecord(), "cloud", NOW, "1.0", **changes)  # type: ignore[arg-type]


def why(known: Situation, around: Surroundings = NOTHING) -> Explanation:
    explanation = explain(known, around)
    assert from_wire(Explanation, to_wire(explanation)) == explanation
    return explanation


def only(explanation: Explanation) -> tuple[Cause, ...]:
    (chain,) = explanation.chains
    return chain


def test_what_is_well_says_since_when() -> None:
    explanation = why(situation(AppView("meter", APP, containers=(container(READER, started_ns=NOW_NS),))))
    assert explanation.well
    assert only(explanation) == (Cause(CauseKind.RUNS, "version 1.0 healthy", since_ns=NOW_NS),)
    (line,) = lines(explanation, NOW_NS)
    assert line == f"meter: version 1.0 healthy since {time.strftime('%H:%M', time.localtime(NOW_NS // 10**9))}"
    (line,) = lines(explanation, NOW_NS + 2 * 86_400 * 10**9)
    assert line.endswith(time.strftime("since %Y-%m-%d %H:%M", time.localtime(NOW_NS // 10**9)))


def test_an_app_that_ended_well_has_done_its_work() -> None:
    once = App("meter", (replace(READER, restart=Restart.NO),), "1.0")
    view = AppView("meter", once, containers=(container(once.services[0], ContainerState.EXITED, exit_code=0),))
    assert why(situation(view)).well
    assert only(why(situation(view)))[0].text == "version 1.0 has done its work"


def test_a_pull_says_layer_and_bytes_and_the_link_that_is_down() -> None:
    view = AppView("meter", APP, missing_images=frozenset({READER.image}))
    pulling = Pulling(IMAGE, "pulling layer 7 of 12", 7, 12, 3_100_000, 9_800_000, "cannot reach registry.example")
    explanation = why(situation(view, pulling=pulling, step=Pull((READER.image,))), Surroundings((DOWN,)))
    seen, registry, link = only(explanation)
    assert seen.text == f"waiting for layer 7/12 of {IMAGE}, 3.1 of 9.8 MB"
    assert (registry.kind, registry.text) == (CauseKind.REGISTRY, "cannot reach registry.example")
    assert (link.kind, link.subject, link.text) == (CauseKind.LINK, "lte0", "link lte0 down")
    (line,) = lines(explanation, NOW_NS)
    at = time.strftime("%H:%M", time.localtime(DOWN.since_ns // 10**9))
    assert line == f"meter: {seen.text}; cannot reach registry.example; link lte0 down since {at}"


def test_a_pull_that_moves_has_no_further_cause() -> None:
    view = AppView("meter", APP, missing_images=frozenset({READER.image}), containers=(container(DB),))
    pulling = Pulling(IMAGE, "unpacking layer 1 of 2", 1, 2, 1_000_000, 2_000_000)
    (cause,) = only(why(situation(view, pulling=pulling), Surroundings((DOWN,))))
    assert cause.text == f"unpacking layer 1/2 of {IMAGE}, 1.0 of 2.0 MB; the version before goes on meanwhile"
    asking = replace(pulling, layers=0, text="asking registry.example for the manifest")
    (cause,) = only(why(situation(view, pulling=asking)))
    assert "asking registry.example for the manifest" in cause.text
    (cause,) = only(why(situation(view)))
    assert "the pull is about to begin" in cause.text


def test_a_pull_that_failed_says_why_and_when_it_is_tried_again() -> None:
    memory = AppMemory(lambda: 0.5)
    memory.note_failed_pull("cannot reach registry.example", NOW)
    view = AppView(
        "meter", APP, missing_images=frozenset({READER.image}), pull_error=memory.pull_error,
        pull_not_before=memory.pull_not_before,
    )  # fmt: skip
    broker = Link("to the broker", False, NOW_NS, "disconnected")
    seen, failed, link = only(why(situation(view), Surroundings((DOWN, replace(DOWN, name="eth0", up=True)), broker)))
    assert seen.text == f"waiting for {IMAGE}"
    assert (failed.kind, failed.text, failed.next_try_s) == (CauseKind.PULL_FAILED, "cannot reach registry.example", 2)
    assert link.text == "link to the broker down: disconnected", "eth0 leads out: lte0 is not to blame"
    gone = Surroundings((replace(DOWN, name="eth0", since_ns=5), DOWN), broker)
    *_, link = only(why(situation(view), gone))
    assert (link.text, link.since_ns) == ("link lte0 and all others down", DOWN.since_ns)
    assert len(only(why(situation(view), Surroundings(broker=replace(broker, up=True))))) == 2


def test_memory_and_disk_are_no_links_fault() -> None:
    memory = AppMemory(lambda: 0.5)
    memory.note_failed_pull("cannot start meter: its memory limits are 64 MiB", NOW, exhausted=True)
    view = AppView(
        "meter", APP, missing_images=frozenset({READER.image}), pull_error=memory.pull_error,
        pull_not_before=memory.pull_not_before, pull_exhausted=memory.pull_exhausted,
    )  # fmt: skip
    _, exhausted = only(why(situation(view), Surroundings((DOWN,))))
    assert (exhausted.kind, exhausted.next_try_s) == (CauseKind.EXHAUSTED, 2)


def test_a_dependency_is_followed_to_its_root_and_told_once() -> None:
    history = {"db": ServiceHistory(3, NOW + 12, "ended with exit code 1")}
    ended = container(DB, ContainerState.EXITED, exit_code=1, finished_ns=9)
    known = situation(AppView("meter", PAIR, containers=(ended,), history=history))
    assert troubled(known) == [("db", "meter.db.1")]
    chain = only(why(known, Surroundings(printed={"db": ("no space left on device",)})))
    assert [cause.text for cause in chain] == [
        "reader is waiting for db to be healthy",
        "db ended with exit code 1, 3 times in a row",
    ]
    assert chain[1] == Cause(
        CauseKind.ENDED, chain[1].text, "db", since_ns=9, next_try_s=12, details=("no space left on device",)
    )


def test_a_service_that_lives_in_another_ones_container_waits_for_that() -> None:
    guest = replace(READER, host="tools/main")
    (cause,) = only(why(situation(AppView("meter", App("meter", (guest,), "1.0")))))
    assert cause.text == "reader is waiting for its host tools/main to run"
    hosts = {"reader": HostView(reason="tools/main does not take guests of cloud")}
    (cause,) = only(why(situation(AppView("meter", App("meter", (guest,), "1.0"), hosts=hosts))))
    assert cause.text == "reader must wait: tools/main does not take guests of cloud"


def test_a_service_that_is_not_well_for_itself_has_a_chain_of_its_own() -> None:
    sick = container(READER, health=Health.UNHEALTHY, health_reason="health check: exit code 1: no meter")
    both = App("meter", (READER, DB), "1.0")
    history = {"db": ServiceHistory(1, NOW - 1, "cannot run crun: no such program")}
    first, second = why(situation(AppView("meter", both, containers=(sick,), history=history))).chains
    assert first[0].text == "db cannot be started: cannot run crun: no such program"
    assert second[0].text == "reader is unhealthy: health check: exit code 1: no meter"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"exit_code": 137, "oom_killed": True}, "reader killed by the kernel: out of its memory limit"),
        ({"exit_code": 139}, "reader ended by signal 11"),
        ({"exit_code": 3}, "reader ended with exit code 3"),
    ],
)
def test_an_end_says_how(changes: dict[str, object], text: str) -> None:
    history = {"reader": ServiceHistory(1, NOW + 5)}
    ended = container(READER, ContainerState.EXITED, **changes)
    (cause,) = only(why(situation(AppView("meter", APP, containers=(ended,), history=history))))
    assert (cause.kind, cause.text, cause.next_try_s) == (CauseKind.ENDED, text, 5)
    once = replace(READER, restart=Restart.NO)
    ended = container(once, ContainerState.EXITED, **changes)
    (cause,) = only(why(situation(AppView("meter", App("meter", (once,), "1.0"), containers=(ended,)))))
    assert (cause.text, cause.next_try_s) == (f"{text}; its restart policy lets it be", None)


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Create(READER, 1), "reader is about to start; its container is being created"),
        (Start("meter.reader.1", "reader"), "reader is about to start; it is being started"),
        (Stop("meter.reader.1", "reader", 9, "replaced"), "reader is about to start; it is being stopped (it has 9 s)"),
        (Remove("meter.reader.1", "reader"), "reader is about to start; its old container is being removed"),
        (Remove("meter.db.1", "db"), "reader is about to start"),
    ],
)  # fmt: skip
def test_what_is_being_done_is_told(step: object, text: str) -> None:
    (cause,) = only(why(situation(AppView("meter", APP), step=step)))
    assert (cause.kind, cause.text) == (CauseKind.STARTING, text)


def test_a_health_check_that_has_not_passed_yet() -> None:
    young = container(READER, health=Health.STARTING, health_reason="health check: exit code 1: starting")
    (cause,) = only(why(situation(AppView("meter", APP, containers=(young,)))))
    assert cause.text == "reader runs, but its health check has not passed yet: health check: exit code 1: starting"


def test_withheld_by_the_profile_names_the_key() -> None:
    reason = "the profile's authorities.cloud.serial would allow it"
    (cause,) = only(why(situation(AppView("meter", APP, withheld=reason))))
    assert (cause.kind, cause.text) == (CauseKind.WITHHELD, f"withheld: {reason}")


def test_stopped_by_the_operator_is_as_it_should_be() -> None:
    explanation = why(situation(AppView("meter", APP, stopped=True)))
    assert explanation.well
    assert only(explanation)[0].kind is CauseKind.STOPPED


def test_rolled_back_says_which_version_and_why() -> None:
    view = AppView("meter", APP, rolled_back=True, containers=(container(READER),))
    known = replace(
        situation(view), desired_version="2.0", record=AppRecord(good=APP, failed_reason="reader: unhealthy: no meter")
    )
    explanation = why(known)
    assert explanation.well
    _, (seen, root) = explanation.chains
    assert seen.text == "version 2.0 is not what runs, but the last good one, 1.0"
    assert root.text == "reader: unhealthy: no meter"


def test_pinned_says_by_whom_and_what_waits() -> None:
    view = AppView("meter", APP, held=True, containers=(container(READER),))
    known = replace(situation(view), desired_version="2.0", pin=Pin(APP, "cloud", "the operator", NOW_NS))
    _, (cause,) = why(known).chains
    assert cause.text == "version 1.0 is pinned by the operator; version 2.0 waits until it is unpinned"
    assert cause.since_ns == NOW_NS


def test_a_refused_desired_state_is_told_beside_what_runs() -> None:
    refusal = Refusal(
        "cloud", "cannot accept the desired state: 1 problem\n  apps.meter.x: bad", "invalid_input", NOW_NS
    )
    _, (cause,) = why(
        situation(AppView("meter", APP, containers=(container(READER),))), Surroundings(refusal=refusal)
    ).chains
    assert cause.text == (
        "the last desired state of cloud was refused: cannot accept the desired state: 1 problem apps.meter.x: bad"
    )


def test_an_app_that_is_not_here_is_explained_by_the_refusal_that_names_it() -> None:
    refusal = Refusal("cloud", "cannot accept it:\n  apps.meter.services.reader.ports: not supported", "x", 1)
    explanation = not_deployed("meter", [refusal])
    assert explanation is not None
    assert [cause.kind for cause in only(explanation)] == [CauseKind.NOT_DEPLOYED, CauseKind.REFUSED]
    assert not_deployed("other", [refusal]) is None
    assert not_deployed("met", [refusal]) is None


def test_an_engine_that_does_not_answer_comes_first() -> None:
    view = AppView("meter", APP, containers=(container(READER),))
    explanation = why(situation(view, engine_error="cannot reach docker.sock", engine_error_ns=NOW_NS))
    assert not explanation.well
    assert only(explanation)[0].text == "the engine does not tell what runs: cannot reach docker.sock"


def test_one_engine_of_several_that_is_away_hides_only_its_own() -> None:
    both = App("meter", (READER, DB), "1.0")
    view = AppView("meter", both, containers=(container(READER),), away={"db": "cannot reach docker.sock"})
    (cause,) = only(why(situation(view)))
    assert (cause.kind, cause.text) == (CauseKind.ENGINE, "nothing is known of db: cannot reach docker.sock")


def test_one_that_nobody_wants_is_being_removed() -> None:
    (cause,) = only(why(situation(AppView("meter", None, containers=(container(READER),)))))
    assert (cause.kind, cause.text) == (
        CauseKind.REMOVING, "nobody wants it here any more: 1 container(s) left to remove",
    )  # fmt: skip


def test_a_terminal_is_not_sent_what_an_app_printed() -> None:
    cause = Cause(CauseKind.ENDED, "reader ended", details=("\x1b[2Jboo",))
    assert list(lines(Explanation("meter", False, ((cause,),)), NOW_NS)) == ["meter: reader ended", "    |  [2Jboo"]
