/* SPDX-License-Identifier: Apache-2.0
 *
 * Driver: one operation of the S3 client from argv, its result as one JSON object on stdout. For
 * tests in Python that put a real or a misbehaving server on the other side. Exit code 0 also when
 * the operation failed: the JSON tells.
 *
 *   s3_driver [--bucket B] [--endpoint URL] ... OPERATION [ARGUMENTS]
 */
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3/base/alloc.h"
#include "s3/base/hash.h"
#include "s3/base/num.h"
#include "s3/pace.h"
#include "s3/s3.h"

typedef struct driver {
    s3_client *c;
    json_t *out;
    json_t *trace;
    pthread_mutex_t lock;
    const char *const *args;
    int arg_total;
    cf_error error;
} driver;

static uint64_t sleep_divisor = 1;          /* --fast */
static uint64_t up_rate = 0, down_rate = 0; /* --up, --down: bytes a second */

static void fast_sleep(void *impl, uint64_t ms)
{
    cf_world_real()->sleep_ms(impl, ms / sleep_divisor);
}

static void on_trace(void *impl, const s3_trace *t)
{
    driver *d = impl;

    (void)pthread_mutex_lock(&d->lock);
    (void)json_array_append_new(
        d->trace, json_pack("{s:s,s:i,s:s,s:i,s:I,s:I}", "op", t->operation, "status",
                            t->http_status, "code", t->s3_code, "attempt", (int)t->attempt, "sent",
                            (json_int_t)t->bytes_sent, "received", (json_int_t)t->bytes_received));
    (void)pthread_mutex_unlock(&d->lock);
}

static void set_int(driver *d, const char *name, uint64_t value)
{
    (void)json_object_set_new(d->out, name, json_integer((json_int_t)value));
}

static void set_str(driver *d, const char *name, const char *value)
{
    (void)json_object_set_new(d->out, name, json_string(value));
}

static const char *arg(const driver *d, int i)
{
    return i < d->arg_total ? d->args[i] : NULL;
}

static bool has_arg(const driver *d, const char *word)
{
    for (int i = 0; i < d->arg_total; i++) {
        if (strcmp(d->args[i], word) == 0)
            return true;
    }
    return false;
}

static cf_slice file_read(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        exit(2);
    }
    (void)fseek(f, 0, SEEK_END);
    const size_t len = (size_t)ftell(f);
    rewind(f);
    void *data = calloc(1, len + 1);
    if (data == NULL || fread(data, 1, len, f) != len)
        exit(2);
    (void)fclose(f);
    return cf_slice_of(data, len);
}

static void put_result(driver *d, const s3_put_result *r)
{
    char hex[CF_SHA256_HEX_SIZE];

    cf_hex_render(cf_slice_of(r->sha256, 32), hex);
    set_str(d, "etag", r->etag);
    set_str(d, "sha256", hex);
    set_int(d, "size", r->size_bytes);
    set_int(d, "part_bytes", r->part_bytes);
    (void)json_object_set_new(d->out, "multipart", json_boolean(r->multipart));
    (void)json_object_set_new(d->out, "settled", json_boolean(r->settled));
}

static s3_put_opts put_opts(const driver *d)
{
    s3_put_opts o = {.create_only = has_arg(d, "create")};

    for (int i = 2; i < d->arg_total; i++) {
        if (strncmp(d->args[i], "id=", 3) == 0)
            o.id = d->args[i] + 3;
    }
    return o;
}

static cf_err op_put(driver *d)
{
    s3_put_result r = {0};
    const s3_put_opts o = put_opts(d);
    const cf_slice body = file_read(arg(d, 1));
    const cf_err err = s3_put(d->c, arg(d, 0), body, &o, &r, &d->error);

    put_result(d, &r);
    free((void *)(uintptr_t)body.ptr);
    return err;
}

static cf_err upload_run(driver *d, cf_slice body, s3_put_result *r)
{
    const s3_put_opts o = put_opts(d);
    s3_upload *u = NULL;
    const size_t step = 777777;

    CF_TRY(s3_upload_open(d->c, arg(d, 0), &o, &u, &d->error));
    for (size_t at = 0; at < body.len; at += step) {
        const size_t len = body.len - at < step ? body.len - at : step;
        const cf_err err = s3_upload_write(u, cf_slice_of(body.ptr + at, len), &d->error);
        if (err != CF_OK && has_arg(d, "finish-anyway"))
            break;
        if (err != CF_OK || (has_arg(d, "give-up") && at > body.len / 2)) {
            s3_upload_abort(u);
            return err == CF_OK
                       ? cf_error_set(&d->error, CF_ERR_FAILED, __FILE__, __LINE__, "given up")
                       : err;
        }
    }
    return s3_upload_finish(u, r, &d->error);
}

static cf_err op_upload(driver *d)
{
    s3_put_result r = {0};
    const cf_slice body = file_read(arg(d, 1));
    const cf_err err = upload_run(d, body, &r);

    put_result(d, &r);
    free((void *)(uintptr_t)body.ptr);
    return err;
}

static void object_result(driver *d, const s3_object *o)
{
    set_int(d, "size", o->size_bytes);
    set_int(d, "modified_ms", (uint64_t)o->modified_utc_ms);
    set_str(d, "etag", o->etag);
    set_str(d, "id", o->id);
}

typedef struct sink_state {
    FILE *f;
    uint64_t fail_at, len;
} sink_state;

static cf_err file_sink(void *impl, cf_slice bytes, cf_error *e)
{
    sink_state *s = impl;

    s->len += bytes.len;
    CF_ENSURE(s->fail_at == 0 || s->len < s->fail_at, e, CF_ERR_NO_SPACE, "the sink is full");
    CF_ENSURE(fwrite(bytes.ptr, 1, bytes.len, s->f) == bytes.len, e, CF_ERR_IO, "write");
    return CF_OK;
}

static uint64_t number(const char *text)
{
    uint64_t value = 0;

    if (!cf_u64_parse(cf_slice_str(text), &value)) {
        (void)fprintf(stderr, "'%s' is no number\n", text);
        exit(2);
    }
    return value;
}

static cf_err op_get(driver *d)
{
    s3_object o = {0};
    s3_range range = {0};
    const bool ranged = d->arg_total >= 4;
    sink_state sink = {.f = fopen(arg(d, 1), "wb"),
                       .fail_at = d->arg_total == 5 ? number(arg(d, 4)) : 0};

    if (sink.f == NULL)
        exit(2);
    if (ranged)
        range = (s3_range){.offset = number(arg(d, 2)), .len = number(arg(d, 3))};
    const cf_err err =
        s3_get(d->c, arg(d, 0), ranged ? &range : NULL, file_sink, &sink, &o, &d->error);
    (void)fclose(sink.f);
    object_result(d, &o);
    return err;
}

static cf_err op_head(driver *d)
{
    s3_object o = {0};
    const cf_err err = s3_head(d->c, arg(d, 0), &o, &d->error);

    object_result(d, &o);
    return err;
}

static cf_err on_entry(void *impl, const s3_list_entry *entry, bool *ret_stop, cf_error *e)
{
    json_t *entries = impl;

    (void)e;
    (void)ret_stop;
    (void)json_array_append_new(
        entries,
        json_pack("{s:s%,s:b,s:I,s:I,s:s%}", "key", (const char *)entry->key.ptr, entry->key.len,
                  "is_prefix", (int)entry->is_prefix, "size", (json_int_t)entry->size_bytes,
                  "modified_ms", (json_int_t)entry->modified_utc_ms, "etag",
                  entry->etag.len == 0 ? "" : (const char *)entry->etag.ptr, entry->etag.len));
    return CF_OK;
}

/* list PREFIX AFTER DELIMITER PAGE; "" is none */
static cf_err op_list(driver *d)
{
    json_t *entries = json_array();
    const s3_list_opts o = {.prefix = arg(d, 0),
                            .start_after = arg(d, 1),
                            .delimiter = arg(d, 2),
                            .page_keys_max = d->arg_total > 3 ? (uint32_t)number(arg(d, 3)) : 0};

    (void)json_object_set_new(d->out, "entries", entries);
    return s3_list(d->c, &o, on_entry, entries, &d->error);
}

static cf_err op_delete(driver *d)
{
    return s3_delete(d->c, arg(d, 0), &d->error);
}

/* delete-many FILE: keys, each ended by a NUL */
static cf_err op_delete_many(driver *d)
{
    const cf_slice text = file_read(arg(d, 0));
    const char **keys = calloc(text.len + 1, sizeof(*keys));
    size_t total = 0;

    if (keys == NULL)
        exit(2);
    for (size_t at = 0; at < text.len; at += strlen((const char *)text.ptr + at) + 1)
        keys[total++] = (const char *)text.ptr + at;
    const cf_err err = s3_delete_many(d->c, keys, total, &d->error);
    free(keys);
    free((void *)(uintptr_t)text.ptr);
    return err;
}

static cf_err op_bucket_head(driver *d)
{
    return s3_bucket_head(d->c, &d->error);
}

static cf_err op_bucket_create(driver *d)
{
    return s3_bucket_create(d->c, &d->error);
}

static cf_err on_upload(void *impl, const s3_upload_entry *entry, cf_error *e)
{
    (void)e;
    (void)json_array_append_new(
        impl, json_pack("{s:s%,s:s%,s:I}", "key", (const char *)entry->key.ptr, entry->key.len,
                        "upload_id", (const char *)entry->upload_id.ptr, entry->upload_id.len,
                        "initiated_ms", (json_int_t)entry->initiated_utc_ms));
    return CF_OK;
}

static cf_err op_uploads(driver *d)
{
    json_t *entries = json_array();

    (void)json_object_set_new(d->out, "entries", entries);
    return s3_uploads_list(d->c, arg(d, 0), on_upload, entries, &d->error);
}

static cf_err op_abort(driver *d)
{
    return s3_uploads_abort(d->c, arg(d, 0), arg(d, 1), &d->error);
}

typedef struct storm_thread {
    driver *d;
    int number, puts;
    cf_slice body; /* empty: the key */
    int failed;
    cf_error error;
} storm_thread;

static void *storm_run(void *arg_)
{
    storm_thread *s = arg_;
    char key[64];

    for (int i = 0; i < s->puts; i++) {
        cf_error e = {0};
        (void)snprintf(key, sizeof(key), "storm/%d/%d", s->number, i);
        const cf_slice body = s->body.len > 0 ? s->body : cf_slice_str(key);
        if (s3_put(s->d->c, key, body, NULL, NULL, &e) != CF_OK) {
            s->failed++;
            s->error = e;
        }
    }
    return NULL;
}

/* storm THREADS PUTS [FILE]: many small PUTs of one client at once */
static cf_err op_storm(driver *d)
{
    enum { THREADS_MAX = 64 };
    storm_thread threads[THREADS_MAX] = {0};
    pthread_t ids[THREADS_MAX];
    const int total = (int)number(arg(d, 0));
    const cf_slice body = d->arg_total > 2 ? file_read(arg(d, 2)) : cf_slice_str(NULL);
    int failed = 0;

    for (int i = 0; i < total && i < THREADS_MAX; i++) {
        threads[i] =
            (storm_thread){.d = d, .number = i, .puts = (int)number(arg(d, 1)), .body = body};
        if (pthread_create(&ids[i], NULL, storm_run, &threads[i]) != 0)
            exit(2);
    }
    for (int i = 0; i < total && i < THREADS_MAX; i++) {
        (void)pthread_join(ids[i], NULL);
        failed += threads[i].failed;
        if (threads[i].failed > 0)
            d->error = threads[i].error;
    }
    set_int(d, "failed", (uint64_t)failed);
    free((void *)(uintptr_t)body.ptr);
    return failed == 0 ? CF_OK : d->error.code;
}

static const struct {
    const char *name;
    cf_err (*run)(driver *d);
    int args_min;
} operations[] = {
    {"put", op_put, 2},
    {"upload", op_upload, 2},
    {"get", op_get, 2},
    {"head", op_head, 1},
    {"list", op_list, 0},
    {"delete", op_delete, 1},
    {"delete-many", op_delete_many, 1},
    {"bucket-head", op_bucket_head, 0},
    {"bucket-create", op_bucket_create, 0},
    {"uploads", op_uploads, 0},
    {"abort", op_abort, 2},
    {"storm", op_storm, 2},
};

static const struct {
    const char *name;
    size_t text_at, number_at; /* offset in s3_client_opts; 0: the other */
    bool wide;
} options[] = {
    {"--endpoint", offsetof(s3_client_opts, endpoint), 0, false},
    {"--region", offsetof(s3_client_opts, region), 0, false},
    {"--ca", offsetof(s3_client_opts, ca_bundle), 0, false},
    {"--connections", 0, offsetof(s3_client_opts, connections_max), false},
    {"--tries", 0, offsetof(s3_client_opts, tries_max), false},
    {"--deadline-ms", 0, offsetof(s3_client_opts, deadline_ms), true},
    {"--connect-ms", 0, offsetof(s3_client_opts, connect_timeout_ms), false},
    {"--stall-ms", 0, offsetof(s3_client_opts, stall_timeout_ms), false},
    {"--part", 0, offsetof(s3_client_opts, part_bytes), true},
    {"--in-flight", 0, offsetof(s3_client_opts, parts_in_flight_max), false},
};

static void option_set(s3_client_opts *o, const char *name, const char *value)
{
    if (strcmp(name, "--bucket") == 0)
        o->bucket = value;
    else if (strcmp(name, "--fast") == 0)
        sleep_divisor = number(value);
    else if (strcmp(name, "--up") == 0)
        up_rate = number(value);
    else if (strcmp(name, "--down") == 0)
        down_rate = number(value);
    else if (strcmp(name, "--fail-alloc") == 0)
        cf_alloc_fail_at((unsigned long)number(value)); /* the nth allocation from here on */
    else if (strcmp(name, "--addressing") == 0)
        o->addressing = strcmp(value, "path") == 0 ? S3_ADDRESSING_PATH : S3_ADDRESSING_VIRTUAL;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (strcmp(name, options[i].name) != 0)
            continue;
        char *at = (char *)o + options[i].text_at + options[i].number_at;
        const uint64_t n = options[i].number_at == 0 ? 0 : number(value);
        const uint32_t narrow = (uint32_t)n;
        if (options[i].number_at == 0)
            memcpy(at, &value, sizeof(value));
        else if (options[i].wide)
            memcpy(at, &n, sizeof(n));
        else
            memcpy(at, &narrow, sizeof(narrow));
    }
}

static cf_err run(driver *d, const s3_client_opts *o, const char *operation)
{
    s3_counts counts = {0};

    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        if (strcmp(operation, operations[i].name) != 0 || d->arg_total < operations[i].args_min)
            continue;
        CF_TRY(s3_client_new(o, &d->c, &d->error));
        const cf_err err = operations[i].run(d);
        s3_client_get_counts(d->c, &counts);
        set_int(d, "requests", counts.requests_total);
        set_int(d, "retries", counts.retries_total);
        set_int(d, "bytes_sent", counts.bytes_sent);
        set_int(d, "bytes_received", counts.bytes_received);
        set_int(d, "server_time_ms", (uint64_t)s3_client_server_time_ms(d->c));
        s3_client_free(d->c);
        return err;
    }
    (void)fprintf(stderr, "no such operation, or too few arguments: '%s'\n", operation);
    exit(2);
}

static void on_signal(int signal_number)
{
    (void)signal_number;
    cf_world_request_stop();
}

int main(int argc, char **argv)
{
    driver d = {.out = json_object(), .trace = json_array()};
    cf_world world = *cf_world_real();
    s3_client_opts o = {.bucket = "backups", .world = &world, .trace = on_trace, .trace_impl = &d};
    int at = 1;

    (void)pthread_mutex_init(&d.lock, NULL);
    (void)signal(SIGTERM, on_signal);
    world.sleep_ms = fast_sleep;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2)
        option_set(&o, argv[at], argv[at + 1]);
    if (at >= argc)
        return 2;
    d.args = (const char *const *)(argv + at + 1);
    d.arg_total = argc - at - 1;
    if (up_rate + down_rate > 0 &&
        cf_pace_new(&world, up_rate, down_rate, &o.pace, &d.error) != CF_OK)
        return 2;
    const cf_err err = run(&d, &o, argv[at]);
    cf_pace_free(o.pace);
    set_str(&d, "err", cf_err_name(err));
    set_str(&d, "message", d.error.message);
    set_str(&d, "s3_code", d.error.s3_code);
    set_str(&d, "request_id", d.error.request_id);
    set_int(&d, "http_status", (uint64_t)d.error.http_status);
    (void)json_object_set_new(d.out, "trace", d.trace);
    char *text = json_dumps(d.out, JSON_COMPACT | JSON_SORT_KEYS);
    (void)printf("%s\n", text == NULL ? "{}" : text);
    free(text);
    json_decref(d.out);
    (void)pthread_mutex_destroy(&d.lock);
    return 0;
}
