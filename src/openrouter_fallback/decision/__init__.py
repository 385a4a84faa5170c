"""The decision of one call: events in, commands out. Pure: no I/O, no event loop, no clock.

`failover.Failover` is a machine in the manner of h11. Each event gets the time as an argument and returns one command.
`call.steps` feeds the machine and carries the commands out; the tests do the same in virtual time.

States, and what may come in each. An event that calls for a command and cannot come raises `WrongOrder`; what an
attempt tells after it was overtaken is ignored:

    new        `begin`, once.
    asking     at least one attempt is under way. Of an attempt, by its number: `reached` (an HTTP status), `reasons`,
               `first_token`, then `succeeded`, `failed` or `withheld` (not sent: the call may not pay for it);
               `chosen`: the call goes on with its whole answer. Of the call: `beside`, when `beside_at` has come;
               `probe`, when a probe may be made by now.
    waiting    no attempt is under way: `woke`, at the time that the machine has named.
    done       nothing, except `left`, which changes nothing.

    `out_of_time` (asking and waiting): the call's deadline has passed. `left` (any state): the caller has gone.
    `streamed` and `delivered` say what the caller has in hands, `held` for how long it held a piece.

Commands:

    StartAttempt   send this request to this candidate, with these deadlines       -> asking
    KeepWaiting    start nothing: another attempt is under way                     -> asking
    SleepUntil     call no model until then                                        -> waiting
    Succeed        the call is answered                                            -> done
    Fail           the call has failed: why, which failure decided, who was skipped -> done

    new ──> begin ──> StartAttempt ──┬─ succeeded ──> Succeed
                                     ├─ failed ─────> StartAttempt | KeepWaiting | SleepUntil | Fail
                                     └─ beside ─────> StartAttempt, beside the silent or slow ones, and probes
            SleepUntil ──> woke ──> StartAttempt | SleepUntil | Fail

Which model is next (`rounds.following`), each step only where the one before finds no candidate:

    1. the first untried candidate of the chain whose circuit is closed, or due for a probe;
    2. later rounds: a candidate whose failure may pass, the soonest ready first, after its backoff;
    3. candidates with an open circuit, or that are known to lack what the request needs;
    4. candidates that cool down: waited for up to `rounds.LONGEST_COOLDOWN_SECONDS`, then called all the same.

A failure passes through two tables first: `learning.learn` tells health what it shows, and the `Rule` of its kind says
whether the same model comes first (`rounds.same_again`) and what it means for the others (`learning.put_aside`).

Promises:

1. Health, budgets and circuits order and delay. They refuse no call that a candidate could answer, except where the
   user's own rules say so (`disable`, `policy: any_error`, a retry budget of 0).
2. One call tells health one outcome per model, however often the model was called, at the latest when the call ends.
3. Every attempt ends once in health: as a success, as a failure, or as neither, and so does its place in a probe.
4. The first first token wins; the other attempts are abandoned, but for probes: those run on, detached, until they have
   shown whether their model answers (`detached`). Past half of a whole call's time the first whole answer wins
   instead, and failed models are called again beside a silent last candidate.
5. Silence alone ends no attempt that may still answer: another model is called beside it. Exceptions: a time that the
   user has set, `policy: any_error`, and requests that must not run twice at a time.
6. Once text is delivered, no model starts over: one that can continue does, or the call ends.
7. Where an endpoint refuses what this library added (a prefill, a form of history, a parameter), the request is sent
   again without it, at once. That is no failure of the model and uses up no attempt.
8. A probe costs the caller no more than half a second, where another candidate is ready and may be called beside it.
9. Nothing is started after the call's deadline.

Where the tables are: `failures/policy.py` (kind of failure -> rule), `timeouts` (seconds), `starting` (what an attempt
starts with), `tests/cases/timelines/` and `tests/cases/hedges.py` (calls as rows), `docs/how-it-decides.md` (users).
"""
