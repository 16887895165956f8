/* SPDX-License-Identifier: Apache-2.0
 *
 * The upload pipeline alone: files go through it into a store that keeps nothing.
 *
 *   pipe_bench [--md5] [--memory MIB] [--jobs N] FILE...
 *
 * Compare with `zstd -3 -T2 -c FILE... > /dev/null`. Prints one line: bytes, wall and CPU seconds,
 * peak RSS.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipe/upload.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

struct cf_store_put {
    uint64_t bytes;
};

static cf_err put_open(cf_store *s, const char *key, const cf_put_opts *opts, cf_store_put **ret,
                       cf_error *e)
{
    (void)s, (void)key, (void)opts;
    CF_NEW(*ret, e);
    return CF_OK;
}

static cf_err put_write(cf_store_put *p, cf_slice bytes, cf_error *e)
{
    (void)e;
    p->bytes += bytes.len;
    return CF_OK;
}

static cf_err put_finish(cf_store_put *p, cf_stored *ret, cf_error *e)
{
    (void)e;
    *ret = (cf_stored){.size_bytes = p->bytes};
    cf_free(p);
    return CF_OK;
}

static void put_abort(cf_store_put *p)
{
    cf_free(p);
}

static const char *put_upload_id(const cf_store_put *p)
{
    (void)p;
    return "";
}

static cf_err next_pack(void *impl, const char *hint, char ret_key[CF_KEY_LEN_MAX + 1], cf_error *e)
{
    (void)e;
    (void)snprintf(ret_key, CF_KEY_LEN_MAX + 1, "run/%010u-pack-%s.zst", (*(unsigned *)impl)++,
                   hint);
    return CF_OK;
}

static cf_err on_result(void *impl, const cf_upload_result *result, cf_error *e)
{
    (void)impl, (void)e;
    (void)close(result->item->fd);
    return CF_OK;
}

static cf_err on_pack(void *impl, const cf_pack_line *pack, cf_error *e)
{
    (void)impl, (void)pack, (void)e;
    return CF_OK;
}

static cf_err add(cf_upload *u, const char *path, bool md5, cf_error *e)
{
    cf_stat st = {0};
    int fd = -1;
    CF_TRY(cf_fs_real()->ops->file_open(cf_fs_real(), CF_FS_CWD, path, CF_FS_READ, &fd, e));
    CF_TRY(cf_fs_real()->ops->stat_fd(cf_fs_real(), fd, &st, e));
    const cf_upload_item item = {.name = path,
                                 .how = CF_UPLOAD_WHOLE,
                                 .fd = fd,
                                 .read_bytes = st.size_bytes,
                                 .size_bytes = st.size_bytes,
                                 .own_pack = true,
                                 .pack_hint = "file",
                                 .ends_with_md5 = md5};
    return cf_upload_add(u, &item, e);
}

static void report(const cf_upload_counts *c, uint64_t wall_ms)
{
    struct rusage r = {0};
    (void)getrusage(RUSAGE_SELF, &r);
    const double cpu_s = (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
                         (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
    printf("read %llu stored %llu packs %llu wall_s %.2f cpu_s %.2f rss_mib %.1f\n",
           (unsigned long long)c->read_bytes, (unsigned long long)c->stored_bytes,
           (unsigned long long)c->packs_total, (double)wall_ms / 1e3, cpu_s,
           (double)r.ru_maxrss / 1024);
}

typedef struct bench_args {
    uint64_t memory_mib, jobs;
    bool md5;
    int first; /* of the files */
} bench_args;

static bool args_parse(int argc, char **argv, bench_args *ret)
{
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--md5") == 0)
            ret->md5 = true;
        else if (i + 1 < argc && strcmp(argv[i], "--memory") == 0 &&
                 cf_u64_parse(cf_slice_str(argv[i + 1]), &ret->memory_mib))
            i++;
        else if (i + 1 < argc && strcmp(argv[i], "--jobs") == 0 &&
                 cf_u64_parse(cf_slice_str(argv[i + 1]), &ret->jobs))
            i++;
        else
            return false;
    }
    ret->first = i;
    return i < argc;
}

static cf_err run(int argc, char **argv, const bench_args *args, cf_error *e)
{
    static const cf_store_ops ops = {.kind = "null",
                                     .put_open = put_open,
                                     .put_write = put_write,
                                     .put_finish = put_finish,
                                     .put_abort = put_abort,
                                     .put_upload_id = put_upload_id};
    cf_store store = {.ops = &ops};
    unsigned seq = 0;
    CF_CLEANUP(cf_upload_freep) cf_upload *u = NULL;
    cf_upload_opts opts = {.store = &store,
                           .fs = cf_fs_real(),
                           .world = cf_world_real(),
                           .runs_prefix = "",
                           .next_pack = next_pack,
                           .on_result = on_result,
                           .on_pack = on_pack,
                           .impl = &seq};
    cf_upload_counts counts = {0};

    CF_TRY(cf_memory_plan_make(args->memory_mib << 20, (uint32_t)args->jobs, &opts.memory, e));
    const uint64_t start_ms = opts.world->mono_ms(opts.world->impl);
    CF_TRY(cf_upload_new(&opts, &u, e));
    for (int i = args->first; i < argc; i++)
        CF_TRY(add(u, argv[i], args->md5, e));
    CF_TRY(cf_upload_finish(u, e));
    cf_upload_get_counts(u, &counts);
    report(&counts, opts.world->mono_ms(opts.world->impl) - start_ms);
    return CF_OK;
}

int main(int argc, char **argv)
{
    bench_args args = {0};
    cf_error e = {0};
    if (!args_parse(argc, argv, &args)) {
        (void)fprintf(stderr, "usage: pipe_bench [--md5] [--memory MIB] [--jobs N] FILE...\n");
        return 2;
    }
    const cf_err err = run(argc, argv, &args, &e);
    if (err != CF_OK)
        (void)fprintf(stderr, "pipe_bench: %s\n", e.message);
    return err == CF_OK ? 0 : 1;
}
