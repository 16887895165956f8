/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory store's test side: faults, lost answers, what a lesser server does. Programs include
 * store/store.h only.
 */
#ifndef SRC_STORE_MEMORY_H
#define SRC_STORE_MEMORY_H

#include "store/store.h"

typedef enum cf_store_op {
    CF_STORE_OP_PUT,
    CF_STORE_OP_PUT_OPEN,
    CF_STORE_OP_PUT_WRITE,
    CF_STORE_OP_PUT_FINISH,
    CF_STORE_OP_GET,
    CF_STORE_OP_HEAD,
    CF_STORE_OP_LIST,
    CF_STORE_OP_DELETE,
    CF_STORE_OP_CREATE,
    CF_STORE_OP_NOW,
    CF_STORE_OP_TOTAL,
} cf_store_op;

/* Called on the thread of the operation, with no lock held: a hook may call the store itself, as
 * another machine would between two requests (it is called for those too). key: the put's or get's;
 * the first one of a delete; the prefix of a list; "" else. An error becomes the operation's
 * answer. Members may be NULL. */
typedef struct cf_store_memory_hooks {
    cf_err (*before)(void *impl, cf_store_op op, const char *key,
                     cf_error *e); /* nothing was done yet */
    cf_err (*after)(void *impl, cf_store_op op, const char *key,
                    cf_error *e); /* it is done: the answer is lost */
    void *impl;
} cf_store_memory_hooks;

/* hooks is copied; NULL: none. s must be a memory store; no operation under way. */
void cf_store_memory_set_hooks(cf_store *s, const cf_store_memory_hooks *hooks);
/* Without CF_STORE_CONDITIONAL_CREATE, create_only is ignored, as such a server does. */
void cf_store_memory_set_features(cf_store *s, unsigned features);
/* A streamed put of more than part_bytes gets a CF_DIGEST_SHA256_PARTS digest, as on S3; 0 (at
 * first): never. */
void cf_store_memory_set_part_bytes(cf_store *s, uint64_t part_bytes);
/* false: every operation but create answers CF_ERR_NO_BUCKET. True at first. */
void cf_store_memory_set_there(cf_store *s, bool there);
const char *cf_store_op_name(cf_store_op op); /* static: "put", "put_open", ... */

#endif
