/* SPDX-License-Identifier: Apache-2.0
 *
 * Pool: a stack of buffers, a queue of jobs, lazily started threads.
 */
#include "s3/pool.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>

#include "s3/base/alloc.h"
#include "s3/client.h"
#include "s3/wait.h"

struct s3_pool {
    s3_client *c; /* for the wish to stop */
    size_t buffer_bytes;
    uint32_t total; /* of buffers, and of threads at most */
    pthread_mutex_t lock;
    pthread_cond_t given; /* a buffer came back */
    pthread_cond_t work;  /* a job came, or quit */
    uint8_t **idle;       /* stack of idle_total; NULL: not allocated yet */
    uint32_t idle_total;
    s3_job *first, *last;
    pthread_t *threads;
    uint32_t thread_total, waiting_total;
    bool quit;
};

CF_DEFINE_FREEP(s3_pool, s3_pool_free)

cf_err s3_pool_new(s3_client *c, uint32_t buffer_total, size_t buffer_bytes, s3_pool **ret,
                   cf_error *e)
{
    CF_CLEANUP(s3_pool_freep) s3_pool *p = NULL;

    CF_NEW(p, e);
    p->c = c;
    p->buffer_bytes = buffer_bytes;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->given, NULL);
    (void)pthread_cond_init(&p->work, NULL);
    p->idle = cf_alloc(buffer_total, sizeof(*p->idle));
    p->threads = cf_alloc(buffer_total, sizeof(*p->threads));
    CF_ENSURE(p->idle != NULL, e, CF_ERR_NO_MEMORY, "allocate %u buffer places", buffer_total);
    CF_ENSURE(p->threads != NULL, e, CF_ERR_NO_MEMORY, "allocate %u thread places", buffer_total);
    p->total = buffer_total;
    p->idle_total = buffer_total;
    *ret = CF_STEAL(p);
    return CF_OK;
}

void s3_pool_free(s3_pool *p)
{
    if (p == NULL)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->quit = true;
    (void)pthread_cond_broadcast(&p->work);
    (void)pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->thread_total; i++)
        (void)pthread_join(p->threads[i], NULL);
    assert(p->idle_total == p->total); /* else an upload is still open */
    for (uint32_t i = 0; i < p->idle_total; i++)
        cf_free(p->idle[i]);
    (void)pthread_cond_destroy(&p->work);
    (void)pthread_cond_destroy(&p->given);
    (void)pthread_mutex_destroy(&p->lock);
    cf_free(p->idle);
    cf_free(p->threads);
    cf_free(p);
}

cf_err s3_pool_take(s3_pool *p, uint8_t **ret, cf_error *e)
{
    uint8_t *buffer = NULL;

    (void)pthread_mutex_lock(&p->lock);
    while (p->idle_total == 0) {
        const struct timespec until = s3_wait_slice();
        (void)pthread_cond_timedwait(&p->given, &p->lock, &until);
        if (p->c->world->stopping(p->c->world->impl)) {
            (void)pthread_mutex_unlock(&p->lock);
            CF_FAIL(e, CF_ERR_INTERRUPTED, "interrupted");
        }
    }
    buffer = p->idle[--p->idle_total];
    (void)pthread_mutex_unlock(&p->lock);
    if (buffer == NULL)
        buffer = cf_alloc(1, p->buffer_bytes);
    if (buffer == NULL) {
        (void)pthread_mutex_lock(&p->lock);
        p->idle[p->idle_total++] = NULL;
        (void)pthread_mutex_unlock(&p->lock);
        CF_FAIL(e, CF_ERR_NO_MEMORY, "allocate a part buffer of %zu bytes", p->buffer_bytes);
    }
    *ret = buffer;
    return CF_OK;
}

void s3_pool_give(s3_pool *p, uint8_t *buffer)
{
    if (buffer == NULL)
        return;
    (void)pthread_mutex_lock(&p->lock);
    assert(p->idle_total < p->total);
    p->idle[p->idle_total++] = buffer;
    (void)pthread_cond_signal(&p->given);
    (void)pthread_mutex_unlock(&p->lock);
}

static void *pool_thread(void *arg)
{
    s3_pool *p = arg;

    (void)pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->first == NULL && !p->quit) {
            p->waiting_total++;
            (void)pthread_cond_wait(&p->work, &p->lock);
            p->waiting_total--;
        }
        s3_job *job = p->first;
        if (job == NULL)
            break;
        p->first = job->next;
        if (p->first == NULL)
            p->last = NULL;
        (void)pthread_mutex_unlock(&p->lock);
        job->run(job);
        (void)pthread_mutex_lock(&p->lock);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Signals stay with the program's own threads. With the lock held. */
static int thread_start(s3_pool *p)
{
    sigset_t all;
    sigset_t before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int code = pthread_create(&p->threads[p->thread_total], NULL, pool_thread, p);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0)
        p->thread_total++;
    return code;
}

cf_err s3_pool_submit(s3_pool *p, s3_job *job, cf_error *e)
{
    bool taken = true;

    job->next = NULL;
    (void)pthread_mutex_lock(&p->lock);
    if (p->waiting_total == 0 && p->thread_total < p->total)
        taken = thread_start(p) == 0 || p->thread_total > 0;
    if (taken) {
        if (p->last == NULL)
            p->first = job;
        else
            p->last->next = job;
        p->last = job;
        (void)pthread_cond_signal(&p->work);
    }
    (void)pthread_mutex_unlock(&p->lock);
    CF_ENSURE(taken, e, CF_ERR_FAILED, "no thread could be started");
    return CF_OK;
}
