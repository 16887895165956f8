/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits of the control group, read from its files.
 */
#include "pipe/cgroup.h"

#include <string.h>

#include "pipe/upload.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

enum { TEXT_MAX = 64 * 1024, PATH_MAX_BYTES = 2048 };

static cf_slice word_of(const cf_slice text)
{
    size_t len = 0;

    while (len < text.len && text.ptr[len] != ' ' && text.ptr[len] != '\n')
        len++;
    return cf_slice_of(text.ptr, len);
}

static uint64_t milli_of(const cf_slice quota, const cf_slice period)
{
    uint64_t used = 0, whole = 0;

    if (!cf_u64_parse(quota, &used) || !cf_u64_parse(period, &whole) || used == 0 || whole == 0 ||
        used > UINT64_MAX / CF_CGROUP_CPU_UNIT)
        return 0;
    const uint64_t milli = used * CF_CGROUP_CPU_UNIT / whole;
    return milli > 0 ? milli : 1;
}

uint64_t cf_cgroup_cpu_max(const cf_slice text)
{
    const cf_slice quota = word_of(text);

    if (quota.len + 1 >= text.len)
        return 0;
    return milli_of(quota,
                    word_of(cf_slice_of(text.ptr + quota.len + 1, text.len - quota.len - 1)));
}

uint64_t cf_cgroup_cpu_quota(const cf_slice quota, const cf_slice period)
{
    return milli_of(word_of(quota), word_of(period));
}

uint64_t cf_cgroup_memory(const cf_slice text)
{
    uint64_t bytes = 0;

    /* Version 1 without a limit says the largest number of pages: far above any machine. */
    return cf_u64_parse(word_of(text), &bytes) && bytes < UINT64_MAX / 4 ? bytes : 0;
}

/* Is controller one of "cpu,cpuacct"? */
static bool list_has(const cf_slice list, const char *const controller)
{
    const size_t len = strlen(controller);

    for (size_t at = 0; at + len <= list.len; at++) {
        const bool begins = at == 0 || list.ptr[at - 1] == ',';
        const bool ends = at + len == list.len || list.ptr[at + len] == ',';
        if (begins && ends && memcmp(list.ptr + at, controller, len) == 0)
            return true;
    }
    return false;
}

/* A line is "<number>:<controllers>:<path>"; version 2's is "0::<path>". */
static bool line_match(const cf_slice line, const char *const controller, cf_slice *const ret)
{
    const uint8_t *const first = memchr(line.ptr, ':', line.len);
    if (first == NULL)
        return false;
    const size_t at = (size_t)(first - line.ptr) + 1;
    const uint8_t *const second = memchr(line.ptr + at, ':', line.len - at);
    if (second == NULL)
        return false;
    const cf_slice list = cf_slice_of(line.ptr + at, (size_t)(second - line.ptr) - at);
    if (controller == NULL ? list.len != 0 : !list_has(list, controller))
        return false;
    *ret = cf_slice_of(second + 1, line.len - (size_t)(second + 1 - line.ptr));
    return ret->len > 0 && ret->ptr[0] == '/';
}

bool cf_cgroup_path(const cf_slice self, const char *const controller, cf_slice *const ret)
{
    for (size_t at = 0; at < self.len;) {
        const uint8_t *const end = memchr(self.ptr + at, '\n', self.len - at);
        const size_t len = end != NULL ? (size_t)(end - self.ptr) - at : self.len - at;
        if (line_match(cf_slice_of(self.ptr + at, len), controller, ret))
            return true;
        at += len + 1;
    }
    return false;
}

/* ---- looking ---- */

typedef struct looker {
    const cf_fs *fs;
    const char *root;
    cf_cgroup *found;
} looker;

/* false: it is not there. */
static bool text_read(const looker *const l, const char *const mount, const cf_slice group,
                      const char *const name, cf_buf *const ret)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf path = {0};
    const char *text = NULL;

    cf_buf_init(&path, PATH_MAX_BYTES);
    if (cf_buf_printf(&path, NULL, "%s%s%.*s/%s", l->root, mount, (int)group.len,
                      (const char *)group.ptr, name) != CF_OK ||
        cf_buf_get_str(&path, &text, NULL) != CF_OK)
        return false;
    return cf_fs_read_small(l->fs, CF_FS_CWD, text, ret, NULL) == CF_OK;
}

static void tighten(uint64_t *const limit, const uint64_t found)
{
    if (found != 0 && (*limit == 0 || found < *limit))
        *limit = found;
}

typedef void (*group_look)(const looker *l, const cf_slice group);

static void look_v2(const looker *const l, const cf_slice group)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};

    cf_buf_init(&text, TEXT_MAX);
    if (text_read(l, "/sys/fs/cgroup", group, "cpu.max", &text))
        tighten(&l->found->cpu_milli, cf_cgroup_cpu_max(cf_buf_slice(&text)));
    if (text_read(l, "/sys/fs/cgroup", group, "memory.max", &text))
        tighten(&l->found->memory_bytes, cf_cgroup_memory(cf_buf_slice(&text)));
}

static void look_v1_cpu(const looker *const l, const cf_slice group)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf quota = {0};
    CF_CLEANUP(cf_buf_deinit) cf_buf period = {0};

    cf_buf_init(&quota, TEXT_MAX);
    cf_buf_init(&period, TEXT_MAX);
    if (text_read(l, "/sys/fs/cgroup/cpu", group, "cpu.cfs_quota_us", &quota) &&
        text_read(l, "/sys/fs/cgroup/cpu", group, "cpu.cfs_period_us", &period))
        tighten(&l->found->cpu_milli,
                cf_cgroup_cpu_quota(cf_buf_slice(&quota), cf_buf_slice(&period)));
}

static void look_v1_memory(const looker *const l, const cf_slice group)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};

    cf_buf_init(&text, TEXT_MAX);
    if (text_read(l, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes", &text))
        tighten(&l->found->memory_bytes, cf_cgroup_memory(cf_buf_slice(&text)));
}

/* The group and all above it: the tightest holds. In a container the path may be the host's, and
 * only the topmost is there. */
static void look_up(const looker *const l, cf_slice group, const group_look look)
{
    while (group.len > 0) {
        look(l, group);
        while (group.len > 0 && group.ptr[group.len - 1] != '/')
            group.len--;
        if (group.len > 0)
            group.len--;
    }
    look(l, group);
}

void cf_cgroup_look(const cf_fs *const fs, const char *const root, cf_cgroup *const ret)
{
    static const struct {
        const char *controller;
        group_look look;
    } rows[] = {{NULL, look_v2}, {"cpu", look_v1_cpu}, {"memory", look_v1_memory}};
    CF_CLEANUP(cf_buf_deinit) cf_buf self = {0};
    const looker l = {.fs = fs, .root = root, .found = ret};

    *ret = (cf_cgroup){0};
    cf_buf_init(&self, TEXT_MAX);
    if (!text_read(&l, "/proc/self", cf_slice_str(""), "cgroup", &self))
        return;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cf_slice group = {NULL, 0};
        if (cf_cgroup_path(cf_buf_slice(&self), rows[i].controller, &group))
            look_up(&l, group, rows[i].look);
    }
}

/* ---- deciding ---- */

uint32_t cf_cgroup_cores(const cf_cgroup *const group, const uint32_t processors)
{
    const uint64_t quota = (group->cpu_milli + CF_CGROUP_CPU_UNIT - 1) / CF_CGROUP_CPU_UNIT;
    const uint32_t most = processors > 0 ? processors : 1;

    return quota != 0 && quota < most ? (uint32_t)quota : most;
}

uint64_t cf_cgroup_memory_default(const cf_cgroup *const group)
{
    const uint64_t usual = (uint64_t)CF_MEMORY_DEFAULT_MIB << 20;
    const uint64_t least = (uint64_t)CF_MEMORY_MIN_MIB << 20;
    const uint64_t half = group->memory_bytes / 2;

    if (half == 0 || half >= usual)
        return usual;
    return half > least ? half : least;
}
