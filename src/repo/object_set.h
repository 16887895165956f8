/* SPDX-License-Identifier: Apache-2.0
 *
 * Set of objects of one node, one bit an object: "<run>/<seq>-..." is known by its run and its
 * sequence number, which a run gives only once. So two names with one run and number are one
 * member: a set that says what to keep then keeps both.
 *
 * Ten million objects in a thousand runs are 3 MiB; a run costs 50 bytes, and its numbers 72 bytes
 * for each 512 that are dense.
 */
#ifndef SRC_REPO_OBJECT_SET_H
#define SRC_REPO_OBJECT_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "repo/run.h"
#include "s3/base/cleanup.h"
#include "s3/err.h"
#include "s3/slice.h"

typedef struct cf_object_set cf_object_set;
CF_NODISCARD cf_err cf_object_set_new(cf_object_set **ret, cf_error *e);
void cf_object_set_free(cf_object_set *s); /* NULL is fine */
CF_DEFINE_FREEP(cf_object_set, cf_object_set_free)

/* name: "<run>/<seq>-<kind>..."; CF_ERR_DAMAGE for another shape. ret_new: it was not there; may be
 * NULL. */
CF_NODISCARD cf_err cf_object_set_add(cf_object_set *s, cf_slice name, bool *ret_new, cf_error *e);
/* false for another shape too. */
bool cf_object_set_has(const cf_object_set *s, cf_slice name);
uint64_t cf_object_set_total(const cf_object_set *s);

#endif
