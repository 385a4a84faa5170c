"""What a model answers: bytes in, events out. Pure: no clock, no socket, no event loop.

`decoder.AnswerDecoder` is a machine in the manner of h11. Feed it the bytes of one response body in any cuts; it
returns what they mean, and in the end one `Ended` with an answer or with a `Failure`. The cuts change neither the text
nor the verdict; they change how pieces are grouped, and what promise 4 holds back.

States (`decoder.State`), and what may come in each:

    HEAD        nothing but white space has come. The first bytes decide: server-sent events or one JSON body.
    EVENTS      events come, but no token yet: comments, role chunks, empty deltas. Nothing is delivered.
    ANSWERING   tokens have come: text, reasoning, tool calls, media. Pieces are delivered.
    IN_CALL     tokens have come, and a tool call is open: its arguments may take minutes.
    FINISHED    every choice has ended: its finish reason came in an empty chunk, or usage came behind it. Only usage
                may follow; whatever goes wrong now changes nothing. A token leads back to ANSWERING.
    DONE        `[DONE]` has come: only the end of the body is missing.
    BODY        the answer comes whole, as one JSON body. It is read at its end.
    ENDED       there is a verdict. Nothing may be fed any more.

    HEAD ──> EVENTS ──> ANSWERING <──> IN_CALL          from everywhere but FINISHED and DONE: broken ──> ENDED
      │                     └──────> FINISHED ──> DONE  from everywhere: end ──> ENDED
      └────> BODY

Events, in this order: `FirstToken` at most once, before all `Pieces`; `Reasoning` at most once; `Pieces` any number of
times; `Ended` once, and last.

Promises:

1. No piece is delivered before the first token: an empty role chunk commits nobody.
   White space is delivered with the first other text behind it: an answer that holds nothing else is empty.
2. A tool call is delivered only when the answer has ended well (`last_pieces`); the `raw` of a piece never holds an
   unfinished one.
3. `[DONE]` ends the waiting and proves nothing: an answer needs a finish reason for every choice that has begun. A
   finish reason in a chunk with content is provisional: what comes behind it belongs to the answer, and then only a
   clean end ends the answer (`finishes`).
4. While no text was delivered, the pieces of the bytes that hold a failure are not delivered either: the next model can
   start over unseen.
5. In a continuation nothing is delivered twice and nothing is lost: the seam is found, or the attempt fails.
6. Whatever the bytes are, nothing is raised: bytes that are no answer are a `Failure`.
7. The time is linear in the bytes. One `feed` decodes what it is given and no more; whoever has an event loop feeds
   slices of `decoder.SLICE_BYTES` and lets the loop turn between them.
"""
