/* SPDX-License-Identifier: Apache-2.0
 *
 * The profile's table.
 */
#include "profile/kurrentdb/restore.h"
#include "profile/kurrentdb/source.h"

#include <stdio.h>

static cf_err plan(cf_source *s, cf_prior *prior, const json_t *prior_facts, const char *prior_run,
                   cf_error *e)
{
    s->prior = (cf_kdb_prior){.cursor = prior, .best_effort = s->opts.full};
    s->prior_facts = prior_facts;
    (void)snprintf(s->prior_run, sizeof(s->prior_run), "%s", prior_run == NULL ? "" : prior_run);
    cf_err err = cf_kdb_look(s, e);

    if (err == CF_OK)
        err = cf_kdb_plan_finish(s, e);
    s->prior = (cf_kdb_prior){0};
    s->prior_facts = NULL;
    return err;
}

static void plan_totals(const cf_source *s, uint64_t *ret_files, uint64_t *ret_reused,
                        uint64_t *ret_read_bytes)
{
    *ret_files = s->files_total;
    *ret_reused = s->reused_total;
    *ret_read_bytes = s->read_bytes;
}

static uint64_t bytes_looked(const cf_source *s)
{
    return s->io.bytes_read;
}

static const char *const roles[] = {"db", "index", NULL};

const cf_profile cf_profile_kurrentdb = {
    .name = "kurrentdb",
    .roles = roles,
    .open = cf_kdb_source_open,
    .plan = plan,
    .plan_totals = plan_totals,
    .next = cf_kdb_plan_next,
    .reopen = cf_kdb_plan_reopen,
    .still_wanted = cf_kdb_plan_still_wanted,
    .read_done = cf_kdb_plan_read_done,
    .last_look = cf_kdb_last_look,
    .facts = cf_kdb_facts,
    .render_report = cf_kdb_report,
    .bytes_looked = bytes_looked,
    .close = cf_kdb_source_close,
    .target_in_use = cf_kdb_target_in_use,
    .target_went_on = cf_kdb_target_went_on,
    .placement = cf_kdb_placement,
    .ends_with_md5 = cf_kdb_ends_with_md5,
    .restored_mode = cf_kdb_restored_mode,
    .is_leftover = cf_kdb_is_leftover,
    .leftover_folders = cf_kdb_leftover_folders,
    .extra_file = cf_kdb_extra_file,
    .check_restored = cf_kdb_check_restored,
    .closing_words = cf_kdb_closing_words,
};
