/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints: truncate.chk as the mark of an election that cuts the log, the others in their
 * order, and their relations.
 *
 * chaser before writer: the other way round the copy has chaser > writer and does not start.
 */
#include "profile/kurrentdb/checkpoint.h"
#include "profile/kurrentdb/held.h"
#include "profile/kurrentdb/source.h"

#include <stdio.h>

#include "s3/base/cleanup.h"

/* CF_ERR_NOT_FOUND leaves *ret not present. A file of another length is refused. */
static cf_err checkpoint_read(cf_source *s, const char *name, cf_kdb_checkpoint *ret,
                              cf_stat *ret_stat, cf_error *e)
{
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};
    uint8_t bytes[CF_KDB_CHECKPOINT_LEN + 1];
    size_t len = 0;
    int64_t value = 0;

    *ret = (cf_kdb_checkpoint){0};
    const cf_err opened = cf_kdb_io_open(&s->io, s->db_fd, name, &f.fd, e);

    if (opened == CF_ERR_NOT_FOUND)
        return CF_OK;
    CF_TRY(opened);
    CF_TRY(cf_kdb_io_read_some(&s->io, f.fd, bytes, sizeof(bytes), &len, e));
    if (ret_stat != NULL)
        CF_TRY(cf_kdb_io_stat_fd(&s->io, f.fd, name, ret_stat, e));
    if (cf_kdb_checkpoint_parse(cf_slice_of(bytes, len), &value, /* e= */ NULL) != CF_OK)
        return cf_kdb_refuse(s, e,
                             "'db/%s' has %s%zu bytes, a checkpoint has %d"
                             "\nHINT: let the node start, and back up then",
                             name, len > 8 ? "more than " : "", len > 8 ? len - 1 : len,
                             CF_KDB_CHECKPOINT_LEN);
    *ret = (cf_kdb_checkpoint){true, value};
    return CF_OK;
}

static cf_err mark_read(cf_source *s, cf_kdb_mark *ret, cf_error *e)
{
    cf_kdb_checkpoint c = {0};
    cf_stat st = {0};

    CF_TRY(checkpoint_read(s, "truncate.chk", &c, &st, e));
    *ret = (cf_kdb_mark){c.present, c.present ? c.value : -1, st.ino, st.mtime_ns};
    return CF_OK;
}

cf_err cf_kdb_truncate_look(cf_source *s, cf_error *e)
{
    CF_TRY(mark_read(s, &s->truncate, e));
    if (s->truncate.value < 0 || s->restored)
        return CF_OK;
    return cf_kdb_refuse(
        s, e,
        "'db/truncate.chk' is %lld, expected -1: the node cuts its log there at its next start"
        "\nHINT: start the node, let it finish, start it again, and back up then",
        (long long)s->truncate.value);
}

cf_err cf_kdb_truncate_look_again(cf_source *s, cf_error *e)
{
    cf_kdb_mark now = {0};
    static const char hint[] =
        "an election cut the log during the run, so what was read does not fit together"
        "\nHINT: run the backup again when the node has restarted";

    CF_TRY(mark_read(s, &now, e));
    if (now.value >= 0)
        CF_TRY(cf_kdb_refuse(s, e, "'db/truncate.chk' is %lld, expected -1: %s",
                             (long long)now.value, hint));
    else if (now.present != s->truncate.present)
        CF_TRY(cf_kdb_refuse(s, e, "'db/truncate.chk' %s during the run: %s",
                             now.present ? "appeared" : "vanished", hint));
    else if (now.ino != s->truncate.ino || now.mtime_ns != s->truncate.mtime_ns)
        CF_TRY(cf_kdb_refuse(s, e,
                             "'db/truncate.chk' was written during the run (modified at %lld ns, "
                             "before at %lld ns): %s",
                             (long long)now.mtime_ns, (long long)s->truncate.mtime_ns, hint));
    return CF_OK;
}

cf_err cf_kdb_checkpoints_read(cf_source *s, cf_kdb_checkpoints *ret, cf_error *e)
{
    cf_kdb_checkpoints c = {0};

    /* This order is the point: what is read later is newer. */
    CF_TRY(checkpoint_read(s, "chaser.chk", &c.chaser, /* ret_stat= */ NULL, e));
    CF_TRY(checkpoint_read(s, "epoch.chk", &c.epoch, /* ret_stat= */ NULL, e));
    CF_TRY(checkpoint_read(s, "writer.chk", &c.writer, /* ret_stat= */ NULL, e));
    CF_TRY(checkpoint_read(s, "proposal.chk", &c.proposal, /* ret_stat= */ NULL, e));
    if (!c.epoch.present)
        c.epoch.value = -1;
    if (!c.proposal.present)
        c.proposal.value = -1;
    *ret = c;
    return CF_OK;
}

/* The nth relation that must hold; false: ret_text says what is wrong. */
enum { RELATION_TOTAL = 5, TEXT_SIZE = 512 };
static bool relation_holds(const cf_source *s, const cf_kdb_checkpoints *c, unsigned n,
                           char ret_text[TEXT_SIZE])
{
    const int64_t chaser = c->chaser.value;
    const int64_t writer = c->writer.value;
    const int64_t commit = s->has_index && s->map.table_total > 0 ? s->map.commit : -1;
    static const char mixed[] =
        "HINT: files of different moments or nodes lie here; let the node start, and back up then";

    switch (n) {
    case 0:
        (void)snprintf(ret_text, TEXT_SIZE,
                       "'db/chaser.chk' or 'db/writer.chk' is below 0: %lld and %lld\n%s",
                       (long long)chaser, (long long)writer, mixed);
        return chaser >= 0 && writer >= 0;
    case 1:
        (void)snprintf(
            ret_text, TEXT_SIZE,
            "'db/chaser.chk' is %lld, over 'db/writer.chk' with %lld: a copy would not start\n%s",
            (long long)chaser, (long long)writer, mixed);
        return chaser <= writer;
    case 2:
        (void)snprintf(
            ret_text, TEXT_SIZE,
            "'db/epoch.chk' is %lld, over 'db/writer.chk' with %lld: a copy would not start\n%s",
            (long long)c->epoch.value, (long long)writer, mixed);
        return c->epoch.value <= writer;
    case 3:
        (void)snprintf(ret_text, TEXT_SIZE,
                       "'index/indexmap' was committed up to %lld, not below 'db/chaser.chk' with "
                       "%lld: a copy would rebuild "
                       "its whole index\nHINT: wait until the node has caught up, then run again",
                       (long long)commit, (long long)chaser);
        return commit < chaser;
    default:
        (void)snprintf(ret_text, TEXT_SIZE,
                       "'db/writer.chk' is %lld bytes ahead of 'db/chaser.chk', more than the %llu "
                       "that a start may "
                       "truncate\nHINT: wait until the node has caught up, or raise "
                       "--max-truncation together with the "
                       "server's MaxTruncation",
                       (long long)(writer - chaser),
                       (unsigned long long)s->opts.max_truncation_bytes);
        return writer < chaser || (uint64_t)(writer - chaser) <= s->opts.max_truncation_bytes;
    }
}

static cf_err relations_refuse(cf_source *s, const cf_kdb_checkpoints *c, cf_error *e)
{
    char text[TEXT_SIZE];

    for (unsigned n = 0; n < RELATION_TOTAL; n++) {
        if (!relation_holds(s, c, n, text))
            CF_TRY(cf_kdb_refuse(s, e, "%s", text));
    }
    return CF_OK;
}

cf_err cf_kdb_checkpoints_look(cf_source *s, cf_error *e)
{
    const uint64_t begun_ms = s->opts.world->mono_ms(s->opts.world->impl);

    for (;;) {
        cf_kdb_checkpoints c = {0};
        char text[TEXT_SIZE];
        bool good = true;

        CF_TRY(cf_kdb_checkpoints_read(s, &c, e));
        s->values = c;
        if (!c.chaser.present)
            return cf_kdb_refuse(
                s, e, "'db/chaser.chk' is missing\nHINT: let the node start, and back up then");
        if (!c.writer.present)
            return cf_kdb_refuse(
                s, e, "'db/writer.chk' is missing\nHINT: let the node start, and back up then");
        for (unsigned n = 0; n < RELATION_TOTAL && good; n++)
            good = relation_holds(s, &c, n, text);
        if (good)
            return CF_OK;
        if (s->restored ||
            s->opts.world->mono_ms(s->opts.world->impl) - begun_ms >= CF_KDB_LOOK_AGAIN_MS)
            return relations_refuse(s, &c, e);
        CF_TRY(cf_kdb_wait(s, CF_KDB_LOOK_AGAIN_STEP_MS, e));
    }
}

cf_err cf_kdb_stopped_look(cf_source *s, cf_error *e)
{
    cf_kdb_holder holder = {0};

    if (!s->opts.stopped || s->restored)
        return CF_OK;
    CF_TRY(cf_kdb_held(&s->io, s->db_fd, &holder, e));
    if (!holder.held)
        return CF_OK;
    return cf_kdb_refuse(s, e,
                         "--source stopped, but a server holds the directory: %s"
                         "\nHINT: stop the server first, or use --source live",
                         holder.how);
}
