/* SPDX-License-Identifier: Apache-2.0
 *
 * Throttle: additive increase, multiplicative decrease.
 */
#include "s3/throttle.h"

#include <assert.h>

void s3_throttle_init(s3_throttle *t, uint32_t limit_max)
{
    *t = (s3_throttle){.limit_max = limit_max, .limit = limit_max};
}

bool s3_throttle_enter(s3_throttle *t, uint64_t *ret_epoch)
{
    assert(t->limit >= 1 && t->limit <= t->limit_max);
    if (t->active >= t->limit)
        return false;
    t->active++;
    *ret_epoch = t->epoch;
    return true;
}

void s3_throttle_leave(s3_throttle *t, uint64_t epoch, s3_throttle_result result)
{
    assert(t->active > 0);
    t->active--;
    if (result == S3_THROTTLE_SLOW && epoch == t->epoch) {
        t->limit = t->limit > 1 ? t->limit / 2 : 1;
        t->successes = 0;
        t->epoch++;
    } else if (result == S3_THROTTLE_GOOD && t->limit < t->limit_max &&
               ++t->successes >= t->limit) {
        t->limit++;
        t->successes = 0;
    }
}
