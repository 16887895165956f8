/* SPDX-License-Identifier: Apache-2.0
 *
 * The source: slices of the files below a directory, spread over all their bytes, each read from
 * front to back as a backup does; of them what is compressed afterwards. Nothing is written there.
 * Without a directory, made-up events.
 */
#include <stdio.h>

#include "bench/bench_inner.h"
#include "s3/base/alloc.h"
#include "s3/base/fs.h"

enum {
    FILES_MAX = 20000, /* ours: looked at; a node of 5 TiB */
    DEPTH_MAX = 16,
    SLICE_BYTES = 16 * 1024 * 1024, /* long enough for a disk that turns */
    READ_MS_MAX = 10000,
};

typedef struct source_file {
    char *path; /* owned; relative to the top */
    uint64_t size_bytes;
} source_file;

typedef struct finder {
    const cf_bench *b;
    const cf_fs *fs;
    int top_fd;
    source_file *files; /* owned */
    size_t total;
    uint64_t bytes;
    bool more;
} finder;

static void finder_deinit(finder *const f)
{
    for (size_t i = 0; i < f->total; i++)
        cf_free(f->files[i].path);
    cf_free(f->files);
    if (f->top_fd >= 0)
        (void)f->fs->ops->close(f->fs, f->top_fd, /* e= */ NULL);
}

static void fd_close(const finder *const f, const int fd)
{
    (void)f->fs->ops->close(f->fs, fd, /* e= */ NULL);
}

static cf_err folder_find(finder *f, int dir_fd, const char *path, unsigned depth, cf_error *e);

/* A live node removes files while we look: what vanished, or may not be read, is passed over. */
static cf_err entry_find(finder *const f, const int dir_fd, const char *const path,
                         const char *const name, const unsigned depth, cf_error *const e)
{
    cf_stat st = {0};
    char *full = NULL;
    const size_t size = strlen(path) + strlen(name) + 2;

    if (f->fs->ops->stat_at(f->fs, dir_fd, name, &st, /* e= */ NULL) != CF_OK)
        return CF_OK;
    if (st.type != CF_FILE_DIR && (st.type != CF_FILE_REGULAR || st.size_bytes == 0))
        return CF_OK;
    if (f->total == FILES_MAX) {
        f->more = true;
        return CF_OK;
    }
    full = cf_alloc(size, 1);
    CF_ENSURE(full != NULL, e, CF_ERR_NO_MEMORY, "allocate a path");
    (void)snprintf(full, size, "%s%s%s", path, path[0] != '\0' ? "/" : "", name);
    if (st.type == CF_FILE_REGULAR) {
        f->files[f->total++] = (source_file){.path = full, .size_bytes = st.size_bytes};
        f->bytes += st.size_bytes;
        return CF_OK;
    }
    int fd = -1;
    cf_err err = CF_OK;
    if (depth < DEPTH_MAX && f->fs->ops->dir_open(f->fs, dir_fd, name, &fd, NULL) == CF_OK) {
        err = folder_find(f, fd, full, depth + 1, e);
        fd_close(f, fd);
    }
    cf_free(full);
    return err;
}

static cf_err folder_find(finder *const f, const int dir_fd, const char *const path,
                          const unsigned depth, cf_error *const e)
{
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};

    CF_TRY(cf_bench_check_stop(f->b, e));
    CF_TRY(f->fs->ops->list(f->fs, dir_fd, &names, e));
    for (size_t i = 0; i < names.count && !f->more; i++)
        CF_TRY(entry_find(f, dir_fd, path, cf_names_at(&names, i), depth, e));
    return CF_OK;
}

/* ---- reading ---- */

static bool is_zero(const uint8_t *const p, const size_t len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* The first frame of a slice is kept; what a node has not written yet says nothing of its data. */
static void frame_keep(cf_bench_sample *const s, const uint8_t *const frame, const size_t len)
{
    if (s->len + len > s->max || is_zero(frame, len))
        return;
    memcpy(s->data + s->len, frame, len);
    s->len += len;
}

/* Frame by frame, as the reader of the pipeline. */
static cf_err slice_read(const finder *const f, cf_bench *const b, const source_file *const file,
                         const uint64_t offset, uint8_t *const frame, cf_error *const e)
{
    const uint64_t end =
        file->size_bytes - offset < SLICE_BYTES ? file->size_bytes : offset + SLICE_BYTES;
    int fd = -1;
    cf_err err = CF_OK;

    if (f->fs->ops->file_open(f->fs, f->top_fd, file->path, CF_FS_READ, &fd, NULL) != CF_OK)
        return CF_OK;
    for (uint64_t at = offset; at < end && err == CF_OK;) {
        const size_t want = end - at < CF_FRAME_BYTES ? (size_t)(end - at) : CF_FRAME_BYTES;
        size_t got = 0;

        err = cf_bench_check_stop(b, e);
        if (err == CF_OK)
            err = f->fs->ops->pread(f->fs, fd, frame, want, at, &got, e);
        if (err != CF_OK || got == 0)
            break;
        if (at == offset)
            frame_keep(&b->sample, frame, got);
        b->r->source.read_bytes += got;
        at += got;
    }
    fd_close(f, fd);
    return err;
}

/* All of it when --size allows; else slices at equal distances over all bytes of all files, so that
 * large files count as what they are. */
static cf_err slices_read(const finder *const f, cf_bench *const b, uint8_t *const frame,
                          cf_error *const e)
{
    const uint64_t began_us = cf_bench_now_us();
    const double cpu_s = cf_bench_thread_cpu_s();
    const uint64_t slices = b->size_bytes / SLICE_BYTES > 0 ? b->size_bytes / SLICE_BYTES : 1;
    const bool all = f->bytes <= b->size_bytes;
    const uint64_t distance = all ? SLICE_BYTES : f->bytes / slices;
    uint64_t next = 0, before = 0;
    cf_bench_source *const s = &b->r->source;

    for (size_t i = 0; i < f->total; i++) {
        const source_file *const file = &f->files[i];

        for (next = all ? before : next; next < before + file->size_bytes; next += distance) {
            if (s->read_bytes >= b->size_bytes ||
                cf_bench_now_us() - began_us > (uint64_t)READ_MS_MAX * 1000)
                break;
            CF_TRY(slice_read(f, b, file, next > before ? next - before : 0, frame, e));
        }
        before += file->size_bytes;
    }
    s->duration_s = (double)(cf_bench_now_us() - began_us + 1) / 1e6;
    if (s->read_bytes == 0)
        return CF_OK;
    b->r->costs.read_bytes_per_s = (double)s->read_bytes / s->duration_s;
    b->r->costs.read_cpu_s_per_byte = (cf_bench_thread_cpu_s() - cpu_s) / (double)s->read_bytes;
    return CF_OK;
}

static cf_err directory_read(cf_bench *const b, cf_error *const e)
{
    CF_CLEANUP(finder_deinit) finder f = {.b = b, .fs = b->ctx->fs, .top_fd = -1};
    CF_CLEANUP(cf_freep) uint8_t *frame = cf_alloc(CF_FRAME_BYTES, 1);

    f.files = cf_alloc(FILES_MAX, sizeof(*f.files));
    CF_ENSURE(f.files != NULL && frame != NULL, e, CF_ERR_NO_MEMORY, "allocate a list of files");
    CF_TRY_AS(f.fs->ops->dir_open(f.fs, CF_FS_CWD, b->opts->dir, &f.top_fd, e), e,
              "the directory to sample");
    CF_TRY(folder_find(&f, f.top_fd, "", 0, e));
    b->r->source =
        (cf_bench_source){.files_total = f.total, .files_bytes = f.bytes, .more_files = f.more};
    CF_ENSURE(f.total > 0, e, CF_ERR_SOURCE, "'%.500s' has no files that are not empty",
              b->opts->dir);
    CF_TRY(slices_read(&f, b, frame, e));
    CF_ENSURE(b->sample.len > 0, e, CF_ERR_SOURCE,
              "of '%.500s' nothing could be read but zeros: %zu files were looked at\nHINT: does "
              "this user have the right to read them?",
              b->opts->dir, f.total);
    return CF_OK;
}

/* ---- made-up events ---- */

/* Splitmix64: the same events everywhere. */
static uint64_t number_next(uint64_t *const state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A few words of a text, as people and programs write them into events. */
static int words_make(uint64_t *const state, char *const to, const size_t size)
{
    static const char *const words[] = {
        "order",   "shipped", "customer", "payment", "received", "address", "changed", "invoice",
        "the",     "of",      "and",      "to",      "for",      "with",    "not",     "was",
        "account", "balance", "transfer", "pending", "approved", "refused", "limit",   "contract",
        "state",   "notary",  "signed",   "party",   "document", "version", "updated", "deleted"};
    enum { WORDS = sizeof(words) / sizeof(words[0]), EACH_MAX = 16 };
    const uint64_t total = number_next(state) % EACH_MAX + 1;
    int len = 0;

    for (uint64_t i = 0; i < total; i++) {
        const uint64_t n = number_next(state);

        len += snprintf(to + len, size - (size_t)len, "%s%s", i > 0 ? " " : "", words[n % WORDS]);
        if (n >> 32 & 1)
            len += snprintf(to + len, size - (size_t)len, " %llu",
                            (unsigned long long)(n >> 40 & 0xffff));
    }
    return len;
}

/* JSON events with ids, amounts, times and words, as in an event store: level 3 makes them about
 * four times smaller. */
static void events_make(cf_bench_sample *const s)
{
    static const char *const types[] = {"OrderPlaced", "OrderShipped", "PaymentReceived",
                                        "CustomerMoved"};
    uint64_t state = 1;
    char event[1024], words[512];

    for (uint64_t number = 0; s->len < s->max; number++) {
        const uint64_t id = number_next(&state), n = number_next(&state);

        (void)words_make(&state, words, sizeof(words));
        const int len = snprintf(
            event, sizeof(event),
            "{\"eventId\":\"%016llx\",\"eventType\":\"%s\",\"eventNumber\":%llu,\"data\":{"
            "\"customer\":\"customer-%llu\",\"amount\":%llu.%02llu,\"currency\":\"EUR\","
            "\"note\":\"%s\"},\"metadata\":{\"created\":\"2026-11-%02lluT%02llu:%02llu:00Z\"}}\n",
            (unsigned long long)id, types[n % 4], (unsigned long long)number,
            (unsigned long long)(n >> 8 & 0xffff), (unsigned long long)(n >> 24 & 0xfff),
            (unsigned long long)(n >> 36 & 63), words,
            (unsigned long long)(number / 80000 % 28 + 1), (unsigned long long)(number / 3600 % 24),
            (unsigned long long)(number / 60 % 60));
        const size_t room = s->max - s->len;
        const size_t kept = (size_t)len < room ? (size_t)len : room;

        memcpy(s->data + s->len, event, kept);
        s->len += kept;
    }
}

cf_err cf_bench_read_source(cf_bench *const b, cf_error *const e)
{
    enum { SAMPLE_BYTES_MAX = 32 * 1024 * 1024, SHARE = 4 };
    cf_bench_sample *const s = &b->sample;
    const uint64_t share = b->r->memory_bytes / SHARE;
    const uint64_t wanted = share < b->size_bytes ? share : b->size_bytes;
    const uint64_t frames =
        wanted < SAMPLE_BYTES_MAX ? wanted / CF_FRAME_BYTES : SAMPLE_BYTES_MAX / CF_FRAME_BYTES;

    s->max = (size_t)(frames > 0 ? frames : 1) * CF_FRAME_BYTES;
    s->data = cf_alloc(s->max, 1);
    CF_ENSURE(s->data != NULL, e, CF_ERR_NO_MEMORY, "allocate a sample of %zu bytes", s->max);
    if (b->opts->dir != NULL)
        return directory_read(b, e);
    events_make(s);
    return CF_OK;
}
