"""The decoder of a model's answer: bytes in, events out. Pure: no clock, no socket, no event loop.

`decoder.AnswerDecoder` is a machine in the manner of h11. Feed it the bytes of one response body in any cuts; it
returns events, and in the end one `Ended` with an answer or with a `Failure`. The cuts change neither the text nor the
verdict; they change how pieces are grouped, and what promise 4 holds back.

States (`decoder.State`):

    HEAD        only white space has come. The first other bytes decide: server-sent events or one JSON body.
    EVENTS      events come, but no token yet: comments, role chunks, empty deltas. Nothing is delivered.
    ANSWERING   tokens have come: text, reasoning, tool calls, media. Pieces are delivered.
    IN_CALL     tokens have come, and a tool call is open: its arguments may take minutes.
    FINISHED    every choice has ended: its finish reason came in an empty chunk, or before usage. Only usage may
                follow; a failure now changes nothing. A token leads back to ANSWERING.
    DONE        `[DONE]` has come: only the end of the body is missing.
    BODY        the answer comes as one JSON body, which is parsed at its end.
    ENDED       the verdict is known. No more bytes may be fed.

    HEAD ──> EVENTS ──> ANSWERING <──> IN_CALL          from all states but FINISHED and DONE: broken ──> ENDED
      │                     └──────> FINISHED ──> DONE  from all states: end ──> ENDED
      └────> BODY

Events, in this order: `FirstToken` at most once, before all `Pieces`; `Reasoning` at most once; `Pieces` any number of
times; `Ended` once, and last.

Promises:

1. No piece is delivered before the first token: an empty role chunk does not bind the call to this model.
   White space is delivered together with the first other text: an answer of white space alone is empty.
2. A tool call is delivered only after the answer has ended well (`last_pieces`); the `raw` of a piece never holds an
   unfinished tool call.
3. `[DONE]` ends the wait and proves nothing: an answer needs a finish reason for every choice that has begun. A finish
   reason in a chunk with content is provisional: later content belongs to the answer, and then only a clean end ends
   the answer (`finishes`).
4. While no text was delivered, the pieces of the bytes with a failure are not delivered either: the next model can
   start over without a trace.
5. A continuation delivers nothing twice and loses nothing: the seam is found, or the attempt fails.
6. No bytes raise an exception: bytes that are no answer give a `Failure`.
7. The time is linear in the bytes. One `feed` decodes only its argument; a driver with an event loop feeds `slices`,
   which bound bytes, events and values, and lets other tasks run between them.
"""
