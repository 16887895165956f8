/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the suite share.
 */
#ifndef TESTS_STORE_CONFORMANCE_IMPL_H
#define TESTS_STORE_CONFORMANCE_IMPL_H

#include <stddef.h>

#include "tests/store/conformance.h"

struct CMUnitTest;
typedef struct conformance_group {
    const struct CMUnitTest *tests;
    size_t count;
} conformance_group;

conformance_group conformance_list_tests(void);
conformance_group conformance_thread_tests(void);
const conformance *conformance_of(void **state);
cf_store *conformance_open(void **state); /* the test's own empty place; fails the test */

#endif
