/* SPDX-License-Identifier: Apache-2.0
 *
 * Jansson's memory. Its lexer ignores that a string could not grow: bytes are lost, or the closing
 * quote is, and then it runs over the heap. So no allocation of its may fail: those that do are
 * counted with ours and served from a reserve, and who parses refuses the result.
 *
 * Exception to R24 (no mutable file-scope state): jansson's allocator is one for the process, and
 * an allocator has no context to hang a reserve from.
 */
#include <jansson.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "repo/json.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum {
    RESERVE_BYTES = 1024 * 1024
}; /* ours: one document of each thread; untouched, it costs nothing */

static pthread_once_t json_once = PTHREAD_ONCE_INIT;
static alignas(max_align_t) uint8_t reserve[RESERVE_BYTES];
static atomic_size_t reserve_used; /* never given back: the run is about to fail */

static void *json_alloc(const size_t size)
{
    void *const ptr = cf_alloc(1, size);
    if (ptr != NULL)
        return ptr;
    CF_CHECK(size <= RESERVE_BYTES);
    const size_t whole =
        (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    const size_t at = atomic_fetch_add(&reserve_used, whole);
    CF_CHECK(at <= RESERVE_BYTES - whole); /* what jansson would do without is worse than an end */
    return reserve + at;
}

static void json_free(void *const ptr)
{
    const uintptr_t at = (uintptr_t)ptr;
    if (at < (uintptr_t)reserve || at >= (uintptr_t)reserve + RESERVE_BYTES)
        cf_free(ptr);
}

static void set_once(void)
{
    json_set_alloc_funcs(json_alloc, json_free);
}

void cf_json_memory(void)
{
    CF_CHECK(pthread_once(&json_once, set_once) == 0);
}

char *cf_json_dump(const json_t *const value, const size_t flags)
{
    cf_json_memory();
    char *const theirs = json_dumps(value, flags);
    char *const ours = theirs == NULL ? NULL : cf_strdup(theirs);
    json_free(theirs);
    return ours;
}
