/* SPDX-License-Identifier: Apache-2.0
 *
 * Send, inside. One monitor, one kind of thread: each takes the next slot of a ring and streams its
 * pack. Nothing waits for another worker, so nothing can hang.
 */
#ifndef SRC_COPY_SEND_INNER_H
#define SRC_COPY_SEND_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "copy/send.h"
#include "repo/run.h"

typedef struct cf_send_slot {
    char source[CF_RUN_OBJECT_LEN_MAX + 1]; /* what is asked for */
    uint64_t stored_bytes;
    cf_digest digest;
    char target[CF_RUN_OBJECT_LEN_MAX + 1];
    char origin[CF_RUN_OBJECT_LEN_MAX + 1];
    char *upload_id;  /* owned; lock; NULL: none */
    cf_stored stored; /* once is_sent */
    bool is_sent;     /* lock */
} cf_send_slot;

struct cf_send {
    cf_send_opts opts;
    pthread_mutex_t lock;
    pthread_cond_t work, caller;
    uint32_t sync_total; /* initialised of the three above, in that order */
    pthread_t threads[CF_SEND_JOBS_MAX];
    uint32_t started_total;
    atomic_uint_fast64_t bytes;
    atomic_bool ended; /* failed or leaving: a look without the lock */

    /* Below: under the lock. Slot i stands at i % CF_SEND_WINDOW. */
    cf_send_slot slots[CF_SEND_WINDOW];
    uint64_t added, taken, told; /* told <= taken <= added <= told + CF_SEND_WINDOW */
    uint64_t held_bytes;         /* of slots that are sent and not told of */
    bool leaving;
    cf_err failed;
    cf_error error;
    bool failed_at_source;
};

/* One pack; runs on a worker. *ret_at_source: the error is the source's. */
CF_NODISCARD cf_err cf_send_stream(cf_send *s, cf_send_slot *slot, cf_stored *ret,
                                   bool *ret_at_source, cf_error *e);
/* Of the worker's own slot, for the journal. */
CF_NODISCARD cf_err cf_send_note_upload(cf_send *s, cf_send_slot *slot, const char *id,
                                        cf_error *e);

#endif
