/* SPDX-License-Identifier: Apache-2.0
 *
 * Good manners: priorities by system call, memory by the control group.
 */
#include "cli/manners.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pipe/cgroup.h"
#include "pipe/memory_plan.h"

/* linux/ioprio.h, which is not everywhere */
enum { IOPRIO_WHO_PROCESS = 1, IOPRIO_CLASS_SHIFT = 13, IOPRIO_CLASS_IDLE = 3 };

static cf_err nice_apply(const cf_values *const v, cf_error *const e)
{
    uint64_t wanted = 0;

    CF_TRY(cf_values_number(v, CF_OPT_NICE, 1, CF_NICE_MAX, &wanted, e));
    if (wanted == 0 || getpriority(PRIO_PROCESS, 0) >= (int)wanted) /* lower already: it stays */
        return CF_OK;
    CF_ENSURE(
        setpriority(PRIO_PROCESS, 0, (int)wanted) == 0, e, CF_ERR_ACCESS,
        "the kernel refuses priority %llu (setpriority: error %d)\nHINT: leave out --nice; is "
        "there a seccomp filter?",
        (unsigned long long)wanted, errno);
    return CF_OK;
}

static cf_err io_idle_apply(const cf_values *const v, cf_error *const e)
{
    if (!cf_values_on(v, CF_OPT_IO_IDLE))
        return CF_OK;
    CF_ENSURE(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
                      IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT) == 0,
              e, CF_ERR_ACCESS,
              "the kernel refuses the idle class of input and output (ioprio_set: error %d)\nHINT: "
              "leave out --io-idle; is there a seccomp filter?",
              errno);
    return CF_OK;
}

cf_err cf_manners_apply(const cf_values *const v, cf_error *const e)
{
    CF_TRY(nice_apply(v, e));
    return io_idle_apply(v, e);
}

cf_err cf_manners_memory(const cf_values *const v, const cf_ctx *const ctx,
                         uint64_t *const ret_bytes, cf_error *const e)
{
    cf_cgroup group = {0};
    char text[160];

    if (v->text[CF_OPT_MEMORY] != NULL)
        return cf_values_size(v, CF_OPT_MEMORY, ret_bytes, e);
    cf_cgroup_look(cf_fs_real(), /* root= */ "", &group);
    const uint64_t bytes = cf_cgroup_memory_default(&group);
    if (bytes < (uint64_t)CF_MEMORY_DEFAULT_MIB << 20 && ctx->log != NULL) {
        (void)snprintf(text, sizeof(text),
                       "memory: %llu MiB, by the limit of the control group, %llu MiB; --memory "
                       "says otherwise",
                       (unsigned long long)(bytes >> 20),
                       (unsigned long long)(group.memory_bytes >> 20));
        ctx->log(ctx->impl, CF_LOG_INFO, text);
    }
    *ret_bytes = bytes;
    return CF_OK;
}
