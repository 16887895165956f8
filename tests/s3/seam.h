/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of the S3 client: a server behind the HTTP seam and a world whose clock moves only by
 * sleeping. One object, any number of uploads; each request is noted, and one or some of them can
 * be made to fail. Any thread.
 */
#ifndef TESTS_S3_SEAM_H
#define TESTS_S3_SEAM_H

#include <pthread.h>

#include "s3/client.h"

enum { SEAM_NOTE_MAX = 512, SEAM_UPLOAD_MAX = 64, SEAM_TEXT = 512, SEAM_PART = 5 * 1024 * 1024 };

typedef enum seam_fault {
    SEAM_NONE,
    SEAM_ANSWER,     /* the scripted answer; nothing is done */
    SEAM_LOST,       /* done, and the connection breaks before the answer */
    SEAM_BREAK,      /* not done, and the connection breaks */
    SEAM_NO_CONNECT, /* nothing was sent */
    SEAM_NO_MEMORY,  /* our side */
} seam_fault;

typedef struct seam_note {
    char method[8], url[SEAM_TEXT], host[SEAM_TEXT], date[32], authorization[SEAM_TEXT];
    uint64_t mono_ms;
} seam_note;

typedef struct seam {
    s3_http http; /* first */
    cf_world world;
    pthread_mutex_t lock; /* for all below */
    uint64_t mono_ms;
    int64_t utc_ms;
    int64_t server_ahead_ms; /* of its Date */
    bool server_strict;      /* refuses an x-amz-date 15 minutes off */
    uint64_t random_next;

    seam_note notes[SEAM_NOTE_MAX]; /* the first ones; the latest is in the last place */
    uint32_t note_total;

    seam_fault fault; /* of requests fault_from .. fault_from + fault_total - 1 (1 is first) */
    uint32_t fault_from, fault_total;
    const char *fault_method; /* NULL: any; else only these are counted */
    uint32_t fault_seen;
    int status;       /* SEAM_ANSWER */
    const char *head; /* "Name: value\n..." */
    const char *body;

    bool endless; /* lists are empty pages, each with a token or marker of its own */
    bool one_key; /* the list of uploads is pages of one key, its ids in turn */

    bool present; /* the object */
    uint64_t object_size;
    char object_id[S3_ID_LEN + 1];
    struct {
        bool open;
        char id[S3_ID_LEN + 1];
        uint64_t size;
    } uploads[SEAM_UPLOAD_MAX];
    uint32_t upload_total;
    uint32_t unknown_total; /* uploads whose id was lost on its way to us */

    s3_client *blocked; /* set: its places are taken until somebody waits; see seam_block() */
    s3_client *client;  /* owned */
} seam;

/* endpoint NULL: AWS. opts may be NULL: its world, env and bucket are set here. */
void seam_init(seam *s, const s3_client_opts *opts);
void seam_deinit(seam *s);
/* All places of the client are taken; the first look of somebody who waits frees them, 400 s
 * later. */
void seam_block(seam *s);
/* Those whose id the client was told. */
uint32_t seam_open_uploads(const seam *s);
bool seam_contains(const char *text, const char *part);

#endif
