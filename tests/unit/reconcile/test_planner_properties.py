"""What holds for every plan, whatever the APP looks like and however its versions behave."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.engines.base import ContainerState
from gateway.model.app import App, Condition, HealthCheck, Restart, Service
from gateway.reconcile.gate import CRASHES
from gateway.reconcile.planner import plan
from gateway.reconcile.steps import Create, Forget, MarkFailed, Pull, Remove, Start, Step, Stop
from gateway.reconcile.view import AppView, Health
from tests.unit.reconcile.world import World

CHECK = HealthCheck(("true",))


@st.composite
def apps(draw: st.DrawFn, version: str = "1") -> App:
    """One to four services; each may depend on those before it."""
    services: list[Service] = []
    for name in "abcd"[: draw(st.integers(1, 4))]:
        depends = {
            other.name: draw(st.sampled_from([Condition.STARTED] + [Condition.HEALTHY] * bool(other.healthcheck)))
            for other in services
            if draw(st.booleans())
        }
        restart = draw(st.sampled_from([Restart.ALWAYS, Restart.UNLESS_STOPPED, Restart.ON_FAILURE]))
        services.append(
            Service(
                name,
                f"registry.test/{name}@sha256:{version * 64}",
                restart=restart,
                standby=restart is not Restart.ON_FAILURE and draw(st.booleans()),
                healthcheck=draw(st.sampled_from([None, CHECK])),
                depends_on=depends,
            )
        )
    return App("app", tuple(services), version)


def sound(view: AppView, step: Step) -> None:
    """What must hold for any step that is about to be done."""
    states = {c.status.id: c for c in view.containers}
    if isinstance(step, Stop | Remove):
        container = states[step.container]
        assert isinstance(step, Stop) == (container.status.state is ContainerState.RUNNING)
        target = next((s for s in view.target.services if s.name == step.service), None) if view.target else None
        running_is_wanted = view.target is not None and not view.stopped and not view.withheld
        if target is not None and view.spare(target) == container:
            assert not running_is_wanted, "a spare waits until it is needed"
        if target is not None and view.current(target) == container and running_is_wanted:
            assert container.health is Health.UNHEALTHY, "what is well and wanted is never touched"
        if isinstance(step, Stop) and view.target is not None and not view.stopped:
            assert not view.missing_images, "the old version runs until the images of the new one are here"
    if isinstance(step, Create | Start):
        service = step.service if isinstance(step, Create) else next(
            s for s in (view.target.services if view.target else ()) if s.name == step.service
        )  # fmt: skip
        assert view.target is not None
        running = [c for c in view.containers if c.status.state is ContainerState.RUNNING]
        if isinstance(step, Create) and step.spare:
            assert service.standby
            assert not view.rolling, "no spare of what has not passed its gate"
            assert view.spare(service) is None, "one spare"
            assert any(c == view.current(service) for c in running), "a spare stands behind one that runs"
        else:
            assert all(c.status.service != service.name for c in running), "never two of one service"
        for name, condition in service.depends_on.items():
            needed = view.current(view.target.service(name))
            assert needed is not None, "what it depends on comes first"
            if isinstance(step, Create):
                assert needed.status.state is ContainerState.RUNNING
                assert condition is not Condition.HEALTHY or needed.health is Health.HEALTHY


def spares(app: App) -> int:
    return sum(service.standby for service in app.services)


def images(app: App) -> dict[str, str]:
    return {service.name: service.image for service in app.services}


@settings(deadline=None)
@given(apps())
def test_a_good_version_comes_to_rest_with_everything_running(app: App) -> None:
    world = World(target=app)
    rest = world.settle(sound)
    assert rest.step is None
    assert world.running() == images(app)
    assert world.good == app
    assert len(world.containers) == len(app.services) + spares(app)
    assert sum(isinstance(step, Create) for step in world.steps) == len(world.containers), "nothing was started twice"
    assert plan(world.view(), world.now + 3600).step is None, "and nothing happens later"


@settings(deadline=None)
@given(apps("1"), apps("2"))
def test_an_update_replaces_everything_and_leaves_nothing_over(old: App, new: App) -> None:
    world = World(target=old)
    world.settle(sound)
    world.target = new
    world.settle(sound)
    assert world.running() == images(new)
    assert len(world.containers) == len(new.services) + spares(new)
    assert world.good == new


@settings(deadline=None)
@given(apps("1"), apps("2"), st.data())
def test_a_version_that_fails_is_rolled_back_once_and_for_all(old: App, new: App, data: st.DataObject) -> None:
    bad = data.draw(st.sampled_from(list(new.services)))
    how = data.draw(st.sampled_from(["crashes", "sick"] if bad.healthcheck else ["crashes"]))
    world = World(target=old, behaviour=lambda image: how if image == bad.image else "good")
    world.settle(sound)
    before = len(world.steps)
    world.target = new
    world.settle(sound)
    assert world.running() == images(old)
    assert world.failed == new.digest
    assert len(world.containers) == len(old.services) + spares(old)
    world.target = old
    assert not world.settle(sound).step
    assert world.running() == images(old)
    steps = world.steps[before:]
    assert sum(isinstance(step, MarkFailed) for step in steps) == 1
    assert sum(isinstance(step, Create) and step.service == bad for step in steps) <= CRASHES


@settings(deadline=None)
@given(apps("1"), apps("2"), st.integers(0, 12))
def test_an_app_that_is_removed_or_stopped_at_any_moment_is_gone(old: App, new: App, moment: int) -> None:
    world = World(target=old)
    world.settle(sound)
    world.target = new
    try:
        world.settle(sound, most=moment)
    except AssertionError as never:
        if "never settles" not in str(never):
            raise
    world.stopped = True
    world.settle(sound)
    assert world.containers == {}
    world.stopped = False
    world.settle(sound)
    assert world.running() == images(new)
    world.target = None
    last = world.settle(sound)
    assert world.containers == {}
    assert isinstance(last.step, Forget)


@settings(deadline=None)
@given(apps())
def test_without_its_images_nothing_is_touched(app: App) -> None:
    world = World(target=app)
    step = plan(world.view(), world.now).step
    assert step == Pull(tuple(sorted(images(app).values())))


@settings(deadline=None)
@given(apps(), st.data())
def test_what_has_a_spare_is_running_again_with_the_next_step(app: App, data: st.DataObject) -> None:
    world = World(target=app)
    world.settle(sound)
    service = data.draw(st.sampled_from(list(app.services)))
    current, spare = world.view().current(service), world.view().spare(service)
    assert current is not None
    assert (spare is not None) == service.standby
    before = len(world.steps)
    world.end(current.status.id)
    world.settle(sound)
    steps = [step for step in world.steps[before:] if getattr(step, "service", "") in (service.name, service)]
    if spare is not None:
        assert steps[:2] == [Start(spare.status.id, service.name), Remove(current.status.id, service.name)]
    assert world.running() == images(app)
    assert len(world.containers) == len(app.services) + spares(app)


@settings(deadline=None)
@given(apps(), st.data())
def test_a_spare_that_ends_harms_nobody_and_is_made_anew(app: App, data: st.DataObject) -> None:
    assume(spares(app))
    world = World(target=app)
    world.settle(sound)
    service = data.draw(st.sampled_from([s for s in app.services if s.standby]))
    spare = world.view().spare(service)
    assert spare is not None
    before = len(world.steps)
    world.end(spare.status.id)
    world.settle(sound)
    made = Create(service, spare.status.generation, spare=True)
    assert world.steps[before:] == [Remove(spare.status.id, service.name), made]
    assert not world.view().past(service.name).failures


@settings(deadline=None)
@given(apps(), st.data())
def test_a_restart_that_is_asked_for_never_runs_two(app: App, data: st.DataObject) -> None:
    world = World(target=app)
    world.settle(sound)
    service = data.draw(st.sampled_from(list(app.services)))
    current = world.view().current(service)
    assert current is not None
    world.memory.restart_requested.add(current.status.id)
    world.settle(sound)
    assert world.running() == images(app)
    assert sum(isinstance(step, Stop) for step in world.steps) == 1
    assert len(world.containers) == len(app.services) + spares(app)
