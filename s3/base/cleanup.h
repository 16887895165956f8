/* SPDX-License-Identifier: Apache-2.0
 *
 * Cleanup at the end of a scope: every owned local is declared with its cleanup on the same line.
 *
 *   CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
 *   CF_CLEANUP(cf_fd_closep) int fd = -1;
 *   *ret = CF_STEAL(x);       pointer moved out, x is NULL
 */
#ifndef S3_BASE_CLEANUP_H
#define S3_BASE_CLEANUP_H

#define CF_CLEANUP(function) __attribute__((cleanup(function)))

#define CF_STEAL(pointer)                                                                          \
    __extension__({                                                                                \
        __typeof__(pointer) cf_stolen_ = (pointer);                                                \
        (pointer) = NULL;                                                                          \
        cf_stolen_;                                                                                \
    })

/* void cf_x_free(cf_x *) -> void cf_x_freep(cf_x **), for CF_CLEANUP. */
#define CF_DEFINE_FREEP(type, function)                                                            \
    static inline void function##p(type **pointer)                                                 \
    {                                                                                              \
        if (*pointer != NULL)                                                                      \
            function(*pointer);                                                                    \
    }

/* Our own bug where going on would write bad data: always on. */
#define CF_CHECK(condition)                                                                        \
    ((condition) ? (void)0 : cf_check_failed(#condition, __FILE__, __LINE__))
_Noreturn void cf_check_failed(const char *condition, const char *file, int line);

void cf_fd_closep(int *fd); /* closes when >= 0 */

#endif
