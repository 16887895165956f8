/* SPDX-License-Identifier: Apache-2.0
 *
 * Send: packs stream from store to store as they are, several at once, and are held against their
 * lines on the way. Nothing of a pack is kept: memory is the target's part buffers.
 */
#ifndef SRC_COPY_SEND_H
#define SRC_COPY_SEND_H

#include "repo/line.h"
#include "s3/buf.h"
#include "s3/err.h"
#include "s3/world.h"
#include "store/store.h"

enum {
    CF_SEND_WINDOW = 64, /* packs handed in and not told of */
    /* ours: stored bytes that wait for their turn behind a slow pack: what a kill may lose */
    CF_SEND_HELD_BYTES = 256 * 1024 * 1024,
    CF_SEND_JOBS_MAX = 64,
};

typedef struct cf_send_opts {
    cf_store *from, *to;     /* borrowed, like all below */
    const char *runs_prefix; /* "nodes/<node>/runs/", the same in both */
    const cf_world *world;
    uint32_t jobs; /* 1..CF_SEND_JOBS_MAX */
    /* In the order of add(), once the target has acknowledged the pack; on the caller's thread, from
     * within add() and finish(); an error stops all. line: the target's, with used_bytes its whole
     * length. */
    cf_err (*on_pack)(void *impl, const cf_pack_line *line, cf_error *e);
    /* About once a second while add() or finish() waits. */
    cf_err (*on_wait)(void *impl, cf_error *e);
    void *impl;
} cf_send_opts;

typedef struct cf_send cf_send;
CF_NODISCARD cf_err cf_send_new(const cf_send_opts *opts, cf_send **ret, cf_error *e);
/* from: the source's line; its length and digest are what must come. target: the name below
 * runs_prefix; origin: for the target's line. All are copied. Waits for room.
 * CF_ERR_DAMAGE: another length or digest, or the pack is gone: nothing appears in the target. */
CF_NODISCARD cf_err cf_send_add(cf_send *s, const cf_pack_line *from, const char *target,
                                const char *origin, cf_error *e);
CF_NODISCARD cf_err cf_send_finish(cf_send *s, cf_error *e); /* waits for all */
/* Did the source fail (else the target, or a callback)? After an error. */
bool cf_send_failed_at_source(cf_send *s);
uint64_t cf_send_get_bytes(const cf_send *s); /* passed on so far; any thread */
/* "key id\n" of every multipart upload under way, for the journal; appended. */
CF_NODISCARD cf_err cf_send_render_open(cf_send *s, cf_buf *ret, cf_error *e);
/* Stops the threads; on_pack is called for what the target acknowledged and nobody was told of, in
 * order, but with gaps; its errors are lost. Only free may follow. */
void cf_send_stop(cf_send *s);
void cf_send_free(cf_send *s); /* stops threads, aborts uploads; NULL is fine */

#endif
