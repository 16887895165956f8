/* SPDX-License-Identifier: Apache-2.0
 *
 * The way back: which file when, what is checked, and what the operator must know to start the
 * node. A server that a supervisor starts too early must throw before it touches a chunk: it does
 * when chaser.chk is over writer.chk, so chaser.chk comes first and writer.chk and truncate.chk
 * last.
 */
#ifndef SRC_PROFILE_KURRENTDB_RESTORE_H
#define SRC_PROFILE_KURRENTDB_RESTORE_H

#include "profile/profile.h"

CF_NODISCARD cf_err cf_kdb_target_in_use(const cf_target_opts *opts, cf_error *e);
CF_NODISCARD cf_err cf_kdb_target_went_on(const cf_target_opts *opts, const json_t *facts,
                                          cf_error *e);
cf_placement cf_kdb_placement(const cf_file_line *line);
bool cf_kdb_ends_with_md5(const cf_file_line *line);
uint32_t cf_kdb_restored_mode(const cf_file_line *line);
bool cf_kdb_is_leftover(const char *path);
extern const char *const cf_kdb_leftover_folders[];
CF_NODISCARD cf_err cf_kdb_extra_file(const json_t *facts, unsigned i, const char **ret_path,
                                      uint8_t ret_content[16], size_t *ret_len, cf_error *e);
/* CF_ERR_TARGET names the first thing a start would trip over. */
CF_NODISCARD cf_err cf_kdb_check_restored(const cf_target_opts *opts, const json_t *facts,
                                          cf_error *e);
CF_NODISCARD cf_err cf_kdb_closing_words(const json_t *facts, cf_buf *ret,
                                         cf_error *e); /* words.c */

#endif
