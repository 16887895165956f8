/* SPDX-License-Identifier: Apache-2.0
 *
 * The reading order. It is the reason why a copy of a node that goes on writing starts; every line
 * stands where it must.
 */
#include "profile/kurrentdb/checkpoint.h"
#include "profile/kurrentdb/source.h"

#include "s3/base/cleanup.h"

static cf_err checkpoint_item(cf_source *s, const char *name, const cf_kdb_checkpoint *c,
                              cf_error *e)
{
    uint8_t bytes[CF_KDB_CHECKPOINT_LEN];
    cf_kdb_item *i = NULL;
    cf_stat st = {0};

    if (!c->present)
        return CF_OK;
    CF_TRY(cf_kdb_io_fail(cf_kdb_io_stat_at(&s->io, s->db_fd, name, &st, e), e));
    cf_kdb_checkpoint_render(c->value, bytes);
    CF_TRY(cf_kdb_item_add(s, CF_KDB_STEP_CHECKPOINTS, "db", name, "checkpoint", &i, e));
    cf_kdb_item_set_stat(i, &st);
    return cf_kdb_item_set_content(i, cf_slice_of(bytes, sizeof(bytes)), e);
}

/* A *.chk that a newer server brought: small, so its content is read now. */
static cf_err other_item(cf_source *s, const char *name, cf_error *e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf content = {0};
    cf_kdb_item *i = NULL;
    cf_stat st = {0};

    if (!cf_kdb_io_is_file(&s->io, s->db_fd, name, &st))
        return CF_OK;
    if (st.size_bytes > CF_INLINE_LEN_MAX) {
        cf_kdb_warn(s, "unknown-checkpoint",
                    "'db/%s' has %llu bytes, which is no checkpoint; it is left out", name,
                    (unsigned long long)st.size_bytes);
        return CF_OK;
    }
    if (strcmp(name, "tag.chk") != 0)
        cf_kdb_warn(s, "unknown-checkpoint",
                    "'db/%s' is a checkpoint this version does not know; it is stored", name);
    cf_buf_init(&content, CF_INLINE_LEN_MAX);
    const cf_err err = cf_kdb_io_read_small(&s->io, s->db_fd, name, &content, e);

    if (err == CF_ERR_NOT_FOUND)
        return CF_OK;
    CF_TRY(err);
    CF_TRY(cf_kdb_item_add(s, CF_KDB_STEP_CHECKPOINTS, "db", name, "checkpoint", &i, e));
    cf_kdb_item_set_stat(i, &st);
    return cf_kdb_item_set_content(i, cf_buf_slice(&content), e);
}

static bool ends_with(const char *name, const char *end)
{
    const size_t len = strlen(name);
    const size_t end_len = strlen(end);

    return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

static cf_err others_look(cf_source *s, cf_error *e)
{
    static const char *const known[] = {"chaser.chk", "epoch.chk", "writer.chk", "proposal.chk",
                                        "truncate.chk"};
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};

    CF_TRY(cf_kdb_io_list(&s->io, s->db_fd, "db", &names, e));
    for (size_t k = 0; k < names.count; k++) {
        const char *const name = cf_names_at(&names, k);
        bool other = ends_with(name, ".chk");

        for (size_t n = 0; n < sizeof(known) / sizeof(known[0]); n++)
            other = other && strcmp(name, known[n]) != 0;
        if (other)
            CF_TRY(other_item(s, name, e));
        s->found_archive_files = s->found_archive_files || ends_with(name, ".archive.bkup");
    }
    return CF_OK;
}

static cf_err checkpoint_items(cf_source *s, cf_error *e)
{
    cf_kdb_items_drop(s, CF_KDB_STEP_CHECKPOINTS);
    CF_TRY(checkpoint_item(s, "chaser.chk", &s->values.chaser, e));
    CF_TRY(checkpoint_item(s, "epoch.chk", &s->values.epoch, e));
    CF_TRY(checkpoint_item(s, "writer.chk", &s->values.writer, e));
    CF_TRY(checkpoint_item(s, "proposal.chk", &s->values.proposal, e));
    return others_look(s, e);
}

/* Checkpoints, then the chunks they speak of, all opened, the list read again. */
static cf_err log_attempt(cf_source *s, cf_error *e)
{
    CF_TRY(cf_kdb_checkpoints_look(s, e));
    if (!s->values.chaser.present || !s->values.writer.present || s->values.writer.value < 0 ||
        s->values.chaser.value < 0)
        return CF_OK; /* inspect only; refused */
    CF_TRY(cf_kdb_chunks_look(s, e));
    CF_TRY(cf_kdb_pin_names_equal(s, e));
    CF_TRY(cf_kdb_log_check(s, e));
    return cf_kdb_epochs_look(s, e);
}

/* Starts over while a node that goes on writing or scavenging may explain what was found. */
static cf_err log_look(cf_source *s, cf_error *e)
{
    const size_t refusals = json_array_size(s->refusals);

    for (unsigned n = 1;; n++) {
        s->again = false;
        const cf_err err = log_attempt(s, e);

        if (!s->again || n >= CF_KDB_LOG_ATTEMPT_TOTAL || s->restored)
            return err;
        if (err != CF_OK && err != CF_ERR_SOURCE)
            return err;
        cf_kdb_detail(s, "the log is looked at again, attempt %u of %d", n + 1,
                      CF_KDB_LOG_ATTEMPT_TOTAL);
        while (json_array_size(s->refusals) > refusals)
            (void)json_array_remove(s->refusals, refusals);
        CF_TRY(cf_kdb_wait(s, CF_KDB_LOOK_AGAIN_STEP_MS, e));
    }
}

static void hazards_look(cf_source *s)
{
    if (s->chunks.transforms_seen > 1)
        cf_kdb_warn(s, "encrypted",
                    "chunks are encrypted at rest: their keys are not part of this backup, and "
                    "without the keys it is "
                    "worthless. "
                    "The ongoing chunk is stored whole");
    if (s->found_archive_files)
        cf_kdb_warn(s, "archiving",
                    "the node archives chunks: its archive is not part of this backup, and a "
                    "restored node needs it");
}

cf_err cf_kdb_look(cf_source *s, cf_error *e)
{
    cf_kdb_pin_raise_limit();
    CF_TRY(cf_kdb_stopped_look(s, e));   /* nobody writes, if that was said   */
    CF_TRY(cf_kdb_secondary_look(s, e)); /* what cannot be copied from a running node */
    CF_TRY(cf_kdb_truncate_look(s, e));  /* 1. the mark of an election, from before everything  */
    CF_TRY(cf_kdb_index_look(
        s, e)); /* 2. index before log: else a restored node throws its index away   */
    CF_TRY(cf_kdb_filter_look(s, e)); /* 3. .chk before .dat: else streams seem empty */
    CF_TRY(cf_kdb_scavenge_look(s, e));
    CF_TRY(cf_kdb_pin_limits(s, e));
    CF_TRY(log_look(s, e)); /* 4-7. checkpoints, chunks, pins, records                           */
    CF_TRY(checkpoint_items(s, e));
    hazards_look(s);
    return CF_OK;
}

static cf_err checkpoints_look_again(cf_source *s, cf_error *e)
{
    cf_kdb_checkpoints now = {0};
    static const char hint[] =
        "HINT: the node was truncated, replaced or restored during the run; run the backup again";

    CF_TRY(cf_kdb_checkpoints_read(s, &now, e));
    const struct {
        const char *name;
        const cf_kdb_checkpoint *before, *now;
    } all[] = {{"chaser", &s->values.chaser, &now.chaser},
               {"writer", &s->values.writer, &now.writer},
               {"epoch", &s->values.epoch, &now.epoch}};

    for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
        if (all[k].before->present && !all[k].now->present)
            CF_TRY(
                cf_kdb_refuse(s, e, "'db/%s.chk' vanished during the run\n%s", all[k].name, hint));
        if (all[k].now->value < all[k].before->value)
            CF_TRY(cf_kdb_refuse(s, e, "'db/%s.chk' went back from %lld to %lld during the run\n%s",
                                 all[k].name, (long long)all[k].before->value,
                                 (long long)all[k].now->value, hint));
        if (s->opts.stopped && all[k].now->value != all[k].before->value)
            CF_TRY(cf_kdb_refuse(
                s, e,
                "'db/%s.chk' went from %lld to %lld: the server was started during the run\n%s",
                all[k].name, (long long)all[k].before->value, (long long)all[k].now->value, hint));
    }
    return CF_OK;
}

cf_err cf_kdb_last_look(cf_source *s, cf_error *e)
{
    CF_TRY(cf_kdb_stopped_look(s, e));
    CF_TRY(cf_kdb_truncate_look_again(s, e));
    CF_TRY(checkpoints_look_again(s, e));
    return cf_kdb_filter_look_again(s, e);
}
