/* SPDX-License-Identifier: Apache-2.0
 *
 * Who we are, from /proc. What cannot be read stays empty, and then nobody is taken for dead.
 */
#include "repo/owner.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "s3/base/cleanup.h"
#include "s3/base/fs.h"
#include "s3/base/num.h"
#include "s3/buf.h"

enum {
    STAT_LEN_MAX = 4096,
    STAT_START_FIELD = 20, /* behind the name in parentheses: state is the first of them; proc(5)
                              counts it as 22 */
};

/* First line of a file; "" when it cannot be read. Bytes that JSON text could not hold end it. */
static void read_word(const char *const path, char ret[CF_OWNER_WORD_LEN_MAX + 1])
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    size_t len = 0;
    cf_buf_init(&text, STAT_LEN_MAX);
    ret[0] = '\0';
    if (cf_fs_read_small(cf_fs_real(), CF_FS_CWD, path, &text, /* e= */ NULL) != CF_OK)
        return;
    while (len < text.len && len < CF_OWNER_WORD_LEN_MAX && text.data[len] > 0x20 &&
           text.data[len] < 0x7f)
        len++;
    if (len > 0)
        memcpy(ret, text.data, len);
    ret[len] = '\0';
}

/* State letter and start of a process; false when unknown. */
static bool read_process(const uint32_t pid, char *const ret_state, uint64_t *const ret_start_ticks)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    char path[64];
    cf_buf_init(&text, STAT_LEN_MAX);
    (void)snprintf(path, sizeof(path), "/proc/%u/stat", (unsigned)pid);
    if (cf_fs_read_small(cf_fs_real(), CF_FS_CWD, path, &text, /* e= */ NULL) != CF_OK ||
        text.len == 0)
        return false;
    /* The name may hold spaces and parentheses: what counts comes behind the last one. */
    const uint8_t *const paren = memrchr(text.data, ')', text.len);
    if (paren == NULL)
        return false;
    const uint8_t *at = paren + 1;
    const uint8_t *const end = text.data + text.len;
    for (unsigned field = 1; at < end; field++) {
        while (at < end && *at == ' ')
            at++;
        const uint8_t *const from = at;
        while (at < end && *at != ' ')
            at++;
        if (field == 1 && at > from)
            *ret_state = (char)*from;
        if (field == STAT_START_FIELD)
            return cf_u64_parse(cf_slice_of(from, (size_t)(at - from)), ret_start_ticks);
    }
    return false;
}

void cf_owner_self(cf_lease_owner *const ret)
{
    cf_lease_owner o = {0};
    char state = 0;
    if (gethostname(o.host, sizeof(o.host) - 1) != 0)
        o.host[0] = '\0';
    for (char *c = o.host; *c != '\0'; c++) {
        if (*c <= 0x20 || *c == 0x7f)
            *c = '_';
    }
    read_word("/etc/machine-id", o.machine);
    read_word("/proc/sys/kernel/random/boot_id", o.boot);
    const ssize_t len = readlink("/proc/self/ns/pid", o.pid_ns, sizeof(o.pid_ns) - 1);
    o.pid_ns[len > 0 ? len : 0] = '\0';
    o.pid = (uint32_t)getpid();
    if (!read_process(o.pid, &state, &o.start_ticks))
        o.start_ticks = 0;
    *ret = o;
}

static bool same_known(const char *const a, const char *const b)
{
    return a[0] != '\0' && strcmp(a, b) == 0;
}

bool cf_owner_is_dead(const cf_lease_owner *const o, const cf_lease_owner *const self)
{
    char state = 0;
    uint64_t start_ticks = 0;
    if (!same_known(o->machine, self->machine) || !same_known(o->boot, self->boot) ||
        !same_known(o->pid_ns, self->pid_ns))
        return false;
    if (o->pid == 0 || o->pid > INT32_MAX || o->start_ticks == 0)
        return false;
    /* Not by the directory in /proc: hidepid= hides those of other users. */
    if (kill((pid_t)o->pid, 0) != 0 && errno == ESRCH)
        return true;
    if (!read_process(o->pid, &state, &start_ticks))
        return false;
    return start_ticks != o->start_ticks || state == 'Z' || state == 'X';
}
