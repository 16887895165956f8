/* SPDX-License-Identifier: Apache-2.0
 *
 * malloc and free, counted, with a failure on order for tests.
 *
 * Exception to R24 (no mutable file-scope state): three atomic counters. An allocator has no context
 * to hang them from, and a fault must reach allocations in every thread.
 */
#include "s3/base/alloc.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_ulong alloc_count;
static atomic_ulong alloc_fail_in; /* 0: never; n: the nth from now */
static atomic_ulong alloc_failures;

/* Count one allocation; true when it is the one that must fail. */
static bool alloc_must_fail(void)
{
    (void)atomic_fetch_add_explicit(&alloc_count, 1, memory_order_relaxed);
    unsigned long left = atomic_load_explicit(&alloc_fail_in, memory_order_relaxed);
    while (left != 0) {
        if (atomic_compare_exchange_weak_explicit(&alloc_fail_in, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return left == 1;
    }
    return false;
}

static void *noted(void *ptr)
{
    if (ptr == NULL)
        (void)atomic_fetch_add(&alloc_failures, 1);
    return ptr;
}

void *cf_alloc(size_t count, size_t size)
{
    size_t len = 0;
    if (alloc_must_fail() || __builtin_mul_overflow(count, size, &len))
        return noted(NULL);
    /* one byte at least, so that NULL always means failure */
    return noted(calloc(1, len == 0 ? 1 : len));
}

void *cf_realloc(void *ptr, size_t count, size_t size)
{
    size_t len = 0;
    if (alloc_must_fail() || __builtin_mul_overflow(count, size, &len))
        return noted(NULL);
    return noted(realloc(ptr, len == 0 ? 1 : len));
}

void cf_free(void *ptr)
{
    free(ptr);
}

char *cf_strndup(const char *text, size_t len)
{
    if (len == SIZE_MAX)
        return NULL;
    char *const copy = cf_alloc(len + 1, 1);
    if (copy != NULL && len > 0)
        memcpy(copy, text, len);
    return copy;
}

char *cf_strdup(const char *text)
{
    return cf_strndup(text, strlen(text));
}

void cf_freep(void *pointer_to_pointer)
{
    void *ptr = NULL;
    memcpy(&ptr, pointer_to_pointer,
           sizeof(ptr)); /* any pointer type, without breaking aliasing rules */
    cf_free(ptr);
}

void cf_alloc_fail_at(unsigned long nth)
{
    atomic_store_explicit(&alloc_fail_in, nth, memory_order_relaxed);
}

unsigned long cf_alloc_count(void)
{
    return atomic_load_explicit(&alloc_count, memory_order_relaxed);
}

unsigned long cf_alloc_failures(void)
{
    return atomic_load(&alloc_failures);
}
