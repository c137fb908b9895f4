"""The tag table: the latest sample of every tag, and who wants to hear of new ones.

The last writer wins, whoever it is: the table judges neither times nor rights (`pipeline/` keeps re-sent history away
from it, `esdk_server/` checks grants). Bounded in tags, in tags per owner and in subscriptions. Belongs to one event
loop; no method waits. Used by `pipeline/` (publishes), `esdk_server/` and `admin_api/` (read).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.errors import Conflict, InvalidInput, Unavailable
from gateway.model.names import is_tag, is_tag_pattern, tag_matches
from gateway.model.tags import Sample
from gateway.tags.subscription import Subscription

MAX_TAGS: Final = 10_000
"""About 4 MB with short names and numbers."""
MAX_TAGS_PER_OWNER: Final = 2_000
MAX_SUBSCRIPTIONS: Final = 128
MAX_PATTERNS: Final = 64
"""Of one subscription or selection."""


class TagTable:
    """`max_tags` bounds the table, `max_tags_per_owner` what one service may hold of it."""

    def __init__(self, max_tags: int = MAX_TAGS, max_tags_per_owner: int = MAX_TAGS_PER_OWNER) -> None:
        self._max_tags = max_tags
        self._max_tags_per_owner = max_tags_per_owner
        self._latest: dict[str, Sample] = {}
        self._held: dict[str, int] = {}
        self._owners: frozenset[str] = frozenset()
        self._subscriptions: list[Subscription] = []
        self._routes: dict[str, tuple[Subscription, ...]] = {}

    def __len__(self) -> int:
        return len(self._latest)

    def get(self, tag: str) -> Sample | None:
        """The latest sample of `tag`, or None."""
        return self._latest.get(tag)

    def select(self, patterns: Iterable[str]) -> list[Sample]:
        """The latest samples of all tags that match one of `patterns`, by tag. InvalidInput for a bad pattern."""
        wanted = _checked(patterns)
        found = {
            pattern: self._latest[pattern]
            for pattern in wanted
            if "#" not in pattern and "+" not in pattern and pattern in self._latest
        }
        wild = [pattern for pattern in wanted if "#" in pattern or "+" in pattern]
        if wild:
            found |= {tag: s for tag, s in self._latest.items() if any(tag_matches(p, tag) for p in wild)}
        return [found[tag] for tag in sorted(found)]

    def keep(self, owners: Iterable[str]) -> None:
        """These owners are present. Tags of others stay readable until their room is needed."""
        self._owners = frozenset(owners)

    def admit(self, samples: Sequence[Sample]) -> None:
        """Check that `publish(samples)` will do, and make room for it.

        InvalidInput: not a tag name. Conflict: the table, or the owner's part of it, has no room for a new tag.
        """
        latest = self._latest
        new: dict[str, str] = {}
        for sample in samples:
            known = latest.get(sample.tag)
            if known is None or known.source != sample.source:
                new[sample.tag] = sample.source
        if new:
            self._admit_new(new)

    def publish(self, samples: Sequence[Sample]) -> None:
        """Make each the latest of its tag and tell the subscribers. All or nothing; errors as in `admit`."""
        self.admit(samples)
        latest, routes = self._latest, self._routes
        for sample in samples:
            tag = sample.tag
            known = latest.get(tag)
            if known is None or known.source != sample.source:
                self._move(known, sample)
            latest[tag] = sample
            route = routes.get(tag)
            if route is None:
                route = self._route(tag)
            for subscription in route:
                subscription.put(sample)

    def subscribe(self, patterns: Iterable[str], limit: int) -> Subscription:
        """News of tags that match one of `patterns`, from now on, at most `limit` unread. Close it when done.

        InvalidInput: a bad pattern. Unavailable: too many subscriptions are open.
        """
        wanted = _checked(patterns)
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise Unavailable(f"cannot subscribe to tags: {MAX_SUBSCRIPTIONS} subscriptions are open already")
        subscription = Subscription(wanted, max(1, limit), self._unsubscribe)
        self._subscriptions.append(subscription)
        self._routes.clear()
        return subscription

    def _unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.remove(subscription)
        self._routes.clear()

    def _route(self, tag: str) -> tuple[Subscription, ...]:
        """Who hears of `tag`: worked out once per tag, anew when a subscription comes or goes."""
        route = tuple(s for s in self._subscriptions if s.matches(tag))
        self._routes[tag] = route
        return route

    def _admit_new(self, new: dict[str, str]) -> None:
        """`new`: tag -> owner, of tags that are new or change hands."""
        arriving: dict[str, int] = {}
        for tag, owner in new.items():
            if not is_tag(tag):
                raise InvalidInput(f"cannot publish tag {tag[:80]!r}: it is not a tag name")
            arriving[owner] = arriving.get(owner, 0) + 1
        for owner, count in arriving.items():
            if self._held.get(owner, 0) + count > self._max_tags_per_owner:
                raise Conflict(f"cannot publish tags of {owner}: it may hold {self._max_tags_per_owner} at most")
        created = sum(1 for tag in new if tag not in self._latest)
        if created and len(self._latest) + created > self._max_tags:
            self._evict(new)
            created = sum(1 for tag in new if tag not in self._latest)
            if len(self._latest) + created > self._max_tags:
                raise Conflict(f"cannot publish {created} new tags: the table holds {self._max_tags} at most")

    def _evict(self, spared: Iterable[str]) -> None:
        """Forget the tags of owners that are no longer present, except `spared`."""
        stay = set(spared)
        for tag, sample in list(self._latest.items()):
            if sample.source not in self._owners and tag not in stay:
                self._release(sample.source)
                del self._latest[tag]
                self._routes.pop(tag, None)

    def _move(self, known: Sample | None, sample: Sample) -> None:
        if known is not None:
            self._release(known.source)
        self._held[sample.source] = self._held.get(sample.source, 0) + 1

    def _release(self, owner: str) -> None:
        left = self._held[owner] - 1
        if left:
            self._held[owner] = left
        else:
            del self._held[owner]


def _checked(patterns: Iterable[str]) -> tuple[str, ...]:
    checked = tuple(patterns)
    if len(checked) > MAX_PATTERNS:
        raise InvalidInput(f"cannot select tags: more than {MAX_PATTERNS} patterns")
    for pattern in checked:
        if not is_tag_pattern(pattern):
            raise InvalidInput(f"cannot select tags: {pattern[:80]!r} is not a tag pattern")
    return checked
