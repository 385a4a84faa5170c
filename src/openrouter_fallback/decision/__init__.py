"""The decision of one call: events in, commands out. Pure: no I/O, no event loop, no clock.

`failover.Failover` is a machine in the manner of h11. Each event gets the time as an argument and returns one command.
`call.steps` feeds the machine and carries the commands out; the tests do the same in virtual time.

States, and the events of each. An event that needs a command, in the wrong state, raises `WrongOrder`; events of an
overtaken attempt are ignored:

    new        `begin`, once.
    asking     at least one attempt is under way. Of an attempt, by its number: `reached` (an HTTP status), `reasons`,
               `first_token`, then `succeeded`, `failed` or `withheld` (not sent: over a spend limit);
               `chosen`: the call takes its complete answer. Of the call: `beside`, at `beside_at`; `probe`, when
               this process may make a probe.
    waiting    no attempt is under way: `woke`, at the time of `SleepUntil`.
    done       none, except `left`, which changes nothing.

    `out_of_time` (asking and waiting): the call's deadline has passed. `left` (any state): the caller has left.
    `streamed` and `delivered`: what the caller has received; `held`: for how long the caller held a piece.

Commands:

    StartAttempt   send this request to this candidate, with these deadlines       -> asking
    KeepWaiting    start no attempt: another one is under way                      -> asking
    SleepUntil     call no model until then                                        -> waiting
    Succeed        the call is answered                                            -> done
    Fail           the call has failed: why, by which failure, and skipped models  -> done

    new ──> begin ──> StartAttempt ──┬─ succeeded ──> Succeed
                                     ├─ failed ─────> StartAttempt | KeepWaiting | SleepUntil | Fail
                                     └─ beside ─────> StartAttempt, beside the silent or slow ones, and probes
            SleepUntil ──> woke ──> StartAttempt | SleepUntil | Fail

Which model is next (`rounds.following`), each step only where the one before finds no candidate:

    1. the first untried candidate of the chain whose circuit is closed, or due for a probe;
    2. later rounds: a candidate whose failure is transient, the soonest ready first, after its backoff;
    3. candidates with an open circuit, or known to lack a feature that the request needs; beside silent attempts once,
        and again when the circuit admits a probe;
    4. candidates in a cooldown: the call waits up to `learning.LONGEST_COOLDOWN_SECONDS`, then calls them nevertheless.

A refusal of something that this library has added is corrected: the same model gets the request in another form
(`corrections`). Any other failure passes two tables: `learning.learn` records it in health, and the `Rule` of its kind
says whether the same model is retried first (`rounds.same_again`) and what changes for the other candidates
(`learning.put_aside`).

Promises:

1. Health, budgets and circuits order and delay candidates. They refuse no call that a candidate could answer, unless
   the user's rules do (`disable`, `policy: any_error`, a retry budget of 0).
2. One call records one outcome per model, however often it called the model, at the latest when the call ends.
3. Every attempt ends once in health, as a success, a failure, or neither; so does its probe slot.
4. The first first token wins, and the other attempts are abandoned. Probes run on, detached, until they have shown
   whether their model answers (`detached`). After half of the time of a call that is not streamed, the first complete
   answer wins instead. Beside a silent last candidate, failed models are called again after half of the time, those
   of a stream not before 120 s.
5. Silence alone ends no attempt that may still answer: another model is called beside it. Exceptions: a deadline that
   the user has set, `policy: any_error`, and requests that must not run twice at a time.
6. Once text is delivered, no model starts over: a model continues the text, or the call ends.
7. If an endpoint refuses what this library added (a prefill, a form of history, a parameter), the same model is called
   again at once without the addition. That is no failure of the model and uses up no attempt.
8. A probe costs the caller at most half a second, if another candidate is ready and may be called beside the probe.
9. No attempt starts after the call's deadline.

The tables: `failures/policy.py` (kind of failure -> rule), `timeouts` (seconds), `starting` (what an attempt
starts with), `tests/cases/timelines/` and `tests/cases/hedges.py` (calls as rows), `docs/how-it-decides.md` (users).
"""
