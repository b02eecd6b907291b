"""The only gate to anything that changes the world.

``request`` binds what is asked for; a person decides in a terminal (:mod:`.terminal`); ``execute``
runs the stored record once. Every move is one transaction, and its audit line is on the disk
before the transaction commits: after a crash the log may tell more than happened, never less.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import ApprovalError
from local_ai_suite.messages import tr

from .binding import bind_record, execution
from .bound import changed
from .clock import SystemClock, expired
from .executors import Failed
from .places import user
from .policy import Judgement, Level, judge
from .redact import redact, redact_value
from .registry import ACTIONS
from .running import StillRunning, running
from .show import display, warnings_of
from .store import OPEN, Request, State, content_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .audit import Audit, Verdict
    from .clock import Clock, Moment
    from .places import Places
    from .policy import Policy
    from .registry import Action
    from .store import Store
    from .terminal import Presence

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no i, l, o, u
_ID_LENGTH = 10
_MINUTE = 60.0
# "Once per session" doesn't outlive a working day.
SESSION_LIFE = 8 * 3600.0


class Gate:
    """Requests, decisions and executions over one queue.

    ``on_step`` is called between the steps of an execution; tests end the process there.
    """

    def __init__(
        self,
        *,
        places: Places,
        store: Store,
        audit: Audit,
        policy: Policy,
        clock: Clock | None = None,
        actions: Mapping[str, Action] = ACTIONS,
        environ: Mapping[str, str] | None = None,
        on_step: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self._places = places
        self._store = store
        self._audit = audit
        self._policy = policy
        self._clock = clock or SystemClock()
        self._actions = actions
        self._environ = os.environ if environ is None else environ
        self._step = on_step

    def close(self) -> None:
        """Close the store; the gate is of no use afterwards."""
        self._store.close()

    # Asking

    def request(
        self,
        action: str,
        arguments: Mapping[str, Any],
        *,
        component: str,
        cwd: Path,
        session: str = "",
        justification: str = "",
    ) -> Request:
        """Put an action into the queue and return at once.

        ``component`` names the part of the suite that asks; with the user it is the principal.
        ``session`` is what "once per session" means for MEDIUM. The answer's state is ``approved``
        when the policy asks nobody, otherwise ``pending``. An identical pending request is
        returned instead of a second one. Raises :class:`ApprovalError` when the policy denies it,
        the arguments don't fit, or a limit is reached.
        """
        kind = self._kind(action)
        record = bind_record(
            kind,
            arguments,
            places=self._places,
            environ=self._environ,
            component=component,
            cwd=cwd,
            session=session,
            justification=justification,
        )
        now = self._clock.now()
        judgement = self._judge(record)
        self.sweep()
        with self._store.transaction():
            same = self._store.find(State.PENDING, content=content_key(record))
            if same:
                return same[0]
            self._check_limits(str(record["principal"]), now)
            request = self._new(record, judgement, now)
            self._store.add(request)
            self._note("requested", request, now)
            if judgement.denied is not None:
                # Kept like any other, so that a flood of denied requests meets the same limits.
                by = "policy: denied"
                request = self._store.move(
                    request, State.REJECTED, decided_by=by, reason=judgement.denied
                )
                self._note("denied", request, now, by=by, reason=judgement.denied)
            elif waived := self._waived(request, now):
                request = self._store.move(
                    request,
                    State.APPROVED,
                    approved=now.as_list(),
                    approved_level=int(request.level),
                    decided_by=waived,
                )
                self._note("approved", request, now, by=waived)
        if judgement.denied is not None:
            raise self._denied(action, judgement.denied)
        return request

    # Deciding

    def approve(self, request_id: str, shown_digest: str, presence: Presence) -> Request:
        """A person at a terminal says yes to exactly what they were shown.

        Raises :class:`ApprovalError` when it isn't pending any more, isn't what was shown, can't
        be shown whole, or its level wants more than ``presence`` proves.
        """
        self.sweep()
        now = self._clock.now()
        with self._store.transaction():
            request = self._store.get(request_id)
            if request.state is not State.PENDING:
                raise ApprovalError(
                    tr(
                        "request {id} is {state} already; nothing was done",
                        id=request.id,
                        state=request.state,
                    ),
                    hint=tr("`lais approvals show {id}` tells what happened to it.", id=request.id),
                )
            judgement = self._judge(request.record)
            self._check_decision(request, shown_digest, presence, judgement)
            request = self._store.move(
                request,
                State.APPROVED,
                approved=now.as_list(),
                approved_level=int(judgement.level),
                decided_by=presence.who,
            )
            self._note("approved", request, now, by=presence.who, level=judgement.level.name)
        return request

    def reject(self, request_id: str, reason: str, who: str = "") -> Request:
        """Say no. Anybody may: it only makes less happen."""
        now = self._clock.now()
        with self._store.transaction():
            request = self._store.get(request_id)
            by = who or user()
            request = self._store.move(request, State.REJECTED, decided_by=by, reason=reason)
            self._note("rejected", request, now, by=by, reason=reason)
        return request

    # Running

    def execute(self, request_id: str) -> Request:
        """Run an approved record, once. Returns it as ``done``, ``failed`` or ``unknown``.

        Raises :class:`ApprovalError` when it may not run; then nothing was run.
        """
        self.sweep()
        identity = self._store.get(request_id).id
        verdict = self._audit.since_approval(identity)
        if not verdict.ok:
            raise ApprovalError(
                tr(
                    "the audit log is not whole ({problem}); nothing is run",
                    problem=verdict.problems[0],
                ),
                hint=tr(
                    "See `lais approvals audit verify`, and docs/guides/approvals.md, 'Broken'."
                ),
            )
        with running(self._places, identity):
            self._step("locked")
            request = self._begin(identity, verdict)
            self._step("begun")
            kind = self._kind(request.action)
            try:
                outcome = kind.execute(execution(kind, request.record, self._environ))
            except Failed as exc:
                state, outcome = State.FAILED, {"error": str(exc)}
            except Exception as exc:  # noqa: BLE001 (whatever it was: nobody knows what happened)
                state, outcome = State.UNKNOWN, {"error": f"{type(exc).__name__}: {exc}"}
            else:
                state = State.DONE
            self._step("executed")
            return self._end(request, state, outcome)

    def sweep(self) -> None:
        """Expire what is over, and mark as ``unknown`` what a crash left ``executing``."""
        now = self._clock.now()
        waiting = self._store.find(*OPEN)
        if not waiting:
            return
        newest = self._audit.newest_wall()
        for request in waiting:
            if request.state is State.EXECUTING:
                self._recover(request, now)
            elif self._over(request, now, newest):
                with self._store.transaction():
                    current = self._store.get(request.id)
                    if current.state is request.state:
                        moved = self._store.move(current, State.EXPIRED)
                        self._note("expired", moved, now)

    # Looking

    def get(self, request_id: str) -> Request:
        """The request ``request_id``. Raises ApprovalError for one that is not there."""
        return self._store.get(request_id)

    def find(self, *states: State) -> list[Request]:
        """The requests in one of ``states`` (all without one), oldest first."""
        return self._store.find(*states)

    def action(self, request: Request) -> Action:
        """What ``request`` would do. Raises ApprovalError for an action nobody knows any more."""
        return self._kind(request.action)

    def verify(self) -> Verdict:
        """Read and check the whole audit log, and the queue's file.

        Raises :class:`ApprovalError` when the queue is damaged.
        """
        self._store.check()
        return self._audit.verify()

    def tampered(self) -> list[str]:
        """Ids of the requests whose rows were changed behind the gate's back."""
        return self._store.tampered()

    def judgement(self, request: Request) -> Judgement:
        """Today's level and reasons: a rule that came later counts."""
        return self._judge(request.record)

    def ends(self, request: Request) -> tuple[Moment, float] | None:
        """Since when, and for how many seconds, it waits; ``None`` when it doesn't."""
        kind = self._kind(request.action)
        if request.state is State.PENDING:
            return request.created, kind.pending_life
        if request.state is State.APPROVED and request.approved:
            level = Level(int(request.progress["approved_level"]))
            return request.approved, kind.life_after_approval(level)
        return None

    def same_unknown(self, request: Request) -> list[Request]:
        """Requests of the same thing whose end nobody knows: it may have happened already."""
        return self._store.find(State.UNKNOWN, content=content_key(request.record))

    # Inside

    def _kind(self, action: str) -> Action:
        try:
            return self._actions[action]
        except KeyError:
            raise ApprovalError(
                tr("there is no action {action!r}", action=action),
                hint=tr("There are: {actions}.", actions=", ".join(self._actions)),
            ) from None

    def _judge(self, record: Mapping[str, Any]) -> Judgement:
        kind = self._kind(str(record["action"]))
        if record["version"] != kind.version:
            asked, known = record["version"], kind.version
            denied = tr(
                "it was asked for version {version}, this is {known}", version=asked, known=known
            )
            return Judgement(kind.level, denied, kind.reasons)
        level, reasons = kind.level, [*kind.reasons, *warnings_of(record)]
        if risk := kind.risk(record["arguments"]):
            level, reasons = max(level, risk.level), [risk.reason, *reasons]
        return judge(self._policy, kind.name, level, record["arguments"], reasons)

    def _denied(self, action: str, why: str) -> ApprovalError:
        return ApprovalError(
            tr("{action} is denied by the policy: {why}", action=action, why=why),
            hint=tr("The policy is {file}; only a person changes it.", file=self._places.policy),
        )

    def _new(self, record: dict[str, Any], judgement: Judgement, now: Moment) -> Request:
        identity = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
        progress = {
            "level": int(judgement.level),
            "reasons": list(judgement.reasons),
            "created": now.as_list(),
        }
        return Request(identity, State.PENDING, record, progress)

    def _check_limits(self, principal: str, now: Moment) -> None:
        if len(self._store.find(State.PENDING)) >= self._policy.most_pending:
            raise ApprovalError(
                tr(
                    "{most} requests wait already; no more are taken",
                    most=self._policy.most_pending,
                ),
                hint=tr("Decide some of them: `lais approvals list`."),
            )
        recent = self._store.count_since(now.wall - _MINUTE, principal)
        if recent >= self._policy.most_per_minute:
            raise ApprovalError(
                tr(
                    "{principal} asked {recent} times within a minute; {most} are allowed",
                    principal=principal,
                    recent=recent,
                    most=self._policy.most_per_minute,
                ),
                hint=tr("Wait a minute."),
            )

    def _waived(self, request: Request, now: Moment) -> str | None:
        """Why nobody needs to be asked, or ``None``."""
        if request.level is Level.LOW:
            return tr("policy: LOW runs")
        if request.level is not Level.MEDIUM:
            return None
        if not self._policy.medium_asks:
            return tr("policy: MEDIUM runs")
        session = request.record["session"]
        used = (State.APPROVED, State.EXECUTING, State.DONE, State.FAILED)
        for other in self._store.find(*used, principal=request.principal) if session else ():
            if (
                other.action == request.action
                and other.record["session"] == session
                and other.level is Level.MEDIUM
                and other.approved
                and not str(other.progress["decided_by"]).startswith("policy:")
                and not expired(other.approved, SESSION_LIFE, now, self._audit.newest_wall())
            ):
                return tr("policy: MEDIUM, approved once in this session ({id})", id=other.id)
        return None

    def _check_decision(
        self, request: Request, shown_digest: str, presence: Presence, judgement: Judgement
    ) -> None:
        if judgement.denied is not None:
            raise self._denied(request.action, judgement.denied)
        if shown_digest != request.digest:
            raise ApprovalError(
                tr("request {id} is not what was shown; nothing was approved", id=request.id),
                hint=tr("Look again: `lais approvals show {id}`.", id=request.id),
            )
        if presence.request_id != request.id or presence.level < judgement.level:
            level = judgement.level.name
            raise ApprovalError(
                tr("{id} is {level}: that takes more than was given", id=request.id, level=level),
                hint=tr("Approve it in a terminal: `lais approvals approve {id}`.", id=request.id),
            )
        kind = self._kind(request.action)
        if not display(request, kind, judgement).complete:
            raise ApprovalError(
                tr(
                    "request {id} is too large to be shown whole, so it can't be approved",
                    id=request.id,
                ),
                hint=tr("Ask for something smaller."),
            )

    def _begin(self, identity: str, verdict: Verdict) -> Request:
        """The one move ``approved -> executing``; everything is checked again under the lock."""
        now = self._clock.now()
        stopped: str | None = None
        with self._store.transaction():
            request = self._store.get(identity)
            if request.state is not State.APPROVED:
                raise ApprovalError(
                    tr(
                        "request {id} is {state}, not approved; nothing was run",
                        id=request.id,
                        state=request.state,
                    ),
                    hint=tr("`lais approvals show {id}` tells what happened to it.", id=request.id),
                )
            if self._over(request, now, self._audit.newest_wall()):
                raise ApprovalError(
                    tr("the approval of {id} has expired; nothing was run", id=request.id),
                    hint=tr("Ask for it again."),
                )
            state = State.REJECTED
            if self._was_begun(request, verdict):
                state = State.UNKNOWN
                stopped = tr("the audit log says that it was begun before")
            elif stopped := self._objection(request, verdict):
                pass
            else:
                state = State.EXECUTING
            request = self._store.move(request, state, **({"reason": stopped} if stopped else {}))
            self._step("moved")
            self._note(str(state), request, now, **({"reason": stopped} if stopped else {}))
            self._step("noted")
        if stopped:
            raise ApprovalError(
                tr("request {id} is not run: {stopped}", id=request.id, stopped=stopped),
                hint=tr("Look, and ask for it again."),
            )
        return request

    def _was_begun(self, request: Request, verdict: Verdict) -> bool:
        events = verdict.events_of(request.id)
        return any(entry["event"] in {"executing", "unknown"} for entry in events)

    def _objection(self, request: Request, verdict: Verdict) -> str | None:
        """Why an approved record may not run now, or ``None``."""
        known = {
            entry["event"]
            for entry in verdict.events_of(request.id)
            if entry.get("digest") == request.digest
        }
        if "approved" not in known:
            return tr("the audit log doesn't know that it was approved")
        judgement = self._judge(request.record)
        if judgement.denied is not None:
            return tr("denied by the policy: {denied}", denied=judgement.denied)
        if judgement.level > int(request.progress["approved_level"]):
            level = judgement.level.name
            return tr("its level is {level} now, and it was approved for less", level=level)
        if path := changed(request.record["files"]):
            return tr("{path} is not what it was when it was approved", path=path)
        if not Path(request.record["cwd"]).is_dir():
            return tr("the working directory {cwd} is gone", cwd=request.record["cwd"])
        return None

    def _end(self, request: Request, state: State, outcome: dict[str, Any]) -> Request:
        now = self._clock.now()
        with self._store.transaction():
            done = self._store.move(request, state, outcome=redact_value(outcome))
            self._step("ended")
            self._note(str(state), done, now, outcome=outcome)
        self._step("recorded")
        return done

    def _over(self, request: Request, now: Moment, newest_wall: float) -> bool:
        waits = self.ends(request)
        return waits is not None and expired(*waits, now, newest_wall)

    def _recover(self, request: Request, now: Moment) -> None:
        try:
            with running(self._places, request.id), self._store.transaction():
                current = self._store.get(request.id)
                if current.state is State.EXECUTING:
                    reason = tr("the process that ran it ended in the middle")
                    moved = self._store.move(current, State.UNKNOWN, reason=reason)
                    self._note("unknown", moved, now, reason=reason)
        except StillRunning:
            pass

    def _note(self, event: str, request: Request, now: Moment, **facts: Any) -> None:
        title = redact(self._kind(request.action).title(request.arguments))
        self._audit.append(
            event, request.id, now, action=request.action, digest=request.digest,
            principal=request.principal, title=title, **facts,
        )  # fmt: skip
