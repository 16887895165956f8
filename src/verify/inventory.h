/* SPDX-License-Identifier: Apache-2.0
 *
 * Inventory: what a LIST of a node's runs showed, and what pack lines say of it. 24 bytes an
 * object, 80 a named pack; never more than its budget. Objects come in the order of the LIST. One
 * thread while it grows; then cf_inventory_find() and the flags of packs that say so from any.
 */
#ifndef SRC_VERIFY_INVENTORY_H
#define SRC_VERIFY_INVENTORY_H

#include <stdatomic.h>

#include "repo/line.h"
#include "repo/run.h"
#include "s3/base/cleanup.h"

/* A pack that a line named. */
typedef struct cf_pack_state {
    cf_stored stored;     /* as its line says */
    uint32_t named_by;    /* number of the snapshot that named it last */
    bool chosen;          /* to be read */
    bool absent;          /* told as damaged: missing, or of another length */
    atomic_bool digested; /* its stored digest was right; any thread */
    atomic_bool damaged;  /* any thread */
} cf_pack_state;

typedef struct cf_object {
    uint32_t run, seq; /* run: index */
    uint32_t name_hash;
    uint32_t index; /* of a named pack, or a seen segment, plus one; 0: none */
    uint64_t size_bytes;
} cf_object;

typedef struct cf_inventory cf_inventory;
/* budget: bytes left, shared by several; borrowed. */
CF_NODISCARD cf_err cf_inventory_new(uint64_t *budget_bytes, cf_inventory **ret, cf_error *e);
void cf_inventory_free(cf_inventory *v); /* NULL is fine */
CF_DEFINE_FREEP(cf_inventory, cf_inventory_free)

/* The next object of the LIST. CF_ERR_TOO_LARGE: the budget is spent. */
CF_NODISCARD cf_err cf_inventory_add(cf_inventory *v, const char *name, uint64_t size_bytes,
                                     cf_error *e);
/* NULL: it was not listed, under this very name. */
cf_object *cf_inventory_find(const cf_inventory *v, const char *name);
/* The pack of a line, also one that was not listed (then absent is for the caller to set). *ret_new:
 * no line named it before. Packs never move. */
CF_NODISCARD cf_err cf_inventory_name(cf_inventory *v, const cf_pack_line *line, bool *ret_new,
                                      cf_pack_state **ret, cf_error *e);
/* NULL: no line named it. */
cf_pack_state *cf_inventory_pack(const cf_inventory *v, const char *name);
uint64_t cf_inventory_count_digested(const cf_inventory *v); /* v may be NULL */

#endif
