/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiny node directories of literal files, a filesystem that lets another process act between two
 * calls, a world whose sleeps cost nothing, and a driver that does what a backup does with a
 * source. For tests of the profile.
 *
 * The node: chunk size 8,192; chunks 0 and 1 completed, 2 ongoing; two tables; checkpoints at the
 * end of the log.
 */
#ifndef TESTS_PROFILE_NODE_BUILDER_H
#define TESTS_PROFILE_NODE_BUILDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "profile/profile.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/world.h"

enum {
    NB_CHUNK_SIZE = 8192,
    NB_FILE_SIZE = 12288, /* aligned 128 + 8192 + 128 */
    NB_RECORD_LEN = 200,  /* whole frame of a plain record */
    NB_PATH = 512,
    NB_LINES_MAX = 64,
};
#define NB_EPOCH_ID "11111111-2222-3333-4444-555555555555"
#define NB_TABLE_A  "00000000-0000-0000-0000-00000000000a"
#define NB_TABLE_B  "00000000-0000-0000-0000-00000000000b"

/* ---- bytes ---- */

static inline void nb_put(uint8_t *p, uint64_t value, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

static inline void nb_write(const char *dir, const char *name, const void *bytes, size_t len)
{
    char path[NB_PATH];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    (void)unlink(path);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(close(fd), 0);
}

static inline void nb_remove(const char *dir, const char *name)
{
    char path[NB_PATH];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    (void)unlink(path);
}

static inline void nb_rename(const char *dir, const char *from, const char *to)
{
    char a[NB_PATH], b[NB_PATH];

    (void)snprintf(a, sizeof(a), "%s/%s", dir, from);
    (void)snprintf(b, sizeof(b), "%s/%s", dir, to);
    assert_int_equal(rename(a, b), 0);
}

static inline void nb_mkdir(const char *dir, const char *name)
{
    char path[NB_PATH];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

/* In place, as a server writes its checkpoints: same inode, new time. */
static inline void nb_checkpoint(const char *dir, const char *name, int64_t value)
{
    char path[NB_PATH];
    uint8_t bytes[8];

    nb_put(bytes, (uint64_t)value, 8);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, 8, 0), 8);
    assert_int_equal(close(fd), 0);
}

static inline void nb_patch(const char *dir, const char *name, off_t at, const void *bytes,
                            size_t len)
{
    char path[NB_PATH];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    assert_int_equal(close(fd), 0);
}

/* ---- log ---- */

/* A frame of `len` bytes for log position `position`; an epoch record when id is not NULL. Returns
 * its length. */
static inline size_t nb_record(uint8_t *p, uint64_t position, size_t len, const char *epoch_id,
                               unsigned number)
{
    char json[200] = "";

    if (epoch_id != NULL) {
        (void)snprintf(json, sizeof(json),
                       "{\"epochPosition\":%llu,\"epochNumber\":%u,\"epochId\":\"%s\"}",
                       (unsigned long long)position, number, epoch_id);
        len = 8 + 32 + strlen(json);
    }
    memset(p, 'x', len);
    nb_put(p, len - 8, 4);
    p[4] = epoch_id != NULL ? 2 : 0;
    p[5] = 1;
    nb_put(p + 6, position, 8);
    if (epoch_id != NULL) {
        p[4 + 18] = 1;
        p[4 + 19] = 2;
        nb_put(p + 4 + 20, 0, 8);
        nb_put(p + 4 + 28, strlen(json), 4);
        memcpy(p + 4 + 32, json, strlen(json));
    }
    nb_put(p + len - 4, len - 8, 4);
    return len;
}

typedef struct nb_chunk_opts {
    uint32_t start, end, version; /* end 0: start */
    bool ongoing, scavenged;
    unsigned records; /* plain ones, 0: 4 */
    uint8_t transform;
    uint8_t header_version; /* 0: 4 */
    uint8_t seed;           /* another content */
    uint32_t chunk_size;    /* 0: NB_CHUNK_SIZE */
    const char *epoch_id;   /* NULL: NB_EPOCH_ID */
    const char *name;       /* NULL: from start and version */
} nb_chunk_opts;

/* Writes the chunk; returns how many bytes of data it has. */
static inline uint32_t nb_chunk(const char *dir, nb_chunk_opts o)
{
    uint8_t file[NB_FILE_SIZE] = {0};
    char name[32];
    const uint32_t chunk_size = o.chunk_size == 0 ? NB_CHUNK_SIZE : o.chunk_size;
    const uint64_t first = (uint64_t)o.start * chunk_size;
    uint32_t data = 0;
    size_t size = NB_FILE_SIZE;

    file[0] = 2;
    file[1] = o.transform != 0 ? 4 : 3;
    nb_put(file + 2, chunk_size, 4);
    nb_put(file + 6, o.start, 4);
    nb_put(file + 10, o.end == 0 ? o.start : o.end, 4);
    nb_put(file + 14, o.scavenged, 4);
    memset(file + 18, 0x20 + o.seed, 16);
    file[34] = o.header_version == 0 ? 4 : o.header_version;
    file[35] = o.transform;
    if (o.start == 0)
        data +=
            (uint32_t)nb_record(file + 128, 0, 0, o.epoch_id == NULL ? NB_EPOCH_ID : o.epoch_id, 0);
    for (unsigned i = 0; i < (o.records == 0 ? 4 : o.records); i++) {
        data += (uint32_t)nb_record(file + 128 + data, first + data, NB_RECORD_LEN, NULL, 0);
        file[128 + data - 5] = o.seed;
    }
    if (!o.ongoing) {
        uint8_t *const footer = file + 4096 - 128;

        size = 4096;
        footer[0] = 3;
        nb_put(footer + 1, data, 4);
        nb_put(footer + 5, data, 8);
        assert_int_equal(cf_md5(cf_slice_of(file, size - 16), file + size - 16, NULL), CF_OK);
    }
    (void)snprintf(name, sizeof(name), "chunk-%06u.%06u", o.start, o.version);
    nb_write(dir, o.name != NULL ? o.name : name, file, size);
    return data;
}

/* ---- index ---- */

static inline void nb_table(const char *dir, const char *name, unsigned rows)
{
    uint8_t file[8192] = {1, 4};
    const size_t size = 128 + (size_t)rows * 24 + 144;

    memset(file + 128, name[35], (size_t)rows * 24);
    file[size - 144] = 1;
    file[size - 143] = 4;
    nb_put(file + size - 142, rows / 2, 4);
    assert_int_equal(cf_md5(cf_slice_of(file, size - 16), file + size - 16, NULL), CF_OK);
    nb_write(dir, name, file, size);
}

static inline void nb_bloom(const char *dir, const char *name)
{
    uint8_t file[640] = {1};
    char path[64];

    memset(file + 64, name[35], sizeof(file) - 64);
    (void)snprintf(path, sizeof(path), "%s.bloomfilter", name);
    nb_write(dir, path, file, sizeof(file));
}

static inline void nb_indexmap(const char *dir, int64_t commit, const char *lines)
{
    char text[1024];
    uint8_t md5[16];
    char hex[33];

    (void)snprintf(text + 32, sizeof(text) - 32, "\n2\n%lld/%lld\n2147483647\n%s",
                   (long long)commit, (long long)commit, lines);
    assert_int_equal(cf_md5(cf_slice_str(text + 32), md5, NULL), CF_OK);
    cf_hex_render(cf_slice_of(md5, 16), hex);
    for (int i = 0; i < 32; i++)
        text[i] = (char)(hex[i] >= 'a' ? hex[i] - 'a' + 'A' : hex[i]);
    nb_write(dir, "indexmap.new", text, 32 + strlen(text + 32));
    nb_rename(dir, "indexmap.new", "indexmap");
}

/* ---- node ---- */

typedef struct nb_node {
    char db[NB_PATH], index[NB_PATH];
    int64_t writer;
} nb_node;

static inline void nb_node_new(nb_node *n)
{
    (void)snprintf(n->db, sizeof(n->db), "/tmp/cf-profile-XXXXXX");
    assert_non_null(mkdtemp(n->db));
    (void)snprintf(n->index, sizeof(n->index), "%.480s/index", n->db);
    nb_mkdir(n->db, "index");
    nb_mkdir(n->index, "stream-existence");
    nb_mkdir(n->index, "scavenging");
    (void)nb_chunk(n->db, (nb_chunk_opts){.start = 0});
    (void)nb_chunk(n->db, (nb_chunk_opts){.start = 1});
    n->writer =
        2 * NB_CHUNK_SIZE + (int64_t)nb_chunk(n->db, (nb_chunk_opts){.start = 2, .ongoing = true});
    nb_checkpoint(n->db, "writer.chk", n->writer);
    nb_checkpoint(n->db, "chaser.chk", n->writer);
    nb_checkpoint(n->db, "epoch.chk", 0);
    nb_checkpoint(n->db, "proposal.chk", 0);
    nb_checkpoint(n->db, "truncate.chk", -1);
    nb_table(n->index, NB_TABLE_A, 10);
    nb_table(n->index, NB_TABLE_B, 20);
    nb_bloom(n->index, NB_TABLE_A);
    nb_bloom(n->index, NB_TABLE_B);
    nb_indexmap(n->index, 2 * NB_CHUNK_SIZE, "0,0," NB_TABLE_A "\n1,0," NB_TABLE_B "\n");
    nb_checkpoint(n->index, "stream-existence/streamExistenceFilter.chk", 100);
    nb_write(n->index, "stream-existence/streamExistenceFilter.dat", "filter", 6);
    nb_write(n->index, "scavenging/scavenging.db", "SQLite", 6);
}

static inline int nb_unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline void nb_node_free(nb_node *n)
{
    (void)nftw(n->db, nb_unlink_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- another process ---- */

/* Called before each call of the filesystem and after each sleep: what ("open", "list", "stat",
 * "read", "sleep") and name. */
typedef void (*nb_hook)(void *impl, const char *what, const char *name);
typedef struct nb_world {
    nb_hook hook;
    void *impl;
    uint64_t mono_ms, slept_ms;
    cf_fs fs;
    cf_fs_ops ops;
    cf_world world;
} nb_world;

static inline nb_world *nb_of(const cf_fs *fs)
{
    return fs->impl;
}

static inline void nb_act(const cf_fs *fs, const char *what, const char *name)
{
    if (nb_of(fs)->hook != NULL)
        nb_of(fs)->hook(nb_of(fs)->impl, what, name);
}

static inline cf_err nb_file_open(const cf_fs *fs, int dir_fd, const char *name, cf_fs_open how,
                                  int *ret_fd, cf_error *e)
{
    nb_act(fs, "open", name);
    return cf_fs_real()->ops->file_open(cf_fs_real(), dir_fd, name, how, ret_fd, e);
}

static inline cf_err nb_stat_at(const cf_fs *fs, int dir_fd, const char *name, cf_stat *ret,
                                cf_error *e)
{
    nb_act(fs, "stat", name);
    return cf_fs_real()->ops->stat_at(cf_fs_real(), dir_fd, name, ret, e);
}

static inline cf_err nb_list(const cf_fs *fs, int dir_fd, cf_names *ret, cf_error *e)
{
    nb_act(fs, "list", "");
    return cf_fs_real()->ops->list(cf_fs_real(), dir_fd, ret, e);
}

static inline cf_err nb_pread(const cf_fs *fs, int fd, void *ret, size_t len, uint64_t offset,
                              size_t *ret_len, cf_error *e)
{
    nb_act(fs, "read", "");
    return cf_fs_real()->ops->pread(cf_fs_real(), fd, ret, len, offset, ret_len, e);
}

static inline int64_t nb_now(void *impl)
{
    return (int64_t)((nb_world *)impl)->mono_ms;
}

static inline uint64_t nb_mono(void *impl)
{
    return ((nb_world *)impl)->mono_ms;
}

static inline void nb_sleep(void *impl, uint64_t ms)
{
    nb_world *const w = impl;

    w->mono_ms += ms;
    w->slept_ms += ms;
    if (w->hook != NULL)
        w->hook(w->impl, "sleep", "");
}

static inline void nb_random(void *impl, void *ret, size_t len)
{
    (void)impl;
    memset(ret, 0, len);
}

static inline bool nb_stopping(void *impl)
{
    (void)impl;
    return false;
}

static inline void nb_world_init(nb_world *w, nb_hook hook, void *impl)
{
    *w = (nb_world){.hook = hook, .impl = impl, .ops = *cf_fs_real()->ops};
    w->ops.file_open = nb_file_open;
    w->ops.stat_at = nb_stat_at;
    w->ops.list = nb_list;
    w->ops.pread = nb_pread;
    w->fs = (cf_fs){.ops = &w->ops, .impl = w};
    w->world = (cf_world){nb_now, nb_mono, nb_sleep, nb_random, nb_stopping, w};
}

/* Tests that link the repository want the files and the world only. */
#ifndef NB_FILES_ONLY
/* ---- a snapshot of lines, and a cursor over it: these replace the repository's ---- */

typedef struct nb_line {
    cf_file_line line;
    char path[128];
    char klass[32];
    cf_entry_how how;
    uint64_t read_bytes;
    bool cut_before;
    uint8_t header[128], footer[128], content[512];
} nb_line;

typedef struct nb_snapshot {
    nb_line at[NB_LINES_MAX];
    size_t total;
} nb_snapshot;

struct cf_prior {
    const nb_snapshot *snapshot;
    size_t next;
};

cf_err cf_prior_next_file(cf_prior *c, const cf_file_line **ret, cf_error *e)
{
    (void)e;
    *ret = c->next < c->snapshot->total ? &c->snapshot->at[c->next++].line : NULL;
    return CF_OK;
}

cf_err cf_prior_rewind(cf_prior *c, cf_error *e)
{
    (void)e;
    c->next = 0;
    return CF_OK;
}

static inline const nb_line *nb_find(const nb_snapshot *s, const char *path)
{
    for (size_t i = 0; i < s->total; i++) {
        if (strcmp(s->at[i].path, path) == 0)
            return &s->at[i];
    }
    return NULL;
}

/* Reads the entry as the pipeline does. */
static inline void nb_read(const cf_entry *entry, nb_line *l, cf_read_outcome *o)
{
    uint8_t *const bytes = calloc(1, entry->read_bytes + 1);

    assert_non_null(bytes);
    assert_int_equal(pread(entry->fd, bytes, entry->read_bytes, 0), entry->read_bytes);
    o->md5_ok = true;
    if (entry->ends_with_md5) {
        const size_t body = entry->read_bytes - 16;

        assert_int_equal(cf_md5(cf_slice_of(bytes, body), o->md5_found, NULL), CF_OK);
        memcpy(o->md5_expected, bytes + body, 16);
        o->md5_ok = memcmp(o->md5_found, o->md5_expected, 16) == 0;
    }
    for (size_t i = 0; i < 128 && i < entry->read_bytes; i++) {
        o->head[i] = bytes[i];
        o->tail[127 - i] = bytes[entry->read_bytes - 1 - i];
    }
    memcpy(l->header, entry->cert_header.ptr != NULL ? entry->cert_header.ptr : l->header,
           entry->cert_header.len);
    memcpy(l->footer, entry->cert_footer.ptr != NULL ? entry->cert_footer.ptr : l->footer,
           entry->cert_footer.len);
    l->line.cert_header = cf_slice_of(l->header, entry->cert_header.len);
    l->line.cert_footer = cf_slice_of(l->footer, entry->cert_footer.len);
    if (entry->cert_from_read) {
        memcpy(l->header, o->head, 128);
        memcpy(l->footer, o->tail, 128);
        l->line.cert_header = cf_slice_of(l->header, 128);
        l->line.cert_footer = cf_slice_of(l->footer, 128);
    }
    free(bytes);
}

static inline cf_err nb_entry_take(cf_source *s, cf_entry *entry, const nb_snapshot *prior,
                                   nb_snapshot *ret, cf_error *e)
{
    nb_line *const l = &ret->at[ret->total];
    cf_read_outcome outcome = {0};
    const bool read = entry->how == CF_ENTRY_WHOLE || entry->how == CF_ENTRY_PARTS;

    assert_true(ret->total < NB_LINES_MAX);
    *l = (nb_line){
        .how = entry->how, .read_bytes = entry->read_bytes, .cut_before = entry->cut_before};
    (void)snprintf(l->path, sizeof(l->path), "%s", entry->path);
    (void)snprintf(l->klass, sizeof(l->klass), "%s", entry->klass);
    l->line = (cf_file_line){.step = entry->step,
                             .path = cf_slice_str(l->path),
                             .klass = l->klass,
                             .mode = entry->mode,
                             .size_bytes = entry->size_bytes,
                             .mtime_ns = entry->mtime_ns,
                             .is_inline = entry->how == CF_ENTRY_INLINE};
    if (ret->total > 0)
        assert_true(cf_file_line_cmp(l[-1].line.step, l[-1].line.path, l->line.step, l->line.path) <
                    0);
    if (entry->how == CF_ENTRY_INLINE) {
        memcpy(l->content, entry->content.ptr, entry->content.len);
        l->line.content = cf_slice_of(l->content, entry->content.len);
    }
    if (entry->how == CF_ENTRY_REUSE) {
        const nb_line *const before = nb_find(prior, l->path);

        assert_non_null(before);
        if (before ==
            NULL) /* cmocka does not tell the compiler that assert_non_null returns only then */
            abort();
        memcpy(l->header, before->header, sizeof(l->header));
        memcpy(l->footer, before->footer, sizeof(l->footer));
        l->line.cert_header = cf_slice_of(l->header, before->line.cert_header.len);
        l->line.cert_footer = cf_slice_of(l->footer, before->line.cert_footer.len);
        l->line.mtime_ns = before->line.mtime_ns;
    }
    if (read)
        nb_read(entry, l, &outcome);
    if (!cf_profile_kurrentdb.still_wanted(s, entry, read ? &outcome : NULL))
        return cf_profile_kurrentdb.read_done(s, entry, NULL, e);
    ret->total++;
    return cf_profile_kurrentdb.read_done(s, entry, read ? &outcome : NULL, e);
}

static inline cf_err nb_entries(cf_source *s, const nb_snapshot *prior, nb_snapshot *ret,
                                cf_error *e)
{
    for (;;) {
        cf_entry *entry = NULL;

        CF_TRY(cf_profile_kurrentdb.next(s, &entry, e));
        if (entry == NULL)
            return CF_OK;
        CF_TRY(nb_entry_take(s, entry, prior, ret, e));
    }
}

/* One backup. prior, prior_facts may be NULL. Facts owned by the caller when ret_facts is given. */
static inline cf_err nb_backup_with(const cf_source_opts *opts, const nb_snapshot *prior,
                                    const json_t *prior_facts, nb_snapshot *ret, json_t **ret_facts,
                                    uint64_t *ret_looked, cf_error *e)
{
    const cf_profile *const p = &cf_profile_kurrentdb;
    cf_prior cursor = {.snapshot = prior};
    cf_source *s = NULL;

    ret->total = 0;
    cf_err err = p->open(opts, &s, e);

    if (err == CF_OK)
        err =
            p->plan(s, prior != NULL ? &cursor : NULL, prior_facts, "20261121T000000Z-00000001", e);
    if (err == CF_OK && !opts->inspect)
        err = nb_entries(s, prior, ret, e);
    if (err == CF_OK && !opts->inspect)
        err = p->last_look(s, e);
    if (err == CF_OK && ret_facts != NULL)
        err = p->facts(s, ret_facts, e);
    if (err == CF_OK && ret_looked != NULL)
        *ret_looked = p->bytes_looked(s);
    if (s != NULL)
        p->close(s);
    return err;
}

#endif /* NB_FILES_ONLY */
#endif
